"""Take the questions that a video asks its viewers itself: context, question, pause, answer.

Programmes for children stop after a question and answer it. `split_transcript` finds such places
(`question_pause`); here each becomes a question with the answer as spoken, and a segment that shows
what it takes to answer: some seconds before, the question and the pause, ending before the answer
is given away. The answer is verifiable by its words where it is short. No model is asked.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Part, Segment, Text
from clipmill.schemas.within import relative
from clipmill.stages.media.probe import probed
from clipmill.stages.models.teacher_stage import one_line
from clipmill.stages.stage import Stage, StageSettings


class Settings(StageSettings):
    layer: str = "speech"
    """Layer of split_transcript's `question_pause`: a question and the sentence after the pause."""
    sentences: str = "sentences"
    """Layer of the sentences that it was made from."""
    into: str = Field(default="moments", pattern=r"^[a-z][a-z0-9_]*$")
    """Layer that is written: context, question and pause, with the question as its text."""
    context_s: float = Field(default=20.0, ge=0)
    """Seconds before the question that belong to it."""
    max_words: int = Field(default=12, ge=1)
    """Longer answers cannot be verified by their words, and make no question."""
    kind: str = Field(default="qa", pattern=r"^[a-z0-9_]+$")
    """Kind of the samples that are written."""


class SpeechQa(Stage[Settings]):
    """Take spoken questions with a pause for the viewer, and their spoken answers."""

    settings: Settings
    needs: ClassVar = {"probe", "segments:{layer}", "segments:{sentences}", "texts:asr"}
    provides: ClassVar = {
        "segments:{into}", "texts:question", "samples:{kind}", "labels:{into}_lacks",
    }  # fmt: skip

    def process(self, part: Part) -> Part:
        settings = self.settings
        said = {s.id: s for s in part.video.layer(settings.sentences) if s.texts_of("asr")}
        for unit in part.video.layer(settings.layer):
            sources = [source for text in unit.texts_of("asr")[-1:] for source in text.sources]
            names = [source.partition("/")[0] for source in sources]
            held = [said[name] for name in names if name in said]
            if len(held) != 2:  # its sentences went to another part, or it is no such unit
                unit.labels[f"{settings.into}_lacks"] = "sentences"
            elif len(_text(held[1]).split()) > settings.max_words:
                unit.labels[f"{settings.into}_lacks"] = "short_answer"
            else:
                self._write(part, unit, *held)
        return part

    def _write(self, part: Part, unit: Segment, question: Segment, answer: Segment) -> None:
        settings = self.settings
        whole = probed(part.video).span.on(MILLISECONDS)
        asked, told = (s.span.on(MILLISECONDS) for s in (question, answer))
        start = max(whole.start, asked.start - round(settings.context_s * 1000))
        end = min(told.start, whole.end)
        if start >= end:
            unit.labels[f"{settings.into}_lacks"] = "picture"
            return
        span = Span(MILLISECONDS, start, end)
        moment = Segment(unit.id.replace(settings.layer, settings.into, 1), settings.into, span)
        sources = [f"{s.id}/{_asr(s).id}" for s in (question, answer)]
        language = _asr(question).language
        moment.add_text(
            "question", _text(question), self.author(), language=language, sources=sources[:1]
        )
        moment.add_sample(
            settings.kind,
            _text(question),
            _text(answer),
            self.author(),
            evidence=[span],
            sources=sources,
            labels={
                "type": "open",
                "fact": "asr",
                "scope": "clip",
                "asked_s": f"{asked.start / 1000:.3f}-{asked.end / 1000:.3f}",
                "answered_s": f"{told.start / 1000:.3f}-{told.end / 1000:.3f}",
                "relative": relative(span, whole),
            },
        )
        part.video.segments.append(moment)


def _asr(sentence: Segment) -> Text:
    return sentence.texts_of("asr")[0]


def _text(sentence: Segment) -> str:
    return one_line(_asr(sentence).text)
