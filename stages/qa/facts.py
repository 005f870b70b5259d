"""What is known for certain about a clip, gathered from its annotations for asking questions.

Only decided facts are kept: a label that sits between two others ("medium", "mixed") decides no
question that a person could answer the same way, so the templates never see it as an answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from clipmill.schemas.clocks import Span, compare
from clipmill.schemas.records import Segment, Text, Video

Fact = Literal["camera", "motion", "brightness", "colour", "asr", "ocr"]


def token(fact: Fact) -> str:
    """What a stage reads that asks for this fact."""
    return f"texts:{fact}" if fact in ("asr", "ocr") else f"labels:{fact}"


CAMERA = {
    "static": "stands still",
    "pan_left": "pans left",
    "pan_right": "pans right",
    "tilt_up": "tilts up",
    "tilt_down": "tilts down",
    "zoom_in": "zooms in",
    "zoom_out": "zooms out",
}
"""Camera labels that name one movement; `mixed` is known to move and not how."""

ALIKE = {
    "red": {"orange", "brown", "pink", "purple"},
    "orange": {"red", "yellow", "brown", "pink"},
    "yellow": {"orange", "green", "white", "brown"},
    "green": {"yellow", "cyan"},
    "cyan": {"green", "blue", "white"},
    "blue": {"cyan", "purple", "black"},
    "purple": {"blue", "pink", "red"},
    "pink": {"purple", "red", "orange", "white"},
    "brown": {"red", "orange", "yellow", "black", "grey"},
    "black": {"grey", "brown", "blue"},
    "white": {"grey", "yellow", "cyan", "pink"},
    "grey": {"black", "white", "brown"},
}
"""Colour names a person may use for one another, which no question may play off."""

FROZEN = 0.9
"""Share of frames like the one before, from which a clip is still. Little motion is not none: a
small thing that crosses the picture, or a large one that grows slowly, measures as "still"."""

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")


@dataclass(frozen=True, slots=True)
class Facts:
    """Decided facts about one segment; what is unknown or undecided is None or empty."""

    span: Span
    camera: str | None = None  # a key of CAMERA, or mixed
    motion: str | None = None  # still or high
    brightness: str | None = None  # dark or bright
    colour: str | None = None  # a key of ALIKE
    colours: frozenset[str] = frozenset()  # every colour named among the main ones
    said: str = ""
    words: tuple[str, ...] = ()  # of `said`, folded to lower case
    times: tuple[Span, ...] = ()  # of `words`, where a transcript gives exactly these words
    seen: str = ""  # screen text
    sources: tuple[tuple[str, str], ...] = ()  # (asr or ocr, text id)


def facts_of(video: Video, segment: Segment, use: frozenset[str]) -> Facts:
    """The facts among `use` (camera, motion, brightness, colour, asr, ocr) that are decided."""

    def label(name: str, *decided: str) -> str | None:
        value = segment.labels.get(name) if name in use else None
        return value if value in decided else None

    motion = label("motion", "still", "high")
    if motion == "still" and segment.scores.get("frozen_share", 1.0) < FROZEN:
        motion = None
    asr = _last_version(segment.texts_of("asr")) if "asr" in use else []
    ocr = _last_version(segment.texts_of("ocr")) if "ocr" in use else []
    said = " ".join(" ".join(text.text for text in asr).split())
    words = tuple(words_of(said))
    named = " ".join(text.text for text in segment.texts_of("slot:colour"))
    return Facts(
        span=segment.span,
        camera=label("camera", *CAMERA, "mixed"),
        motion=motion,
        brightness=label("brightness", "dark", "bright"),
        colour=label("colour", *ALIKE),
        colours=frozenset(ALIKE) & frozenset(words_of(named)),
        said=said,
        words=words,
        times=_times(video, segment.span, words),
        seen=" ".join(" ".join(text.text for text in ocr).split()),
        sources=tuple((text.role, text.id) for text in (*asr, *ocr)),
    )


def _last_version(texts: list[Text]) -> list[Text]:
    """Of several authors' texts the last author's: two recognisers did not hear it all twice."""
    return [text for text in texts if text.author == texts[-1].author]


def words_of(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def follows(first: Span, second: Span) -> bool:
    """Whether the second begins when or after the first ends, so that their order is plain."""
    return compare(first.clock, first.end, second.clock, second.start) <= 0


def _times(video: Video, within: Span, words: tuple[str, ...]) -> tuple[Span, ...]:
    """Times of the words, from a transcript that has exactly these words within the span."""
    for transcript in video.transcripts:
        found: list[tuple[str, Span]] = []
        for utterance in transcript.said:
            for word in utterance.words:
                if word.end < word.start:
                    continue
                span = Span(transcript.clock, word.start, word.end)
                if _inside(span, within):
                    found.extend((token, span) for token in words_of(word.text))
        if found and tuple(token for token, _ in found) == words:
            return tuple(span for _, span in found)
    return ()


def _inside(span: Span, within: Span) -> bool:
    return (
        compare(within.clock, within.start, span.clock, span.start) <= 0
        and compare(span.clock, span.end, within.clock, within.end) <= 0
    )
