"""Cut a video where its speech says: at sentences, at silences, at questions, at several scales.

Four rules of published sets, one setting. `sentence` joins sentences up to a wanted length;
`gap_rate` cuts running speech where nobody speaks for a while, however sentences lie, for models
that learn from timed words; `question_pause` takes the questions a speaker leaves time to answer;
`levels` nests segments by ever longer silences. What is too fast, too slow or too short is not
dropped here: `score_text` measures it and a profile decides, so that moving a bound cuts nothing
anew. Segments hold whole words or whole sentences, never parts of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Author, Part, Segment, Text
from clipmill.stages.asr_text.timed_words import joined, timed_words, transcript_of
from clipmill.stages.stage import Stage, StageSettings


class Settings(StageSettings):
    mode: Literal["sentence", "gap_rate", "question_pause", "levels"] = "sentence"
    """What decides: sentences, silences between words, questions before a pause, or silences of
    several lengths at once."""
    sentences: str = "sentences"
    """Layer of sentences that is read; `gap_rate` reads the words of the transcript instead."""
    layer: str = Field(default="speech", pattern=r"^[a-z][a-z0-9_]*$")
    """Name of the layer of segments; `levels` adds a number: speech_0 is the finest."""
    track: int | None = None
    """Audio track whose transcript `gap_rate` reads; empty: the first transcript there is."""
    by: str = ""
    """Use the transcript that this stage of the recipe wrote; empty: the first there is."""
    max_gap_s: float = Field(default=3.0, gt=0)
    """A longer silence always parts segments."""
    min_s: float = Field(default=0.0, ge=0)
    """`sentence`: join sentences until so long; `gap_rate`: shorter runs make no segment."""
    max_s: float = Field(default=30.0, gt=0)
    """Segments grow no longer than this; a single sentence may be."""
    pause_s: float = Field(default=2.0, gt=0)
    """`question_pause`: the silence that a question must be followed by."""
    levels_s: tuple[float, ...] = (1.0, 4.0, 15.0)
    """`levels`: silences that part segments, one level each, growing."""

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        if self.min_s > self.max_s:
            raise ValueError(f"min_s {self.min_s:g} is above max_s {self.max_s:g}")
        pairs = itertools.pairwise(self.levels_s)
        if not self.levels_s or any(a >= b for a, b in pairs):
            raise ValueError("levels_s must name at least one silence, and each a longer one")
        return self


@dataclass(frozen=True, slots=True)
class Piece:
    """Something said, in milliseconds: a word or a sentence."""

    start: int
    end: int
    text: str
    source: str = ""


class SplitTranscript(Stage[Settings]):
    """Cut a video by its speech: at sentences, silences, questions, or at several scales."""

    unit = "video"
    provides: ClassVar = {"texts:asr"}

    def reads(self) -> frozenset[str]:
        if self.settings.mode == "gap_rate":
            return frozenset({"transcripts"})
        return frozenset({f"segments:{self.settings.sentences}", "texts:asr"})

    def adds(self) -> frozenset[str]:
        layers = {self.settings.layer}
        if self.settings.mode == "levels":
            layers = {self._level(number) for number in range(len(self.settings.levels_s))}
        return super().adds() | {f"segments:{layer}" for layer in layers}

    def process(self, part: Part) -> Part:
        settings = self.settings
        if settings.mode == "gap_rate":
            self._by_gaps(part)
            return part
        pieces = [_piece(segment) for segment in part.video.layer(settings.sentences)]
        if settings.mode == "levels":
            self._by_levels(part, pieces)
            return part
        if settings.mode == "question_pause":
            found = list(before_pauses(pieces, settings))
        else:
            found = list(grouped(pieces, settings.max_gap_s, settings.min_s, settings.max_s))
        self._add(part, settings.layer, found, _language(part, settings.sentences))
        return part

    def _by_gaps(self, part: Part) -> None:
        settings = self.settings
        transcript = transcript_of(part.video, settings.track, settings.by)
        if transcript is None:
            return
        words = sorted(timed_words(transcript), key=lambda word: (word.start, word.end))
        pieces = [Piece(word.start, word.end, "", str(n)) for n, word in enumerate(words)]
        found = [
            [Piece(run[0].start, max(p.end for p in run), joined([words[int(p.source)]
             for p in run]))]
            for run in grouped(pieces, settings.max_gap_s, settings.max_s, settings.max_s)
            if run[-1].end - run[0].start >= settings.min_s * 1000
        ]  # fmt: skip
        model, revision = transcript.author.model, transcript.author.revision
        self._add(part, settings.layer, found, transcript.language, self.author(model, revision))

    def _by_levels(self, part: Part, pieces: list[Piece]) -> None:
        """Coarse levels first, so that a finer segment can name its parent."""
        language = _language(part, self.settings.sentences)
        parents: list[Segment] = []
        for number in reversed(range(len(self.settings.levels_s))):
            gap = self.settings.levels_s[number]
            found = list(grouped(pieces, gap, float("inf"), float("inf")))
            made = self._add(part, self._level(number), found, language)
            for segment in made:
                inside = (p for p in parents if p.span.start <= segment.span.start < p.span.end)
                holder = next(inside, None)
                segment.parent = holder.id if holder else None
            parents = made

    def _add(
        self,
        part: Part,
        layer: str,
        found: list[list[Piece]],
        language: str | None,
        author: Author | None = None,
    ) -> list[Segment]:
        start = len(part.video.layer(layer))
        spans = [Span(MILLISECONDS, run[0].start, max(p.end for p in run)) for run in found]
        part.video.add_segments(layer, spans)
        made = part.video.layer(layer)[start:]
        for segment, run in zip(made, found, strict=True):
            text = " ".join(piece.text for piece in run if piece.text)
            sources = [piece.source for piece in run if piece.source]
            segment.add_text(
                "asr", text, author or self.author(), language=language, sources=sources
            )
        return made

    def _level(self, number: int) -> str:
        return f"{self.settings.layer}_{number}"


def grouped(
    pieces: Sequence[Piece], max_gap_s: float, min_s: float, max_s: float
) -> Iterator[list[Piece]]:
    """Runs of pieces in time order; a run ends at a silence, at `max_s`, or once it has `min_s`."""
    run: list[Piece] = []
    for piece in pieces:
        if run:
            end = max(held.end for held in run[-8:])  # speakers overlap by a few words at most
            silent = piece.start - end > max_gap_s * 1000
            full = piece.end - run[0].start > max_s * 1000
            enough = end - run[0].start >= min_s * 1000
            if silent or full or enough:
                yield run
                run = []
        run.append(piece)
    if run:
        yield run


def before_pauses(pieces: Sequence[Piece], settings: Settings) -> Iterator[list[Piece]]:
    """A question, the silence left for its answer, and the sentence that follows.

    As in videos that ask their viewers something and wait; the next sentence is the answer.
    """
    for question, answer in itertools.pairwise(pieces):
        asked = question.text.rstrip("\"'\u201d\u2019)").endswith(("?", "\uff1f", "\u061f"))
        waits = answer.start - question.end >= settings.pause_s * 1000
        if asked and waits and answer.end - question.start <= settings.max_s * 1000:
            yield [question, answer]


def _piece(segment: Segment) -> Piece:
    text: Text | None = next(iter(segment.texts_of("asr")), None)
    span = segment.span.on(MILLISECONDS)
    if text is None:
        return Piece(span.start, span.end, "")
    return Piece(span.start, span.end, text.text, f"{segment.id}/{text.id}")


def _language(part: Part, layer: str) -> str | None:
    texts = (text for segment in part.video.layer(layer) for text in segment.texts_of("asr"))
    return next((text.language for text in texts), None)
