"""Let a language model ask questions that a text about a clip decides.

A caption that was made (and checked) once serves as the source of many questions without showing
the pictures again. Every question is about what the text says, so its evidence is the time the text
is about: the segment. Questions whose answer is not in the text's own words are refused where
`grounded` is set, which is the cheapest guard against an invented answer.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field

from clipmill.schemas.records import Part, Segment
from clipmill.stages.models.teacher import Request
from clipmill.stages.models.teacher_stage import (
    AskSettings,
    PromptName,
    TeacherStage,
    object_schema,
    one_line,
)

_WORD = re.compile(r"[^\W_]+")
_FREE = {"a", "an", "the", "it", "its", "is", "are", "was", "were", "in", "on", "at", "of", "to"}


class Settings(AskSettings):
    """The teacher may be a language model: it is shown no pictures."""

    layer: str = "shots"
    """Layer whose texts are asked about."""
    source_role: str = "caption"
    """Role of the text; of several, the last written."""
    prompt: PromptName = "qa_from_caption.v1"
    """Prompt by id, or the path of a .txt file with the same variables."""
    questions: int = Field(default=3, ge=1, le=20)
    """At most so many questions a text."""
    grounded: bool = True
    """Refuse answers with words that are neither in the text nor function words."""


class TextQa(TeacherStage[Settings]):
    """Ask questions that a text about a clip decides, by a language model."""

    settings: Settings
    needs = frozenset({"segments:{layer}", "texts:{source_role}"})
    provides = frozenset({"samples:qa", "labels:rejected_qa"})

    async def process(self, part: Part) -> Part:
        settings = self.settings
        questions = [
            (segment, self.question(part, segment))
            for segment in part.video.layer(settings.layer)
            if segment.texts_of(settings.source_role)
        ]
        for segment, value in await self.answers(part, questions, "qa", self._complaint):
            source = segment.texts_of(settings.source_role)[-1]
            for item in value["questions"]:
                segment.add_sample(
                    "qa",
                    one_line(item["question"]),
                    one_line(item["answer"]),
                    self.by_model(),
                    evidence=[segment.span],
                    sources=[source.id],
                    labels={"type": "open", "fact": settings.source_role, "scope": "clip"},
                )
        return part

    def question(self, part: Part, segment: Segment) -> Request:
        """What the teacher is asked about one segment's text."""
        settings = self.settings
        prompt = self.prompt.render(
            questions=settings.questions,
            caption=one_line(segment.texts_of(settings.source_role)[-1].text),
        )
        return self.request(
            f"{part.video.id}/{segment.id}/{self.label}", prompt, text_qa_schema(settings.questions)
        )

    def _complaint(self, segment: Segment, value: Any) -> str | None:
        source = segment.texts_of(self.settings.source_role)[-1].text
        seen: set[str] = set()
        for number, item in enumerate(value["questions"]):
            question, answer = one_line(item["question"]), one_line(item["answer"])
            if not question or not answer:
                return f"question {number} is blank"
            if question.casefold() in seen:
                return f"question {number} is asked twice"
            seen.add(question.casefold())
            if self.settings.grounded and (strange := _words(answer) - _words(source) - _FREE):
                return f"the answer of question {number} is not in the text: {sorted(strange)[0]}"
        return None


def text_qa_schema(most: int) -> dict[str, Any]:
    """The contract of questions about a text: one object with a list of questions and answers."""
    text = {"type": "string", "minLength": 1, "maxLength": 400}
    item = object_schema({"question": text, "answer": text})
    return object_schema(
        {"questions": {"type": "array", "items": item, "minItems": 1, "maxItems": most}}
    )


def _words(text: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(text)}
