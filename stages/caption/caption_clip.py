"""Caption each clip by a vision-language teacher, from its frames and what is known about it.

All clips of a part are asked at once, so that the teacher can batch; replies are paired by id and
validated, and a clip whose reply fails twice gets no caption but a counted mark (see
`stages.models.contract`). Context such as the title or the speech helps to name things and is
quoted as data, because strangers wrote it. Brief, dense and other kinds are prompts: put the stage
into a recipe once per kind, each with a role of its own.
"""

from __future__ import annotations

import logging
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from clipmill.schemas.records import Part, Segment, Video
from clipmill.stages.models.contract import ask, mark_rejected
from clipmill.stages.models.frame_choice import spread
from clipmill.stages.models.prompts import Prompt, anchored, load_prompt
from clipmill.stages.models.teacher import (
    Request,
    TeacherSettings,
    Usage,
    open_teacher,
)
from clipmill.stages.stage import Resources, Stage, StageSettings

log = logging.getLogger(__name__)

Context = Literal["title", "asr", "ocr"]


class Settings(StageSettings):
    teacher: TeacherSettings = TeacherSettings()
    """The model, and how it is run."""
    layer: str = "shots"
    """Layer whose segments are captioned."""
    role: str = Field(default="caption", pattern=r"^[a-z0-9_:]+$")
    """Role of the text that is written."""
    prompt: Annotated[str, AfterValidator(anchored)] = "caption_brief.v1"
    """Prompt by id (caption_brief.v1, caption_dense.v1, caption_action.v1), or the path of a .txt
    file with the same variables."""
    frames: int = Field(default=8, ge=1)
    """At most so many frames a clip, spread over it."""
    context: tuple[Context, ...] = ()
    """What else the teacher is told: title, asr (speech), ocr (screen text)."""
    context_chars: int = Field(default=1500, ge=1)
    """Each kind of context is cut to so many characters."""
    language: str = Field(default="en", pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]+)*$")
    """Language to write in, as a BCP 47 tag."""
    max_chars: int = Field(default=1200, ge=1)
    """Longer captions break the contract."""
    max_tokens: int = Field(default=384, ge=1)
    """Longer replies are cut off, and rejected for it."""
    temperature: float = Field(default=0.0, ge=0)
    """0 always takes the likeliest word."""
    seed: int = 0
    """Decides the words where the temperature is above 0."""


class CaptionClip(Stage[Settings]):
    """Caption clips by a vision-language teacher."""

    settings: Settings
    needs = frozenset({"frames", "segments:{layer}"})
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

    def reads(self) -> frozenset[str]:
        return super().reads() | {
            f"texts:{kind}" for kind in self.settings.context if kind != "title"
        }

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
        asked: dict[str, Segment] = {}
        requests: list[Request] = []
        for segment in part.video.layer(settings.layer):
            if not part.frames.get(segment.id):
                mark_rejected(segment, settings.role, "no_frames")
                continue
            request = self.request(part, segment)
            asked[request.id] = segment
            requests.append(request)
        answers = await ask(self.model, requests, _not_blank)
        self.usage += answers.usage
        if answers.foreign:
            log.warning("%s: %d replies to nobody's question", part.name, answers.foreign)
        model = self.model.identity
        for name, answer in answers.found.items():
            author = self.author(model.name, model.revision, self.prompt.id)
            asked[name].add_text(
                settings.role,
                " ".join(answer.value["caption"].split()),
                author,
                language=settings.language,
            )
        for name, reason in answers.rejected.items():
            mark_rejected(asked[name], settings.role, reason)
        return part

    def close(self) -> None:
        self.model.close()

    def request(self, part: Part, segment: Segment) -> Request:
        """What the teacher is asked about one segment that has frames."""
        settings = self.settings
        frames = spread(part.frames[segment.id], settings.frames)
        prompt = self.prompt.render(
            count=len(frames),
            times=", ".join(f"{frame.clock.seconds(frame.tick):.2f}" for frame in frames),
            language=settings.language,
            context=context_of(part.video, segment, settings.context, settings.context_chars),
        )
        return Request(
            # Unique in the corpus, so that a reply gone astray fits nowhere else.
            id=f"{part.video.id}/{segment.id}/{settings.role}",
            prompt=prompt,
            images=tuple(frame.jpeg for frame in frames),
            schema=caption_schema(settings.max_chars),
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            seed=settings.seed,
        )


def caption_schema(max_chars: int) -> dict[str, Any]:
    """The contract of a caption: one object with one text."""
    return {
        "type": "object",
        "properties": {"caption": {"type": "string", "minLength": 1, "maxLength": max_chars}},
        "required": ["caption"],
        "additionalProperties": False,
    }


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
        text = " ".join(" ".join(found).split())[:most]
        if text:
            lines.append(f"{kind}: {text}")
    return "\n".join(lines)


def _not_blank(_: str, value: Any) -> str | None:
    return None if value["caption"].strip() else "the caption is empty"
