"""What all stages that ask a teacher share: model, prompt, and the way answers come back.

Such a stage says what it asks about which segment (`Request`s) and what becomes of a value that
kept its contract. Loading, identity, resources, pairing, the counted mark on a segment whose reply
failed twice, and the author of what is written are here, once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, Field

from clipmill.schemas.records import Author, Part, Segment
from clipmill.stages.models.contract import ask, mark_rejected
from clipmill.stages.models.embedded import EMBEDDED
from clipmill.stages.models.prompts import Prompt, anchored, load_prompt
from clipmill.stages.models.teacher import Request, TeacherSettings, open_teacher
from clipmill.stages.stage import Resources, Stage, StageSettings

log = logging.getLogger(__name__)

PromptName = Annotated[str, AfterValidator(anchored)]


class AskSettings(StageSettings):
    """What is set of every stage that asks a teacher; a stage adds its own and gives `prompt` a
    default. Further prompts are called `<what>_prompt`: the texts of all are part of its identity.
    """

    teacher: TeacherSettings = TeacherSettings()
    """The model, and how it is run."""
    prompt: PromptName
    """Prompt by id, or the path of a .txt file with the same variables."""
    language: str = Field(default="en", pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]+)*$")
    """Language to write in, as a BCP 47 tag."""
    max_tokens: int = Field(default=384, ge=1)
    """Longer replies are cut off, and rejected for it."""
    temperature: float = Field(default=0.0, ge=0)
    """0 always takes the likeliest word."""
    seed: int = 0
    """Decides the words where the temperature is above 0."""


S = TypeVar("S", bound=AskSettings)
Question = tuple[Segment, Request]
"""A request and the segment that it is about, which bears the mark if it is rejected."""


class TeacherStage(Stage[S]):
    """Base of stages that ask a teacher: build questions, `await self.answers(...)`, write."""

    settings: S
    resources = Resources(cpus=2.0)
    teacher: ClassVar[bool] = True
    own_actor: ClassVar[bool] = True

    def __init__(self, settings: S) -> None:
        super().__init__(settings)
        # A teacher elsewhere needs another actor than one in it; the engine asks the stage it runs.
        vars(self).update(resources=settings.teacher.resources(self.resources))
        if settings.teacher.model == EMBEDDED:  # a few megabytes, neither large nor expensive
            vars(self).update(teacher=False, own_actor=False)

    def requires(self) -> dict[str, str]:
        return self.settings.teacher.requires()

    def identity(self) -> dict[str, Any]:
        own = super().identity()
        own["settings"]["teacher"] = self.settings.teacher.identity()
        for name, value in own["settings"].items():
            if name == "prompt" or name.endswith("_prompt"):
                own["settings"][name] = load_prompt(value).identity()
        return own

    def setup(self) -> None:
        self.prompt: Prompt = load_prompt(self.settings.prompt)
        self.model = open_teacher(self.settings.teacher)
        self.model.setup()

    def close(self) -> None:
        self.model.close()

    def request(
        self,
        name: str,
        prompt: str,
        schema: dict[str, Any],
        images: Sequence[bytes] = (),
    ) -> Request:
        """A request under the stage's settings; `name` is to be unique in the corpus, so that a
        reply gone astray fits nowhere else.
        """
        settings = self.settings
        return Request(
            id=name,
            prompt=prompt,
            images=tuple(images),
            schema=schema,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            seed=settings.seed,
        )

    async def answers(
        self,
        part: Part,
        questions: Sequence[Question],
        role: str,
        check: Callable[[Segment, Any], str | None] | None = None,
    ) -> list[tuple[Segment, Any]]:
        """(segment, value) for every answer that keeps its contract, in the order asked.

        `check` says what is wrong with a value beyond its schema. Segments whose answer failed
        twice are marked `rejected_<role>`.
        """
        about = {request.id: segment for segment, request in questions}
        found = await self.answers_by_id(part, questions, role, check)
        return [(about[name], value) for name, value in found.items()]

    async def answers_by_id(
        self,
        part: Part,
        questions: Sequence[Question],
        role: str,
        check: Callable[[Segment, Any], str | None] | None = None,
    ) -> dict[str, Any]:
        """As `answers`, by the requests' ids: for stages that ask several things of a segment."""
        about = {request.id: segment for segment, request in questions}
        found = await ask(
            self.model,
            [request for _, request in questions],
            (lambda name, value: check(about[name], value)) if check else None,
        )
        if found.foreign:
            log.warning("%s: %d replies to nobody's question", part.name, found.foreign)
        for name, reason in found.rejected.items():
            mark_rejected(about[name], role, reason)
        return {name: answer.value for name, answer in found.found.items()}

    def by_model(self) -> Author:
        """The author of what the model wrote."""
        model = self.model.identity
        return self.author(model.name, model.revision, self.prompt.id)


def object_schema(properties: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema of an object with exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def one_line(text: str, most: int | None = None) -> str:
    """A text without line breaks and doubled spaces, cut to `most` characters."""
    return " ".join(text.split())[:most]
