"""Let a model answer the questions from a chosen view of the video: who can, and from what.

A question that proves something is answered from its evidence and not without it. So the same
questions are put with the frames of the evidence (`span`), with all others (`rest`), with the
whole, with one frame, in the wrong order or with none; and, along the time line, with what was
shown until the answer is due (`until`) or shortly before its evidence (`early`). Each is an entry
of its own, several times if asked; the share of right answers is noted on every sample and its mean
on the segment, and what is too easy, too hard or answered from anywhere is a profile's choice.
Right is decided without another model: options, yes, no and numbers exactly, times by their
overlap, free answers by their words.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Frame, Part, Sample, Segment
from clipmill.stages.ground.watched import frames_of
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

View = Literal["full", "span", "rest", "one_frame", "shuffled", "none", "until", "early"]
_WORD = re.compile(r"[^\W_]+")
_TIMES = re.compile(r"(\d+(?:\.\d+)?) ?(?:to|-|and|until) ?(\d+(?:\.\d+)?)")


class Settings(AskSettings):
    layer: str = "events"
    """Layer whose segments hold the questions."""
    kind: str = "choice"
    """Kind of the samples that are answered."""
    view: View = "full"
    """What is shown: all frames, those within the evidence, those outside of it, the middle one of
    all, all in a drawn order, none; those before the answer's turn (without one, before the end of
    the evidence), or those up to `early_s` before the evidence begins."""
    early_s: float = Field(default=1.0, ge=0)
    """`early`: so many seconds before its evidence a question is put."""
    frames_layer: str = "windows"
    """Layer whose frames are the video, all of them together."""
    frames: int = Field(default=8, ge=1)
    """At most so many frames, spread over the view."""
    prompt: PromptName = "answer_qa.v1"
    """Prompt by id, or the path of a .txt file with the same variables."""
    tries: int = Field(default=1, ge=1, le=64)
    """How often each question is put; more than once needs a temperature above 0."""
    name: str = Field(default="answered", pattern=r"^[a-z0-9_]+$")
    """Label of a sample with its share of right answers; score of a segment with their mean."""
    least_overlap: float = Field(default=0.5, gt=0, le=1)
    """Times are right from this intersection over union with the evidence on."""

    @model_validator(mode="after")
    def _tries_differ(self) -> Self:
        if self.tries > 1 and not self.temperature:
            raise ValueError("tries without a temperature all answer the same")
        return self


class AnswerQa(TeacherStage[Settings]):
    """Answer questions from a view of the video, and note the share of right answers."""

    settings: Settings
    needs: ClassVar = {"segments:{layer}", "samples:{kind}"}
    provides: ClassVar = {"scores:{name}", "labels:rejected_{name}"}

    def reads(self) -> frozenset[str]:
        if self.settings.view == "none":
            return super().reads()
        return super().reads() | {"frames", f"segments:{self.settings.frames_layer}"}

    async def process(self, part: Part) -> Part:
        settings = self.settings
        shown = [] if settings.view == "none" else frames_of(part, settings.frames_layer)
        questions: list[Question] = []
        about: dict[str, Sample] = {}
        for segment in part.video.layer(settings.layer):
            for sample in segment.samples:
                if sample.kind != settings.kind:
                    continue
                frames = self._view(part, sample, shown)
                if settings.view != "none" and not frames:
                    continue  # nothing to see is no wrong answer
                asked = self.question(part, segment, sample, frames)
                for k in range(settings.tries):
                    request = replace(asked, id=f"{asked.id}/{k}", seed=settings.seed + k)
                    about[request.id] = sample
                    questions.append((segment, request))
        right: dict[int, list[bool]] = defaultdict(list)
        answers = await self.answers_by_id(part, questions, settings.name)
        for name, value in answers.items():
            sample = about[name]
            right[id(sample)].append(is_right(value["answer"], sample, settings.least_overlap))
        for segment in part.video.layer(settings.layer):
            shares = []
            for sample in segment.samples:
                if found := right.get(id(sample)):
                    shares.append(sum(found) / len(found))
                    sample.labels[settings.name] = f"{shares[-1]:.3f}"
            if shares:
                segment.scores[settings.name] = sum(shares) / len(shares)
        return part

    def question(
        self, part: Part, segment: Segment, sample: Sample, frames: Sequence[Frame]
    ) -> Request:
        """How one question is put with these frames."""
        prompt = self.prompt.render(
            count=len(frames),
            times=", ".join(f"{frame.clock.seconds(frame.tick):.2f}" for frame in frames),
            language=self.settings.language,
            question=sample.question,
            options="\n".join(sample.options),
        )
        text: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 400}
        return self.request(
            f"{part.video.id}/{segment.id}/{self.label}/{sample.id}",
            prompt,
            object_schema({"answer": {"enum": sample.options} if sample.options else text}),
            [frame.jpeg for frame in frames],
        )

    def _view(self, part: Part, sample: Sample, frames: list[Frame]) -> list[Frame]:
        settings = self.settings
        if settings.view == "one_frame":
            return spread(frames, 1)
        if settings.view in ("span", "rest"):
            inside = settings.view == "span"
            frames = [frame for frame in frames if within(frame, sample.evidence) == inside]
        elif settings.view in ("until", "early"):
            end = seen_until(sample, settings.early_s if settings.view == "early" else None)
            frames = [frame for frame in frames if frame.clock.exact(frame.tick) < end]
        chosen = spread(frames, settings.frames)
        if settings.view == "shuffled":
            random.Random(f"{settings.seed}/{part.video.id}/{sample.id}").shuffle(chosen)
        return chosen


def within(frame: Frame, evidence: Sequence[Span]) -> bool:
    return any(span.contains(frame.clock, frame.tick) for span in evidence)


def seen_until(sample: Sample, early_s: float | None) -> Fraction:
    """The second before which frames are shown: so long before the evidence, or the answer's turn.

    0 where nothing proves the answer, as of a reply that it cannot be known yet.
    """
    if not sample.evidence:
        return Fraction(0)
    if early_s is not None:
        begin = min(span.clock.exact(span.start) for span in sample.evidence)
        return begin - Fraction(early_s)
    if sample.turn is not None:
        return sample.turn.clock.exact(sample.turn.end)
    return max(span.clock.exact(span.end) for span in sample.evidence)


def is_right(answer: str, sample: Sample, least_overlap: float) -> bool:
    """Whether an answer is the sample's: its type says how they are held against one another."""
    answer, truth = one_line(answer).casefold(), one_line(sample.answer).casefold()
    if sample.labels.get("type") == "when":
        times = _TIMES.search(answer)
        if times is None:
            return False
        start, end = sorted(map(float, times.groups()))
        span = Span.of_seconds(start, end)
        return any(span.iou(own) >= least_overlap for own in sample.evidence)
    if sample.options or truth in ("yes", "no") or truth.isdigit():
        return answer.rstrip(".") == truth.rstrip(".")
    return set(_WORD.findall(truth)) <= set(_WORD.findall(answer))
