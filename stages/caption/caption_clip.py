"""Caption each clip by a vision-language teacher, from its frames and what is known about it.

All clips of a part are asked at once, so that the teacher can batch; replies are paired by id and
validated, and a clip whose reply fails twice gets no caption but a counted mark (see
`stages.models.contract`). Context such as the title or the speech helps to name things and is
quoted as data, because strangers wrote it. Brief, dense and other kinds are prompts: put the stage
into a recipe once per kind, each with a role of its own. With `slots` the teacher fills these from
the pictures in place of a caption; `extract_structure` reads them out of a text.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from clipmill.schemas.records import Part, Segment, Video
from clipmill.stages.models.contract import mark_rejected
from clipmill.stages.models.frame_choice import spread
from clipmill.stages.models.teacher import Request
from clipmill.stages.models.teacher_stage import (
    AskSettings,
    PromptName,
    Question,
    TeacherStage,
    object_schema,
    one_line,
)
from clipmill.stages.rewrite.slots import Slots, slot_lines, slot_tokens, slots_schema, write_slots

Context = Literal["title", "asr", "ocr"]


class Settings(AskSettings):
    layer: str = "shots"
    """Layer whose segments are captioned."""
    role: str = Field(default="caption", pattern=r"^[a-z0-9_:]+$")
    """Role of the text that is written."""
    prompt: PromptName = "caption_brief.v1"
    """Prompt by id (caption_brief.v1, caption_dense.v1, caption_action.v1, caption_camera.v1;
    caption_grid.v1 for composed frames, caption_slots.v1 for slots), or the path of a .txt file
    with the same variables."""
    slots: Slots = Field(default_factory=dict)
    """Slots to be filled in place of a caption: each one's name, and its values where they are a
    closed list."""
    frames: int = Field(default=8, ge=0)
    """At most so many frames a clip, spread over it; 0 asks a language model about the context
    alone."""
    context: tuple[Context, ...] = ()
    """What else the teacher is told: title, asr (speech), ocr (screen text)."""
    columns: tuple[str, ...] = ()
    """Columns of the manifest that it is told as well, e.g. a question or hashtags."""
    told: tuple[str, ...] = ()
    """Roles of texts written about the clip before that it is told as well: layers of a caption
    are asked for one after the other."""
    context_chars: int = Field(default=1500, ge=1)
    """Each kind of context is cut to so many characters."""
    max_chars: int = Field(default=1200, ge=1)
    """Longer captions break the contract, and longer values of slots."""

    @model_validator(mode="after")
    def _slots_have_a_prompt(self) -> Self:
        if self.prompt.startswith("caption_slots.v") != bool(self.slots) and not (
            self.slots and self.prompt.endswith(".txt")
        ):
            raise ValueError("`slots` go with the prompt caption_slots.v1, and it with them")
        return self


class CaptionClip(TeacherStage[Settings]):
    """Caption clips by a vision-language teacher."""

    settings: Settings
    needs = frozenset({"segments:{layer}"})
    provides = frozenset({"labels:rejected_{role}"})

    def adds(self) -> frozenset[str]:
        slots = slot_tokens(self.settings.slots)
        return super().adds() | (slots or {f"texts:{self.settings.role}"})

    def reads(self) -> frozenset[str]:
        seen = {"frames"} if self.settings.frames else set()
        told = {f"texts:{kind}" for kind in self.settings.context if kind != "title"}
        told |= {f"texts:{role}" for role in self.settings.told}
        return super().reads() | seen | told

    async def process(self, part: Part) -> Part:
        settings = self.settings
        questions: list[Question] = []
        for segment in part.video.layer(settings.layer):
            missing = self.lacks(part, segment)
            if missing:
                mark_rejected(segment, settings.role, missing)
            else:
                questions.append((segment, self.question(part, segment)))
        if settings.slots:
            for segment, value in await self.answers(part, questions, settings.role):
                write_slots(segment, settings.slots, value, self.by_model(), settings.language)
            return part
        for segment, value in await self.answers(part, questions, settings.role, not_blank):
            segment.add_text(
                settings.role,
                one_line(value["caption"]),
                self.by_model(),
                language=settings.language,
            )
        return part

    def lacks(self, part: Part, segment: Segment) -> str | None:
        """What a segment lacks to be asked about: no_frames, no_context, or None."""
        if self.settings.frames:
            return None if part.frames.get(segment.id) else "no_frames"
        return None if self._context(part, segment) else "no_context"

    def question(self, part: Part, segment: Segment) -> Request:
        """What the teacher is asked about one segment that lacks nothing."""
        settings = self.settings
        frames = spread(part.frames.get(segment.id, []), settings.frames)
        values: dict[str, str | int] = {
            "count": len(frames),
            "times": ", ".join(f"{frame.clock.seconds(frame.tick):.2f}" for frame in frames),
            "language": settings.language,
            "context": self._context(part, segment),
            "slots": slot_lines(settings.slots),
        }
        # A prompt for a language model speaks of no pictures.
        told = {name: value for name, value in values.items() if self.prompt.takes(name)}
        return self.request(
            f"{part.video.id}/{segment.id}/{settings.role}",
            self.prompt.render(**told),
            slots_schema(settings.slots, settings.max_chars)
            if settings.slots
            else caption_schema(settings.max_chars),
            [frame.jpeg for frame in frames],
        )

    def _context(self, part: Part, segment: Segment) -> str:
        settings = self.settings
        lines = [context_of(part.video, segment, settings.context, settings.context_chars)]
        for column in settings.columns:
            text = one_line(part.video.meta.get(column, ""), settings.context_chars)
            lines.append(f"{column}: {text}" if text else "")
        for role in settings.told:
            written = [text.text for text in segment.texts_of(role)[-1:]]
            lines += [f"{role}: {one_line(text, settings.context_chars)}" for text in written]
        return "\n".join(filter(None, lines))


def caption_schema(max_chars: int) -> dict[str, Any]:
    """The contract of a caption: one object with one text."""
    return object_schema({"caption": {"type": "string", "minLength": 1, "maxLength": max_chars}})


def context_of(video: Video, segment: Segment, kinds: tuple[Context, ...], most: int) -> str:
    """What is known beside the picture, a line per text, each kind cut to `most` characters."""
    lines: list[str] = []
    for kind in kinds:
        if kind == "title":
            tags = video.probe.tags if video.probe else {}
            found = [text.text for text in video.texts if text.role == "title"]
            found = (found or [video.meta.get("title") or tags.get("title") or ""])[:1]
        else:
            found = [text.text for text in segment.texts_of(kind)]
        text = one_line(" ".join(found), most)
        if text:
            lines.append(f"{kind}: {text}")
    return "\n".join(lines)


def not_blank(_: Segment, value: Any) -> str | None:
    """What is wrong with a caption that keeps its schema."""
    return None if value["caption"].strip() else "the caption is empty"
