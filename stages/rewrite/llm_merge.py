"""Merge several texts about a clip into one, by a language model that sees none of the pictures.

Views know different things: a title names what it is, a picture's caption what is there, a video's
caption what happens. A model reads them in the order of their authority and writes one text within
a word budget. With `grounded`, a word that no view says breaks the contract, which is what keeps a
merge from inventing; function words are free. All sources are kept and named. Texts with a time of
their own can be told to the model with it (`times`), so that order survives the merge.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from pydantic import Field

from clipmill.schemas.records import Part, Segment, Text
from clipmill.stages.models.teacher import Request
from clipmill.stages.models.teacher_stage import (
    AskSettings,
    PromptName,
    Question,
    TeacherStage,
    object_schema,
    one_line,
)
from clipmill.stages.rewrite.llm_rewrite import length_in_words
from clipmill.stages.score.score_text import title_of

_FREE = """
a an the and or but while then as at by for from in into of off on onto out over to under up with
without near it its he she they them their his her this that these those there is are was were be
being been has have had do does did not no also both who which what when where before after during
"""
FREE = frozenset(_FREE.split())
"""English words that say nothing of their own."""

_WORD = re.compile(r"[^\W_]+")
_ENDING = re.compile(r"(?<=[^\W_]{3})(?:ing|ed|er|es|ly|s|e)$")


class Settings(AskSettings):
    """The teacher may be a language model: it is shown no pictures."""

    layer: str = "shots"
    """Layer whose texts are merged."""
    roles: tuple[str, ...] = Field(min_length=1)
    """Roles of the texts, the most trusted first. Every text of a role is read."""
    title: bool = False
    """Read the video's title too, as the least trusted."""
    columns: tuple[str, ...] = ()
    """Columns of the manifest that are read too, after the title, e.g. hashtags."""
    role: str = Field(default="merged", pattern=r"^[a-z0-9_:]+$")
    """Role of the text that is written."""
    prompt: PromptName = "merge_views.v1"
    """Prompt by id, or the path of a .txt file with the same variables."""
    least: int = Field(default=2, ge=1)
    """Clips with fewer texts than this are left alone, title and columns counted."""
    times: bool = False
    """Say when each text is about, where it has a time of its own."""
    max_words: int = Field(default=60, ge=1)
    """Longer answers break the contract. In scripts without spaces, twice as many letters."""
    grounded: bool = False
    """Refuse words that none of the texts says; endings and English function words are free."""
    view_chars: int = Field(default=1500, ge=1)
    """Each text is cut to so many characters."""


class LlmMerge(TeacherStage[Settings]):
    """Merge several texts about a clip into one, by a language model."""

    settings: Settings
    needs: ClassVar = {"segments:{layer}"}
    provides: ClassVar = {"texts:{role}", "labels:rejected_{role}"}

    def reads(self) -> frozenset[str]:
        return super().reads() | {f"texts:{role}" for role in self.settings.roles}

    async def process(self, part: Part) -> Part:
        settings = self.settings
        questions: list[Question] = []
        views: dict[str, list[str]] = {}
        for segment in part.video.layer(settings.layer):
            views[segment.id] = self._views(part, segment)
            # A title alone is about the video and not about this clip.
            if self._texts(segment) and len(views[segment.id]) >= settings.least:
                questions.append((segment, self.question(part, segment, views[segment.id])))
        answers = await self.answers(
            part,
            questions,
            settings.role,
            lambda segment, value: self._complaint(views[segment.id], value),
        )
        for segment, value in answers:
            segment.add_text(
                settings.role,
                one_line(value["text"]),
                self.by_model(),
                language=settings.language,
                sources=[text.id for text in self._texts(segment)],
            )
        return part

    def question(self, part: Part, segment: Segment, views: list[str]) -> Request:
        """What the teacher is asked about one segment's texts, a line each."""
        settings = self.settings
        prompt = self.prompt.render(
            language=settings.language, words=settings.max_words, views="\n".join(views)
        )
        return self.request(
            f"{part.video.id}/{segment.id}/{settings.role}",
            prompt,
            object_schema({"text": {"type": "string", "minLength": 1, "maxLength": 8000}}),
        )

    def _texts(self, segment: Segment) -> list[Text]:
        return [text for role in self.settings.roles for text in segment.texts_of(role)]

    def _views(self, part: Part, segment: Segment) -> list[str]:
        """One line per text: its source, its time where asked for, and what it says."""
        settings, most = self.settings, self.settings.view_chars
        lines = []
        for text in self._texts(segment):
            span = text.span if settings.times else None
            time = f" ({span.start_s:.1f}-{span.end_s:.1f} s)" if span else ""
            lines.append((f"{text.role}{time}", one_line(text.text, most)))
        if settings.title:
            lines.append(("title", one_line(title_of(part.video), most)))
        for column in settings.columns:
            lines.append((column, one_line(part.video.meta.get(column, ""), most)))
        return [f"{source}: {said}" for source, said in lines if said]

    def _complaint(self, views: list[str], value: Any) -> str | None:
        text, most = value["text"].strip(), self.settings.max_words
        if not text:
            return "the text is empty"
        length = length_in_words(text)
        if length > most:
            return f"it has {length} words, at most {most} are allowed"
        if self.settings.grounded:
            said = _stems(" ".join(view.partition(": ")[2] for view in views))
            strange = sorted(_stems(text) - said)
            if strange:
                return f"none of the texts says {', '.join(strange[:5])}"
        return None


def _stems(text: str) -> set[str]:
    """The words of a text that say something, without the commonest endings."""
    words = {word.casefold() for word in _WORD.findall(text)} - FREE
    stems = {_ENDING.sub("", word) for word in words}
    return {stem[:-1] if stem[-2:-1] == stem[-1:] else stem for stem in stems}  # getting, gets
