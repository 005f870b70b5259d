"""Let a language model ask questions that the texts about a clip decide.

A text that was made (and checked) once, or that was said, serves as the source of many questions
without showing the pictures again. Every question is about what the texts say, so its evidence is
the time they are about: the segment. Open questions whose answer is not in the texts' own words are
refused where `grounded` is set, which is the cheapest guard against an invented answer. What is
written first decides what can be asked: `answer_first` fixes an answer that is in the text, and a
question must then fit it (Just Ask, Yang et al. 2021).
"""

from __future__ import annotations

import random
import re
from typing import Any, Literal

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
from clipmill.stages.qa.model_contract import Asked, item_complaint
from clipmill.stages.score.score_text import title_of

Type = Asked | Literal["spatial", "reasoning", "description"]
"""Types of questions that texts can be asked for."""

_WORD = re.compile(r"[^\W_]+")
_FREE = {"a", "an", "the", "it", "its", "is", "are", "was", "were", "in", "on", "at", "of", "to"}


class Settings(AskSettings):
    """The teacher may be a language model: it is shown no pictures."""

    layer: str = "shots"
    """Layer whose texts are asked about."""
    source_role: str = "caption"
    """Role of the text; of several, the last written. A clip without one is not asked about."""
    told: tuple[str, ...] = ()
    """Roles of further texts that are told with it, the last of each, a line per role."""
    title: bool = False
    """Tell the video's title as well."""
    text_chars: int = Field(default=8000, ge=1)
    """Each text is cut to so many characters."""
    prompt: PromptName = "qa_from_caption.v1"
    """Prompt by id (qa_from_caption.v1, qa_answer_first.v1, qa_typed.v1), or the path of a .txt
    file with the same variables."""
    questions: int = Field(default=3, ge=1, le=20)
    """At most so many questions a text."""
    types: tuple[Type, ...] = ()
    """Types it may ask, which go with the prompt qa_typed.v1; empty: open questions alone."""
    answer_first: bool = False
    """Let the answer be written before its question."""
    grounded: bool = True
    """Refuse open answers with words that are neither in the texts nor function words."""


class TextQa(TeacherStage[Settings]):
    """Ask questions that texts about a clip decide, by a language model."""

    settings: Settings
    version = 2
    needs = frozenset({"segments:{layer}", "texts:{source_role}"})
    provides = frozenset({"samples:qa", "labels:rejected_qa"})

    def reads(self) -> frozenset[str]:
        return super().reads() | {f"texts:{role}" for role in self.settings.told}

    async def process(self, part: Part) -> Part:
        settings = self.settings
        sources = {
            segment.id: self._told(part, segment)
            for segment in part.video.layer(settings.layer)
            if segment.texts_of(settings.source_role)
        }
        questions = [
            (segment, self.question(part, segment, sources[segment.id]))
            for segment in part.video.layer(settings.layer)
            if segment.id in sources
        ]

        def check(segment: Segment, value: Any) -> str | None:
            return self._complaint(sources[segment.id], value)

        for segment, value in await self.answers(part, questions, "qa", check):
            roles = (settings.source_role, *settings.told)
            ids = [segment.texts_of(role)[-1].id for role in roles if segment.texts_of(role)]
            for item in value["questions"]:
                options = [one_line(option) for option in item.get("options", [])]
                random.Random(f"{part.video.id}/{segment.id}/{item['question']}").shuffle(options)
                segment.add_sample(
                    "qa",
                    one_line(item["question"]),
                    one_line(item["answer"]),
                    self.by_model(),
                    options=options,
                    evidence=[segment.span],
                    sources=ids,
                    labels={
                        "type": item.get("type", "open"),
                        "fact": settings.source_role,
                        "scope": "clip",
                    },
                )
        return part

    def question(self, part: Part, segment: Segment, text: str) -> Request:
        """What the teacher is asked about what is told of one segment."""
        settings = self.settings
        values: dict[str, str | int] = {
            "questions": settings.questions,
            "types": ", ".join(f'"{name}"' for name in settings.types),
            "language": settings.language,
            "caption": text,
        }
        prompt = self.prompt.render(**{n: v for n, v in values.items() if self.prompt.takes(n)})
        schema = text_qa_schema(settings.questions, settings.types, settings.answer_first)
        return self.request(f"{part.video.id}/{segment.id}/{self.label}", prompt, schema)

    def _told(self, part: Part, segment: Segment) -> str:
        """The source alone as it is; with others a line each, opened by its role."""
        settings = self.settings
        most = settings.text_chars
        own = one_line(segment.texts_of(settings.source_role)[-1].text, most)
        lines = [
            f"{role}: {one_line(texts[-1].text, most)}"
            for role in settings.told
            if (texts := segment.texts_of(role))
        ]
        if settings.title and (title := one_line(title_of(part.video), most)):
            lines.insert(0, f"title: {title}")
        return "\n".join([*lines, f"{settings.source_role}: {own}"]) if lines else own

    def _complaint(self, source: str, value: Any) -> str | None:
        seen: set[str] = set()
        for number, item in enumerate(value["questions"]):
            question, answer = one_line(item["question"]), one_line(item["answer"])
            if wrong := item_complaint(number, {"type": "open", "options": [], **item}):
                return wrong
            if question.casefold() in seen:
                return f"question {number} is asked twice"
            seen.add(question.casefold())
            if self.settings.answer_first and _words(answer) <= _words(question):
                return f"question {number} contains its answer"
            open_ended = item.get("type", "open") == "open" and self.settings.grounded
            if open_ended and (strange := _words(answer) - _words(source) - _FREE):
                return f"the answer of question {number} is not in the text: {sorted(strange)[0]}"
        return None


def text_qa_schema(
    most: int, types: tuple[Type, ...] = (), answer_first: bool = False
) -> dict[str, Any]:
    """The contract of questions about a text: one object with a list of questions and answers."""
    text = {"type": "string", "minLength": 1, "maxLength": 400}
    item: dict[str, Any] = {"question": text, "answer": text}
    if types:
        long = {"type": "string", "minLength": 1, "maxLength": 2000}
        options = {"type": "array", "items": text, "maxItems": 5}
        item = {"type": {"enum": list(types)}, "answer": long, "question": text, "options": options}
    elif answer_first:
        item = {"answer": text, "question": text}
    listed = {"type": "array", "items": object_schema(item), "minItems": 1, "maxItems": most}
    return object_schema({"questions": listed})


def _words(text: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(text)}
