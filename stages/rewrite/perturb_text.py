"""Make texts that are false in one thing: hard negatives by the smallest edit.

A negative from another clip is told apart by anything; one that differs in a colour alone asks
whether the colour was looked at (VERIFIED tunes and tests its evaluator on such). A language model
does not write the negative: for each aspect it names the words of the text that tell it and the
words to put in their place, and the edit is made here. So nothing else can change, what was changed
is known, and an edit that would change nothing, or several things at once, breaks the contract. The
text is not shown to be true nor the negative to be false: both are as good as the text.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from clipmill.schemas.records import Part, Segment
from clipmill.stages.models.teacher import Request
from clipmill.stages.models.teacher_stage import (
    AskSettings,
    PromptName,
    TeacherStage,
    object_schema,
    one_line,
)

Aspect = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]


class Settings(AskSettings):
    """The teacher may be a language model: it is shown no pictures."""

    layer: str = "shots"
    """Layer whose texts are perturbed."""
    source_role: str = "caption"
    """Role of the text; of several, the last written."""
    role: str = Field(default="negative", pattern=r"^[a-z0-9_]+$")
    """Role of the negatives, followed by a colon and the aspect."""
    prompt: PromptName = "perturb_text.v1"
    """Prompt by id, or the path of a .txt file with the same variables."""
    aspects: tuple[Aspect, ...] = Field(
        default=("object", "attribute", "action", "place"), min_length=1
    )
    """What is changed, one negative each; an aspect that a text does not tell of has none."""
    max_words: int = Field(default=6, ge=1, le=30)
    """At most so many words are put in the place of others."""
    max_tokens: int = Field(default=512, ge=1)
    """Longer replies are cut off, and rejected for it."""


class PerturbText(TeacherStage[Settings]):
    """Write hard negatives of texts, false in one aspect each."""

    settings: Settings
    needs: ClassVar = {"segments:{layer}", "texts:{source_role}"}
    provides: ClassVar = {"labels:rejected_{role}"}

    def adds(self) -> frozenset[str]:
        settings = self.settings
        return super().adds() | {f"texts:{settings.role}:{aspect}" for aspect in settings.aspects}

    async def process(self, part: Part) -> Part:
        settings = self.settings
        questions = [
            (segment, self.question(part, segment))
            for segment in part.video.layer(settings.layer)
            if segment.texts_of(settings.source_role)
        ]
        for segment, value in await self.answers(part, questions, settings.role, self._complaint):
            source = segment.texts_of(settings.source_role)[-1]
            for aspect in settings.aspects:
                edit = value[aspect]
                if one_line(edit["was"]):
                    segment.add_text(
                        f"{settings.role}:{aspect}",
                        edited(one_line(source.text), edit["was"], edit["now"]),
                        self.by_model(),
                        language=source.language,
                        sources=[source.id],
                    )
        return part

    def question(self, part: Part, segment: Segment) -> Request:
        """What the teacher is asked about one text."""
        settings = self.settings
        text = {"type": "string", "maxLength": 200}
        edit = object_schema({"was": text, "now": text})
        prompt = self.prompt.render(
            language=settings.language,
            aspects=", ".join(f'"{aspect}"' for aspect in settings.aspects),
            words=settings.max_words,
            text=one_line(segment.texts_of(settings.source_role)[-1].text),
        )
        return self.request(
            f"{part.video.id}/{segment.id}/{self.label}",
            prompt,
            object_schema(dict.fromkeys(settings.aspects, edit)),
        )

    def _complaint(self, segment: Segment, value: Any) -> str | None:
        source = one_line(segment.texts_of(self.settings.source_role)[-1].text)
        for aspect in self.settings.aspects:
            was, now = one_line(value[aspect]["was"]), one_line(value[aspect]["now"])
            if not was:
                continue
            if len(_found(source, was)) != 1:
                return f'"was" of {aspect} must stand in the text word for word, once'
            if not now or was.casefold() == now.casefold():
                return f'"now" of {aspect} changes nothing'
            if len(now.split()) > self.settings.max_words:
                return f'"now" of {aspect} has more than {self.settings.max_words} words'
            if len(_found(source, was)[0]) > 0.5 * len(source):
                return f'"was" of {aspect} is most of the text'
        return None


def edited(text: str, was: str, now: str) -> str:
    """`text` with the one place where `was` stands replaced, its first letter's case kept."""
    was, now = one_line(was), one_line(now)
    [old] = _found(text, was)
    if old[:1].isupper() and now[:1].islower():
        now = now[:1].upper() + now[1:]
    return re.sub(_whole(was), lambda _: now, text, count=1, flags=re.IGNORECASE)


def _found(text: str, words: str) -> list[str]:
    return [str(found[0]) for found in re.finditer(_whole(words), text, re.IGNORECASE)]


def _whole(words: str) -> str:
    """A pattern of these words, not within longer ones."""
    return rf"(?<!\w){re.escape(words)}(?!\w)"
