"""Say a text again by a language model: shorter, cleaner, fuller, or as a user would ask for it.

One operator for every such task, because they differ in their prompt alone: the text and, where
asked for, its neighbours in time go in as data, one text comes out under a contract with a word
budget. The old text stays, the new one names it as its source, so every version can be compared
and trained on. What fails twice leaves a counted mark and no text.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from clipmill.stages.score.score_text import title_of


class Settings(AskSettings):
    """The teacher may be a language model: it is shown no pictures."""

    layer: str = "sentences"
    """Layer whose texts are rewritten."""
    source_role: str = "asr"
    """Role of the text that is rewritten; of several, the last written."""
    role: str = Field(default="rewrite", pattern=r"^[a-z0-9_:]+$")
    """Role of the text that is written."""
    prompt: PromptName = "rewrite_clean.v1"
    """Prompt by id (rewrite_clean.v1, rewrite_summary.v1, rewrite_request.v1), or the path of a
    .txt file with the same variables."""
    neighbours: int = Field(default=0, ge=0, le=20)
    """So many texts before and after are shown beside it, for context only."""
    max_words: int = Field(default=60, ge=1)
    """Longer answers break the contract. In scripts without spaces, twice as many letters."""
    min_words: int = Field(default=1, ge=1)
    """Texts with fewer words than this are not rewritten."""


class LlmRewrite(TeacherStage[Settings]):
    """Rewrite texts by a language model, within a word budget."""

    settings: Settings
    needs = frozenset({"segments:{layer}", "texts:{source_role}"})
    provides = frozenset({"texts:{role}", "labels:rejected_{role}"})

    async def process(self, part: Part) -> Part:
        settings = self.settings
        held = [s for s in part.video.layer(settings.layer) if s.texts_of(settings.source_role)]
        questions = [
            (segment, self.question(part, held, place))
            for place, segment in enumerate(held)
            if len(self._text(segment).split()) >= settings.min_words
        ]
        for segment, value in await self.answers(part, questions, settings.role, self._complaint):
            source = segment.texts_of(settings.source_role)[-1]
            segment.add_text(
                settings.role,
                one_line(value["text"]),
                self.by_model(),
                language=settings.language,
                sources=[source.id],
            )
        return part

    def question(self, part: Part, held: Sequence[Segment], place: int) -> Request:
        """What the teacher is asked about the text at `place`."""
        settings = self.settings
        near = settings.neighbours
        before = [self._text(segment) for segment in held[max(0, place - near) : place]]
        after = [self._text(segment) for segment in held[place + 1 : place + 1 + near]]
        title = one_line(title_of(part.video), 300)
        context = [f"title: {title}"] if title else []
        context += [f"before: {text}" for text in before] + [f"after: {text}" for text in after]
        prompt = self.prompt.render(
            language=settings.language,
            words=settings.max_words,
            context="\n".join(context),
            text=self._text(held[place]),
        )
        return self.request(
            f"{part.video.id}/{held[place].id}/{settings.role}",
            prompt,
            object_schema({"text": {"type": "string", "minLength": 1, "maxLength": 8000}}),
        )

    def _text(self, segment: Segment) -> str:
        return one_line(segment.texts_of(self.settings.source_role)[-1].text)

    def _complaint(self, _: Segment, value: Any) -> str | None:
        text, most = value["text"].strip(), self.settings.max_words
        if not text:
            return "the text is empty"
        length = length_in_words(text)
        return f"it has {length} words, at most {most} are allowed" if length > most else None


def length_in_words(text: str) -> int:
    """Words of a text; where a script has no spaces, half its letters."""
    wide = sum("\u2e80" <= letter <= "\u9fff" or "\uac00" <= letter <= "\ud7af" for letter in text)
    narrow = "".join(letter if letter < "\u2e80" else " " for letter in text)
    return len(narrow.split()) + (wide + 1) // 2 if wide else len(text.split())
