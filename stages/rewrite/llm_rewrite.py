"""Say a text again by a language model: shorter, cleaner, fuller, or as a user would ask for it.

One operator for every such task, because they differ in their prompt alone: the text and, where
asked for, its neighbours in time go in as data, one text comes out under a contract with a word
budget. The old text stays, the new one names it as its source, so every version can be compared
and trained on. What fails twice leaves a counted mark and no text.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from clipmill.schemas.records import Part, Segment
from clipmill.stages.models.contract import ask, mark_rejected
from clipmill.stages.models.prompts import Prompt, anchored, load_prompt
from clipmill.stages.models.teacher import Request, TeacherSettings, Usage, open_teacher
from clipmill.stages.score.score_text import title_of
from clipmill.stages.stage import Resources, Stage, StageSettings

log = logging.getLogger(__name__)


class Settings(StageSettings):
    teacher: TeacherSettings = TeacherSettings()
    """The model, and how it is run. A language model is enough: it is shown no pictures."""
    layer: str = "sentences"
    """Layer whose texts are rewritten."""
    source_role: str = "asr"
    """Role of the text that is rewritten; of several, the last written."""
    role: str = Field(default="rewrite", pattern=r"^[a-z0-9_:]+$")
    """Role of the text that is written."""
    prompt: Annotated[str, AfterValidator(anchored)] = "rewrite_clean.v1"
    """Prompt by id (rewrite_clean.v1, rewrite_summary.v1, rewrite_request.v1), or the path of a
    .txt file with the same variables."""
    neighbours: int = Field(default=0, ge=0, le=20)
    """So many texts before and after are shown beside it, for context only."""
    max_words: int = Field(default=60, ge=1)
    """Longer answers break the contract. In scripts without spaces, twice as many letters."""
    min_words: int = Field(default=1, ge=1)
    """Texts with fewer words than this are not rewritten."""
    language: str = Field(default="en", pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]+)*$")
    """Language to write in, as a BCP 47 tag."""
    max_tokens: int = Field(default=384, ge=1)
    """Longer replies are cut off, and rejected for it."""
    temperature: float = Field(default=0.0, ge=0)
    """0 always takes the likeliest word."""
    seed: int = 0
    """Decides the words where the temperature is above 0."""


class LlmRewrite(Stage[Settings]):
    """Rewrite texts by a language model, within a word budget."""

    settings: Settings
    needs = frozenset({"segments:{layer}", "texts:{source_role}"})
    provides = frozenset({"texts:{role}", "labels:rejected_{role}"})
    resources = Resources(cpus=2.0)
    teacher: ClassVar[bool] = True
    own_actor: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        # A teacher elsewhere needs another actor than one in it; the engine asks the stage it runs.
        vars(self).update(resources=settings.teacher.resources(self.resources))

    def requires(self) -> dict[str, str]:
        return self.settings.teacher.requires()

    def identity(self) -> dict[str, Any]:
        own = super().identity()
        own["settings"]["teacher"] = self.settings.teacher.identity()
        own["settings"]["prompt"] = load_prompt(self.settings.prompt).identity()
        return own

    def setup(self) -> None:
        self.usage = Usage()  # tokens since setup, for the engine's counters
        self.prompt: Prompt = load_prompt(self.settings.prompt)
        self.model = open_teacher(self.settings.teacher)
        self.model.setup()

    async def process(self, part: Part) -> Part:
        settings = self.settings
        held = [s for s in part.video.layer(settings.layer) if s.texts_of(settings.source_role)]
        asked: dict[str, Segment] = {}
        requests: list[Request] = []
        for place, segment in enumerate(held):
            if len(self._text(segment).split()) < settings.min_words:
                continue
            request = self.request(part, held, place)
            asked[request.id] = segment
            requests.append(request)
        answers = await ask(self.model, requests, self._complaint)
        self.usage += answers.usage
        if answers.foreign:
            log.warning("%s: %d replies to nobody's question", part.name, answers.foreign)
        model = self.model.identity
        author = self.author(model.name, model.revision, self.prompt.id)
        for name, answer in answers.found.items():
            source = asked[name].texts_of(settings.source_role)[-1]
            asked[name].add_text(
                settings.role,
                " ".join(answer.value["text"].split()),
                author,
                language=settings.language,
                sources=[source.id],
            )
        for name, reason in answers.rejected.items():
            mark_rejected(asked[name], settings.role, reason)
        return part

    def close(self) -> None:
        self.model.close()

    def request(self, part: Part, held: Sequence[Segment], place: int) -> Request:
        """What the teacher is asked about the text at `place`."""
        settings = self.settings
        near = settings.neighbours
        before = [self._text(segment) for segment in held[max(0, place - near) : place]]
        after = [self._text(segment) for segment in held[place + 1 : place + 1 + near]]
        title = " ".join(title_of(part.video).split())[:300]
        context = [f"title: {title}"] if title else []
        context += [f"before: {text}" for text in before] + [f"after: {text}" for text in after]
        return Request(
            id=f"{part.video.id}/{held[place].id}/{settings.role}",
            prompt=self.prompt.render(
                language=settings.language,
                words=settings.max_words,
                context="\n".join(context),
                text=self._text(held[place]),
            ),
            schema={
                "type": "object",
                "properties": {"text": {"type": "string", "minLength": 1, "maxLength": 8000}},
                "required": ["text"],
                "additionalProperties": False,
            },
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            seed=settings.seed,
        )

    def _text(self, segment: Segment) -> str:
        return " ".join(segment.texts_of(self.settings.source_role)[-1].text.split())

    def _complaint(self, _: str, value: Any) -> str | None:
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
