"""Fan out: the same clip told by several teachers, from several views, or several times by one.

Teachers err in different places: one that reads the subtitles knows names, one that sees many
frames knows what moves. Every view writes under a role of its own, `<role>:<view>`, so that losers
are kept, columns can be compared and `select_candidate` or `llm_merge` can name what they read.
Views are asked at the same time in one actor, which suits teachers behind servers and small ones;
for teachers that fill a GPU each, put `caption_clip` into the recipe once per view with these
roles, and the engine gives each its own actors.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from clipmill.schemas.records import Part, Segment
from clipmill.stages.caption import caption_clip
from clipmill.stages.caption.caption_clip import CaptionClip, Context
from clipmill.stages.models.contract import mark_rejected
from clipmill.stages.models.embedded import EMBEDDED
from clipmill.stages.models.prompts import load_prompt
from clipmill.stages.models.teacher_stage import AskSettings, PromptName, Question, one_line
from clipmill.stages.stage import Resources, Stage, StageSettings


class View(AskSettings):
    """A teacher and what it is shown."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    """Name of the view, part of the role it writes."""
    prompt: PromptName = "caption_brief.v1"
    """Prompt by id (as of caption_clip; caption_from_text.v1 where `frames` is 0), or the path of
    a .txt file with the same variables."""
    frames: int = Field(default=8, ge=0)
    """At most so many frames a clip, spread over it; 0 asks a language model about the context
    alone."""
    context: tuple[Context, ...] = ()
    """What else the teacher is told: title, asr (speech), ocr (screen text)."""
    columns: tuple[str, ...] = ()
    """Columns of the manifest that it is told as well."""
    told: tuple[str, ...] = ()
    """Roles of texts about the clip that it is told as well, e.g. a caption to be enriched."""
    samples: int = Field(default=1, ge=1, le=64)
    """So many candidates of this view; more than one needs a temperature above 0."""

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        if self.samples > 1 and not self.temperature:
            raise ValueError("samples without a temperature all say the same")
        if not (self.frames or self.context or self.columns or self.told):
            raise ValueError("a view without frames and context shows nothing")
        return self


class Settings(StageSettings):
    layer: str = "shots"
    """Layer whose segments are captioned."""
    role: str = Field(default="candidate", pattern=r"^[a-z0-9_]+$")
    """Role of the texts, followed by a colon and the view's name."""
    views: tuple[View, ...] = Field(min_length=1)
    """Who is asked, and what each is shown."""
    context_chars: int = Field(default=1500, ge=1)
    """Each kind of context is cut to so many characters."""
    max_chars: int = Field(default=1200, ge=1)
    """Longer captions break the contract."""

    @model_validator(mode="after")
    def _names_are_names(self) -> Self:
        names = [view.name for view in self.views]
        if len(set(names)) < len(names):
            raise ValueError("two views have the same name")
        return self


class FanOut(Stage[Settings]):
    """Caption every clip by several teachers or views; all candidates are kept."""

    settings: Settings
    needs: ClassVar = {"segments:{layer}"}
    teacher: ClassVar[bool] = True
    own_actor: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.tellers = [CaptionClip(_caption_settings(settings, view)) for view in settings.views]
        each = [teller.resources for teller in self.tellers]
        together = Resources(
            cpus=max(one.cpus for one in each),
            gpus=sum(one.gpus for one in each),
            timeout_s=max(one.timeout_s for one in each),
            parts=min(one.parts for one in each),
            most=min((one.most for one in each if one.most is not None), default=None),
        )
        small = all(view.teacher.model == EMBEDDED for view in settings.views)
        vars(self).update(resources=together)
        if small:
            vars(self).update(teacher=False, own_actor=False)

    def reads(self) -> frozenset[str]:
        return super().reads().union(*(teller.reads() for teller in self.tellers))

    def adds(self) -> frozenset[str]:
        return frozenset().union(*(teller.adds() for teller in self.tellers))

    def requires(self) -> dict[str, str]:
        return {name: extra for one in self.tellers for name, extra in one.requires().items()}

    def identity(self) -> dict[str, Any]:
        own = super().identity()
        for view, told in zip(self.settings.views, own["settings"]["views"], strict=True):
            told["teacher"] = view.teacher.identity()
            told["prompt"] = load_prompt(view.prompt).identity()
        return own

    def setup(self) -> None:
        for teller in self.tellers:
            teller.label = self.label
            teller.setup()

    def close(self) -> None:
        for teller in self.tellers:
            teller.close()

    async def process(self, part: Part) -> Part:
        pairs = list(zip(self.settings.views, self.tellers, strict=True))
        told = await asyncio.gather(*(self._ask(part, view, teller) for view, teller in pairs))
        for (view, teller), answers in zip(pairs, told, strict=True):
            for segment, value in answers:
                segment.add_text(
                    teller.settings.role,
                    one_line(value["caption"]),
                    teller.by_model(),
                    language=view.language,
                )
        return part

    async def _ask(self, part: Part, view: View, teller: CaptionClip) -> list[tuple[Segment, Any]]:
        """Every sample of one view, segment by segment."""
        questions: list[Question] = []
        for segment in part.video.layer(self.settings.layer):
            if missing := teller.lacks(part, segment):
                mark_rejected(segment, teller.settings.role, missing)
                continue
            asked = teller.question(part, segment)
            questions += [
                (segment, replace(asked, id=f"{asked.id}/{k}", seed=view.seed + k))
                for k in range(view.samples)
            ]
        return await teller.answers(part, questions, teller.settings.role, caption_clip.not_blank)


def _caption_settings(settings: Settings, view: View) -> caption_clip.Settings:
    shared = {name: getattr(view, name) for name in AskSettings.model_fields}
    return caption_clip.Settings(
        **shared,
        layer=settings.layer,
        role=f"{settings.role}:{view.name}",
        frames=view.frames,
        context=view.context,
        columns=view.columns,
        told=view.told,
        context_chars=settings.context_chars,
        max_chars=settings.max_chars,
    )
