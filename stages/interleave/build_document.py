"""Write a clip as one document in which its frames and its words take turns in time.

For models that learn to speak while they watch: at every frame's time stand the words that begin
before the next frame, each with its own start and end; a frame during which nothing new is said
has no words (null), so that silence is learned too. Frames are named by their times and not copied,
because the clip itself is in the shard. Every word of the clip is in the document exactly once and
in order. The form is that of LiveCC's training data: title, the speech before, [start, end, word].
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, ClassVar

from pydantic import Field

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.records import Part, Segment
from clipmill.stages.asr_text.timed_words import Spoken, joined, timed_words, transcript_of
from clipmill.stages.score.score_text import title_of
from clipmill.stages.stage import Stage, StageSettings


class Settings(StageSettings):
    layer: str = "speech"
    """Layer whose segments become documents."""
    role: str = Field(default="document", pattern=r"^[a-z0-9_:]+$")
    """Role of the text that is written: one JSON object."""
    track: int | None = None
    """Audio track whose transcript is used; empty: the first transcript there is."""
    by: str = ""
    """Use the transcript that this stage of the recipe wrote; empty: the first there is."""
    fps: float = Field(default=2.0, gt=0, le=60)
    """Frames in a second."""
    previous_words: int = Field(default=1000, ge=0)
    """So many words said before the clip stand in front as context."""
    request_role: str = ""
    """Role of a text that asks for this speech, written into the document as `request`."""


class BuildDocument(Stage[Settings]):
    """Interleave a clip's frames with its timed words, as one JSON document."""

    needs: ClassVar = {"transcripts", "segments:{layer}"}
    provides: ClassVar = {"texts:{role}", "scores:{role}_words"}

    def reads(self) -> frozenset[str]:
        asked = self.settings.request_role
        return super().reads() | ({f"texts:{asked}"} if asked else set())

    def process(self, part: Part) -> Part:
        settings = self.settings
        transcript = transcript_of(part.video, settings.track, settings.by)
        if transcript is None:
            return part
        words = sorted(timed_words(transcript), key=lambda word: word.start + word.end)
        middles = [word.start + word.end for word in words]
        author = self.author(transcript.author.model, transcript.author.revision)
        for segment in part.video.layer(settings.layer):
            span = segment.span.on(MILLISECONDS)
            # Half-open by midpoints, as assign_speech shares words out.
            first = bisect_right(middles, 2 * span.start - 1)
            last = bisect_right(middles, 2 * span.end - 1)
            inside = words[first:last]
            if not inside:
                continue
            document = self._document(part, segment, words[:first], inside)
            text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
            segment.add_text(settings.role, text, author, language=transcript.language)
            segment.scores[f"{settings.role}_words"] = float(len(inside))
        return part

    def _document(
        self, part: Part, segment: Segment, before: Sequence[Spoken], inside: Sequence[Spoken]
    ) -> dict[str, Any]:
        settings = self.settings
        span = segment.span.on(MILLISECONDS)
        said = before[-settings.previous_words :] if settings.previous_words else []
        document: dict[str, Any] = {
            "title": title_of(part.video),
            "previous": joined(said),
            "fps": settings.fps,
            "content": interleaved(inside, span.start, span.end, settings.fps),
        }
        if settings.request_role:
            asked = segment.texts_of(settings.request_role)
            document["request"] = asked[-1].text if asked else None
        return document


def interleaved(words: Sequence[Spoken], start: int, end: int, fps: float) -> list[dict[str, Any]]:
    """One entry per frame, `{"frame": second, "words": [[start, end, word], ...] or null}`.

    Seconds count from the clip's start. Frames stand at 0, 1/fps, ... inside the clip. A word that
    began before the clip stands at its first frame.
    """
    step = Fraction(1000) / Fraction(fps).limit_denominator(1000)
    count = max(1, -int(-(end - start) // step))
    slots: list[list[list[Any]]] = [[] for _ in range(count)]
    for word in sorted(words, key=lambda word: (word.start, word.end)):
        begin = min(max(word.start - start, 0), max(end - start - 1, 0))
        finish = max(min(word.end, end) - start, begin)
        place = min(int(begin / step), count - 1)
        slots[place].append([begin / 1000, finish / 1000, word.text])
    return [
        {"frame": round(float(number * step) / 1000, 3), "words": slot or None}
        for number, slot in enumerate(slots)
    ]
