"""Find the clips that a question needs by reading their captions; their spans are its evidence.

An encoder compares words with pictures and cannot reason: which clips prove why the man left? A
language model that reads all captions in order can. It cites numbers, so a span is always one of
the clips' and inside the video. Captions written with the question in mind (`caption_clip` with
`columns`) say what it asks about. What cites no clip leaves a counted mark and no sample.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.records import Part, Segment
from clipmill.schemas.within import joined, relative
from clipmill.stages.models.contract import mark_rejected
from clipmill.stages.models.teacher import Request
from clipmill.stages.models.teacher_stage import (
    AskSettings,
    PromptName,
    Question,
    TeacherStage,
    object_schema,
    one_line,
)


class Settings(AskSettings):
    """The teacher may be a language model: it is shown no pictures."""

    layer: str = "windows"
    """Layer of clips with a caption each."""
    role: str = "caption"
    """Role of the caption; of several, the last written."""
    onto: str = "whole"
    """Layer whose segments the questions are about; clips count that lie within."""
    column: str = ""
    """Column of the manifest with the question, or"""
    kind: str = ""
    """kind of the samples whose questions are grounded."""
    prompt: PromptName = "ground_question.v1"
    """Prompt by id, or the path of a .txt file with the same variables."""
    into: str = Field(default="grounding", pattern=r"^[a-z0-9_]+$")
    """Kind of the samples that are written: the question, the reason, the spans."""
    most: int = Field(default=8, ge=1)
    """Most clips that a question may need."""

    @model_validator(mode="after")
    def _one_source_of_questions(self) -> Self:
        if bool(self.column) == bool(self.kind):
            raise ValueError("name either `column` or `kind`: where the questions come from")
        return self


class GroundQuestion(TeacherStage[Settings]):
    """Find the clips a question needs by reading their captions, by a language model."""

    settings: Settings
    needs: ClassVar = {"segments:{layer}", "segments:{onto}", "texts:{role}"}
    provides: ClassVar = {"samples:{into}", "labels:rejected_{into}"}

    def reads(self) -> frozenset[str]:
        kind = {f"samples:{self.settings.kind}"} if self.settings.kind else set()
        return super().reads() | kind

    async def process(self, part: Part) -> Part:
        settings = self.settings
        clips = {whole.id: self._clips(part, whole) for whole in part.video.layer(settings.onto)}
        questions: list[Question] = []
        about: dict[str, tuple[Segment, str, list[str]]] = {}
        for whole in part.video.layer(settings.onto):
            if not clips[whole.id]:
                continue
            for number, (question, sources) in enumerate(self._asked(part, whole)):
                name = f"{part.video.id}/{whole.id}/{self.label}/{number}"
                about[name] = (whole, question, sources)
                questions.append((whole, self.question(name, question, clips[whole.id])))
        answers = await self.answers_by_id(
            part,
            questions,
            settings.into,
            lambda whole, value: complaint(value, len(clips[whole.id])),
        )
        for name, value in answers.items():
            whole, question, sources = about[name]
            cited = [clips[whole.id][number - 1] for number in sorted(value["clips"])]
            if not cited:
                mark_rejected(whole, settings.into, "none_cited")
                continue
            evidence = joined([clip.span for clip in cited])
            whole.add_sample(
                settings.into,
                question,
                one_line(value["why"]),
                self.by_model(),
                evidence=evidence,
                sources=[*sources, *(f"{clip.id}/{self._text(clip)[0]}" for clip in cited)],
                labels={
                    "type": "grounding",
                    "relative": ";".join(relative(span, whole.span) for span in evidence),
                },
            )
        return part

    def question(self, name: str, question: str, clips: list[Segment]) -> Request:
        """What the teacher is asked about one question and all clips."""
        lines = [
            f"{number}. {clip.span.start_s:.1f}-{clip.span.end_s:.1f} s: {self._text(clip)[1]}"
            for number, clip in enumerate(clips, 1)
        ]
        prompt = self.prompt.render(
            language=self.settings.language, question=question, timeline="\n".join(lines)
        )
        return self.request(name, prompt, clips_schema(len(clips), self.settings.most))

    def _asked(self, part: Part, whole: Segment) -> list[tuple[str, list[str]]]:
        """Questions about a segment, each with the ids it comes from."""
        settings = self.settings
        if settings.kind:
            return [(s.question, [s.id]) for s in whole.samples if s.kind == settings.kind]
        text = one_line(part.video.meta.get(settings.column, ""), 2000)
        return [(text, [])] if text else []

    def _clips(self, part: Part, whole: Segment) -> list[Segment]:
        own = whole.span.on(MILLISECONDS)
        found = []
        for clip in part.video.layer(self.settings.layer):
            span = clip.span.on(MILLISECONDS)
            inside = own.start - 1 <= span.start and span.end <= own.end + 1
            if inside and clip.texts_of(self.settings.role):
                found.append(clip)
        return sorted(found, key=lambda clip: clip.span.on(MILLISECONDS).start)

    def _text(self, clip: Segment) -> tuple[str, str]:
        """Id and words of a clip's caption."""
        text = clip.texts_of(self.settings.role)[-1]
        return text.id, one_line(text.text, 400)


def clips_schema(clips: int, most: int) -> dict[str, Any]:
    """The contract of a grounding: the reason first, then the numbers of clips."""
    number = {"type": "integer", "minimum": 1, "maximum": clips}
    return object_schema(
        {
            "why": {"type": "string", "minLength": 1, "maxLength": 400},
            "clips": {"type": "array", "items": number, "maxItems": most},
        }
    )


def complaint(value: Any, clips: int) -> str | None:
    """What is wrong with cited clips that keep the schema; None if nothing."""
    cited = value["clips"]
    if not one_line(value["why"]):
        return "why is empty"
    if len(set(cited)) < len(cited) or not all(1 <= number <= clips for number in cited):
        return f"clips must be numbers from 1 to {clips}, each once"
    return None
