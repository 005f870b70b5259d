"""Have a clip described again by a model that has not read its text, and ask whether both agree.

A judge who reads the text first is led by it: what sounds right is soon seen. Here the second
description is written from the pictures alone, and whoever compares the two sees texts and no
pictures, so agreement is evidence that neither made it up (VideoRefer-700K keeps what a second
model tells alike). The other side may also be a text that came about in another way, as the
Multimodal Textbook holds captions against what is said. Several descriptions at a temperature give
a share instead of a yes or no. It pays for independence with what both leave out: a second
description names what it finds important, so short texts agree more often than long ones, and the
teacher has to be another model than the one that wrote the text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Self

from pydantic import Field, model_validator

from clipmill.schemas.records import Part, Segment, Text
from clipmill.stages.caption.caption_clip import caption_schema, not_blank
from clipmill.stages.models.contract import mark_rejected
from clipmill.stages.models.frame_choice import spread
from clipmill.stages.models.prompts import load_prompt
from clipmill.stages.models.teacher import Request
from clipmill.stages.models.teacher_stage import (
    AskSettings,
    PromptName,
    Question,
    TeacherStage,
    object_schema,
    one_line,
)


class Settings(AskSettings):
    layer: str = "shots"
    """Layer whose texts are checked."""
    role: str = "caption"
    """Role of the text; of several, the last written."""
    other: str = ""
    """Role of an independent text to hold it against, e.g. asr. Empty: the teacher describes the
    clip's pictures again."""
    prompt: PromptName = "roundtrip_same.v1"
    """How the two are compared: roundtrip_same.v1 (two descriptions), roundtrip_speech.v1 (a
    description and speech), or the path of a .txt file with the same variables."""
    again_prompt: PromptName = "caption_brief.v1"
    """How a clip is described again: a prompt of caption_clip. Its context is always empty."""
    frames: int = Field(default=8, ge=1)
    """At most so many frames a clip, spread over it."""
    tries: int = Field(default=1, ge=1, le=25)
    """So many second descriptions; more than one needs a temperature above 0."""
    max_chars: int = Field(default=1200, ge=1)
    """Longer descriptions break the contract."""
    name: str = Field(default="roundtrip", pattern=r"^[a-z0-9_]+$")
    """Score: the share of the second descriptions that agree. Second descriptions are texts of the
    role NAME_again; where they differ from the text is said in texts of the role NAME_differs."""

    @model_validator(mode="after")
    def _tries_differ(self) -> Self:
        if self.tries > 1 and (self.other or not self.temperature):
            raise ValueError("more tries than one need a temperature and pictures to describe")
        return self


class RoundtripCheck(TeacherStage[Settings]):
    """Check a text against an independent second description of its clip."""

    settings: Settings
    needs: ClassVar = {"segments:{layer}", "texts:{role}"}
    provides: ClassVar = {"scores:{name}", "texts:{name}_differs", "labels:rejected_{name}"}

    def reads(self) -> frozenset[str]:
        other = self.settings.other
        return super().reads() | {f"texts:{other}" if other else "frames"}

    def adds(self) -> frozenset[str]:
        again = set() if self.settings.other else {f"texts:{self.settings.name}_again"}
        return super().adds() | again

    def setup(self) -> None:
        super().setup()
        self.again = load_prompt(self.settings.again_prompt)

    async def process(self, part: Part) -> Part:
        settings = self.settings
        told = [s for s in part.video.layer(settings.layer) if s.texts_of(settings.role)]
        others: Mapping[str, list[Text]]
        if settings.other:
            others = {s.id: s.texts_of(settings.other)[-1:] for s in told}
        else:
            others = await self._described(part, told)
        pairs = {
            f"{part.video.id}/{segment.id}/{self.label}/{k}": (segment, text)
            for segment in told
            for k, text in enumerate(others.get(segment.id, ()))
        }
        questions: list[Question] = [
            (segment, self.comparing(name, segment, text))
            for name, (segment, text) in pairs.items()
        ]
        answers = await self.answers_by_id(part, questions, settings.name)
        agreed: dict[str, list[bool]] = defaultdict(list)
        for name, value in answers.items():
            segment, text = pairs[name]
            agreed[segment.id].append(value["verdict"] == "same")
            if value["differs"].strip():
                claim = segment.texts_of(settings.role)[-1]
                segment.add_text(
                    f"{settings.name}_differs",
                    one_line(value["differs"]),
                    self.by_model(),
                    language=settings.language,
                    sources=[claim.id, text.id],
                )
        for segment in told:
            if votes := agreed.get(segment.id):
                segment.scores[settings.name] = sum(votes) / len(votes)
        return part

    async def _described(self, part: Part, told: list[Segment]) -> Mapping[str, list[Text]]:
        """The second descriptions of clips, written by somebody who has not read the first."""
        settings = self.settings
        questions: list[Question] = []
        for segment in told:
            if part.frames.get(segment.id):
                asked = self.describing(part, segment)
                questions += [
                    (segment, replace(asked, id=f"{asked.id}/{k}", seed=settings.seed + k))
                    for k in range(settings.tries)
                ]
            else:
                mark_rejected(segment, settings.name, "no_frames")
        model = self.model.identity
        author = self.author(model.name, model.revision, self.again.id)
        found: dict[str, list[Text]] = defaultdict(list)
        for segment, value in await self.answers(part, questions, settings.name, not_blank):
            text = segment.add_text(
                f"{settings.name}_again",
                one_line(value["caption"]),
                author,
                language=settings.language,
            )
            found[segment.id].append(text)
        return found

    def describing(self, part: Part, segment: Segment) -> Request:
        """The question for a second description of a segment's pictures."""
        settings = self.settings
        frames = spread(part.frames[segment.id], settings.frames)
        prompt = self.again.render(
            count=len(frames),
            times=", ".join(f"{frame.clock.seconds(frame.tick):.2f}" for frame in frames),
            language=settings.language,
            context="",  # the text that is checked, or its sources, would lead the eye
        )
        return self.request(
            f"{part.video.id}/{segment.id}/{self.label}/again",
            prompt,
            caption_schema(settings.max_chars),
            [frame.jpeg for frame in frames],
        )

    def comparing(self, name: str, segment: Segment, other: Text) -> Request:
        """The question whether a segment's text and another one agree; without pictures."""
        claim = one_line(segment.texts_of(self.settings.role)[-1].text)
        prompt = self.prompt.render(
            language=self.settings.language, first=claim, second=one_line(other.text)
        )
        return self.request(name, prompt, AGREEMENT)


AGREEMENT = object_schema(
    {
        "differs": {"type": "string", "maxLength": 400},
        "verdict": {"enum": ["same", "different", "unrelated"]},
    }
)
"""The contract of a comparison: where the texts differ, then the verdict."""
