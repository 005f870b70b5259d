"""Read a text's structure out of it: named slots, or the events it tells of in their order.

A free caption cannot be counted, balanced or checked; its slots can. A slot is open (a phrase,
written as text `slot:NAME`) or closed (one of listed values, written as label NAME, so that
profiles and tables can use it); what the text does not say stays absent instead of being guessed,
and the contract admits no value outside a closed list. Events become segments of their own below
the text's segment, all with its span: the text says in which order they come but not when, which is
`ground_text`'s work. The teacher sees the text alone, so nothing is added to what it said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from clipmill.schemas.records import Part, Segment
from clipmill.stages.models.teacher import Request
from clipmill.stages.models.teacher_stage import (
    AskSettings,
    PromptName,
    TeacherStage,
    object_schema,
    one_line,
)
from clipmill.stages.rewrite.slots import Slots, slot_lines, slot_tokens, slots_schema, write_slots


class Settings(AskSettings):
    """The teacher may be a language model: it is shown no pictures."""

    layer: str = "shots"
    """Layer whose texts are read."""
    source_role: str = "caption"
    """Role of the text that is read; of several, the last written."""
    read: Literal["slots", "events"] = "slots"
    """What is read out of it."""
    prompt: PromptName = "structure_slots.v1"
    """Prompt by id (structure_slots.v1, structure_events.v1), or the path of a .txt file with the
    same variables."""
    slots: Slots = Field(default_factory=dict)
    """For `slots`: each slot's name, and its values where they are a closed list."""
    name: str = Field(default="structure", pattern=r"^[a-z0-9_:]+$")
    """A segment whose answer is refused twice gets the label rejected_NAME."""
    into: str = Field(default="events", pattern=r"^[a-z][a-z0-9_]*$")
    """For `events`: layer of segments that is written, one per event."""
    role: str = Field(default="caption", pattern=r"^[a-z0-9_:]+$")
    """For `events`: role of an event's text."""
    most: int = Field(default=12, ge=1, le=100)
    """For `events`: more break the contract."""
    max_chars: int = Field(default=300, ge=10)
    """Longer values break the contract."""

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if self.read == "slots" and not self.slots:
            raise ValueError("read: slots needs `slots`, e.g. slots: {camera: [], scene: []}")
        variables = "structure_events" if self.read == "slots" else "structure_slots"
        if self.prompt.startswith(f"{variables}.v"):
            raise ValueError(f"read: {self.read} does not go with prompt {self.prompt}")
        return self


class ExtractStructure(TeacherStage[Settings]):
    """Read slots or ordered events out of a text, by a language model."""

    settings: Settings
    needs = frozenset({"segments:{layer}", "texts:{source_role}"})
    provides = frozenset({"labels:rejected_{name}"})

    def adds(self) -> frozenset[str]:
        settings = self.settings
        if settings.read == "events":
            return super().adds() | {f"segments:{settings.into}", f"texts:{settings.role}"}
        return super().adds() | slot_tokens(settings.slots)

    async def process(self, part: Part) -> Part:
        settings = self.settings
        questions = [
            (segment, self.question(part, segment))
            for segment in part.video.layer(settings.layer)
            if segment.texts_of(settings.source_role)
        ]
        answers = await self.answers(part, questions, settings.name, _complaint)
        for segment, value in answers:
            if settings.read == "events":
                self._write_events(part, segment, value["events"])
            else:
                source = segment.texts_of(settings.source_role)[-1]
                write_slots(
                    segment, settings.slots, value, self.by_model(), settings.language, [source.id]
                )
        return part

    def question(self, part: Part, segment: Segment) -> Request:
        """What the teacher is asked about one text."""
        settings = self.settings
        text = one_line(segment.texts_of(settings.source_role)[-1].text)
        name = f"{part.video.id}/{segment.id}/{settings.name}"
        if settings.read == "events":
            prompt = self.prompt.render(most=settings.most, language=settings.language, text=text)
            return self.request(name, prompt, events_schema(settings.most, settings.max_chars))
        prompt = self.prompt.render(
            slots=slot_lines(settings.slots), language=settings.language, text=text
        )
        return self.request(name, prompt, slots_schema(settings.slots, settings.max_chars))

    def _write_events(self, part: Part, segment: Segment, events: Sequence[str]) -> None:
        settings = self.settings
        source = segment.texts_of(settings.source_role)[-1]
        for number, event in enumerate(events):
            # Named after the text's segment: parts of a video count apart.
            name = f"{settings.into}-{segment.id}-{number:03d}"
            made = Segment(name, settings.into, segment.span, parent=segment.id)
            made.add_text(
                settings.role,
                one_line(event),
                self.by_model(),
                language=settings.language,
                sources=[f"{segment.id}/{source.id}"],
            )
            part.video.segments.append(made)


def events_schema(most: int, max_chars: int) -> dict[str, Any]:
    """The contract of events: one object with a list of texts."""
    event = {"type": "string", "minLength": 1, "maxLength": max_chars}
    return object_schema({"events": {"type": "array", "items": event, "maxItems": most}})


def _complaint(_: Segment, value: Any) -> str | None:
    for number, event in enumerate(value.get("events", ()) if isinstance(value, dict) else ()):
        if isinstance(event, str) and not event.strip():
            return f"events[{number}] is empty"
    return None
