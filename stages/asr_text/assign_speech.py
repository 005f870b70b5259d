"""Spoken words into the segments they fall into.

A word belongs where its midpoint lies, so segments that tile a video share its words out without
loss or doubling, whatever clocks the two are on. Cues without word times are spread evenly over
their own extent, letter by letter: a six-second subtitle across two shots then gives each about
its half, which is a guess of a few tenths of a second and better than giving all to one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cmp_to_key
from typing import ClassVar

from clipmill.schemas.clocks import Clock, compare
from clipmill.schemas.records import Part, Segment, Transcript
from clipmill.stages.asr_text.timed_words import most_spoken, timed_pieces
from clipmill.stages.stage import Stage, StageSettings


class Settings(StageSettings):
    layer: str = "shots"
    """Segments that receive the words."""
    track: int | None = None
    """Audio track whose transcript is used; empty: the first transcript there is."""


class AssignSpeech(Stage[Settings]):
    """Write each segment's spoken words as a text, and how many there are in a second."""

    needs: ClassVar = {"transcripts", "segments:{layer}"}
    provides: ClassVar = {"texts:asr", "scores:words_per_second"}

    def process(self, part: Part) -> Part:
        chosen = [
            transcript
            for transcript in part.video.transcripts
            if self.settings.track is None or transcript.track == self.settings.track
        ]
        spoken = list(_spoken(chosen[0])) if chosen else []
        for segment in part.video.layer(self.settings.layer):
            inside = _inside(spoken, segment)
            duration = segment.span.duration_s
            segment.scores["words_per_second"] = len(inside) / duration if duration > 0 else 0.0
            if inside:
                author = self.author(chosen[0].author.model, chosen[0].author.revision)
                language = most_spoken(inside)
                segment.add_text("asr", _text(inside), author, language=language)
        return part


@dataclass(frozen=True, slots=True)
class _Spoken:
    """A word at its midpoint, on a clock of twice its transcript's resolution."""

    clock: Clock
    middle: int
    text: str
    gap: str  # what parts it from the word before
    language: str | None


def _spoken(transcript: Transcript) -> Iterator[_Spoken]:
    clock = transcript.clock
    fine = Clock(clock.name, clock.num, 2 * clock.den, 2 * clock.zero)
    found = [
        _Spoken(fine, start + end, text, gap, utterance.language or transcript.language)
        for utterance in transcript.said
        for text, start, end, gap in timed_pieces(utterance)
    ]
    # Two people at once are two utterances that overlap; their words go by time.
    yield from sorted(found, key=lambda word: word.middle)


def _inside(spoken: list[_Spoken], segment: Segment) -> list[_Spoken]:
    span = segment.span

    def bound(tick: int) -> int:
        key = cmp_to_key(_order)
        return bisect_left(spoken, key((span.clock, tick)), key=lambda w: key((w.clock, w.middle)))

    return spoken[bound(span.start) : bound(span.end)]


def _order(a: tuple[Clock, int], b: tuple[Clock, int]) -> int:
    return compare(*a, *b)


def _text(words: list[_Spoken]) -> str:
    return "".join(f"{word.gap}{word.text}" for word in words).strip()
