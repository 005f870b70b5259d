"""Let a model answer the questions from a chosen view of the video: who can, and from what.

A question that proves something is answered from its evidence and not without it. So the same
questions are put with the frames of the evidence (`span`), with all others (`rest`), with the
whole, with one frame, in the wrong order or with none; and, along the time line, with what was
shown until the answer is due (`until`) or shortly before its evidence (`early`). Each is an entry
of its own, several times if asked, and by several models as a panel; the share of right answers is
noted on every sample and its mean on the segment, and what is too easy, too hard or answered from
anywhere is a profile's choice (`tag_leaks` reads the shares together). Right is decided by rules
(`put_question`); of free answers that fail them the model may be asked whether they mean the same.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar, Literal

from pydantic import Field

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Frame, Part, Sample, Segment
from clipmill.schemas.within import texts_within
from clipmill.stages.ground.watched import frames_of
from clipmill.stages.models.frame_choice import spread
from clipmill.stages.models.prompts import load_prompt
from clipmill.stages.models.teacher_stage import (
    AskSettings,
    PromptName,
    Question,
    TeacherStage,
    object_schema,
    one_line,
)
from clipmill.stages.qa.put_question import Told, is_free, is_right, put, tries_of

View = Literal[
    "full", "span", "rest", "one_frame", "each_frame", "shuffled", "none", "until", "early"
]
_SAME = "/same"


class Settings(AskSettings):
    layer: str = "events"
    """Layer whose segments hold the questions."""
    kind: str = "choice"
    """Kind of the samples that are answered."""
    view: View = "full"
    """What is shown: all frames, those within the evidence, those outside of it, the middle one of
    all, every one alone (the best counts), all in an order drawn anew each try, none; those before
    the answer's turn (without one, before the end of the evidence), or those up to `early_s` before
    the last of the evidence begins."""
    early_s: float = Field(default=1.0, ge=0)
    """`early`: so many seconds before its last evidence a question is put."""
    told: Told = "all"
    """What is told: question and options, the question alone (which shows what the model knows
    without the video), or the options alone."""
    context: tuple[str, ...] = ()
    """Roles of texts that are told as well, e.g. asr: with `view: none`, what they give away."""
    context_layer: str = ""
    """Layer of these texts: those of all segments within the question's. Empty: its own."""
    context_chars: int = Field(default=4000, ge=1)
    """Each role's texts are cut to so many characters."""
    frames_layer: str = "windows"
    """Layer whose frames are the video, all of them together."""
    frames: int = Field(default=8, ge=1)
    """At most so many frames, spread over the view."""
    prompt: PromptName = "answer_qa.v2"
    """Prompt by id, or the path of a .txt file with the same variables."""
    tries: int = Field(default=1, ge=1, le=64)
    """How often each question is put, its options one place further on each time; without a
    temperature no more often than it has options."""
    name: str = Field(default="answered", pattern=r"^[a-z0-9_]+$")
    """Label of a sample with its share of right answers; score of a segment with their mean."""
    least_overlap: float = Field(default=0.5, gt=0, le=1)
    """Times are right from this intersection over union with the evidence on."""
    judged: bool = False
    """Ask the model of a free answer that lacks words of the truth whether it means the same."""
    same_prompt: PromptName = "same_answer.v1"
    """`judged`: prompt by id, or the path of a .txt file with the same variables."""


class AnswerQa(TeacherStage[Settings]):
    """Answer questions from a view of the video, and note the share of right answers."""

    settings: Settings
    version = 2
    needs: ClassVar = {"segments:{layer}", "samples:{kind}"}
    provides: ClassVar = {"scores:{name}", "labels:rejected_{name}"}

    def reads(self) -> frozenset[str]:
        settings = self.settings
        told = {f"texts:{role}" for role in settings.context}
        if settings.context and settings.context_layer:
            told.add(f"segments:{settings.context_layer}")
        if settings.view != "none":
            told |= {"frames", f"segments:{settings.frames_layer}"}
        return super().reads() | told

    async def process(self, part: Part) -> Part:
        settings = self.settings
        shown = [] if settings.view == "none" else frames_of(part, settings.frames_layer)
        questions: list[Question] = []
        about: dict[str, tuple[Sample, int]] = {}
        for segment, sample in asked(part, settings.layer, settings.kind):
            context = self._context(part, segment)
            name = f"{part.video.id}/{segment.id}/{self.label}/{sample.id}"
            tries = tries_of(sample, settings.tries, settings.temperature, settings.told)
            for place, frames in enumerate(self._views(sample, shown)):
                if settings.view != "none" and not frames:
                    continue  # nothing to see is no wrong answer
                views = [self._ordered(part, sample, frames, k) for k in range(tries)]
                for request in put(self, f"{name}/{place}", sample, views, settings.told, context):
                    about[request.id] = sample, place
                    questions.append((segment, request))
        right: dict[int, dict[int, list[bool]]] = defaultdict(lambda: defaultdict(list))
        answers = await self.answers_by_id(part, questions, settings.name)
        verdicts = {
            name: is_right(value["answer"], about[name][0], settings.least_overlap, settings.told)
            for name, value in answers.items()
        }
        if settings.judged:
            verdicts |= await self._judged(part, questions, about, answers, verdicts)
        for name, answered in verdicts.items():
            sample, place = about[name]
            right[id(sample)][place].append(answered)
        for segment in part.video.layer(settings.layer):
            shares = []
            for sample in segment.samples:
                if found := right.get(id(sample)):
                    shares.append(max(sum(tries) / len(tries) for tries in found.values()))
                    sample.labels[settings.name] = f"{shares[-1]:.3f}"
            if shares:
                segment.scores[settings.name] = sum(shares) / len(shares)
        return part

    async def _judged(
        self,
        part: Part,
        questions: Sequence[Question],
        about: Mapping[str, tuple[Sample, int]],
        answers: Mapping[str, Any],
        verdicts: Mapping[str, bool],
    ) -> dict[str, bool]:
        """What the model says of the free answers that rules refuse, by the answer's request."""
        prompt = load_prompt(self.settings.same_prompt)
        asked: list[Question] = []
        for segment, request in questions:
            sample = about[request.id][0]
            if verdicts.get(request.id, True) or not is_free(sample, self.settings.told):
                continue
            text = prompt.render(
                question=sample.question,
                truth=sample.answer,
                answer=one_line(answers[request.id]["answer"]),
            )
            schema = object_schema({"same": {"enum": ["yes", "no"]}})
            asked.append((segment, self.request(f"{request.id}{_SAME}", text, schema)))
        said = await self.answers_by_id(part, asked, self.settings.name)
        return {name.removesuffix(_SAME): value["same"] == "yes" for name, value in said.items()}

    def _context(self, part: Part, segment: Segment) -> str:
        """A line per role of what is told besides the question."""
        settings = self.settings
        lines = []
        for role in settings.context:
            texts = texts_within(part.video, segment, role, settings.context_layer)
            said = one_line(" ".join(text.text for text in texts), settings.context_chars)
            lines += [f"{role}: {said}"] if said else []
        return "\n".join(lines)

    def _views(self, sample: Sample, frames: list[Frame]) -> list[list[Frame]]:
        """What is shown of the frames; more than one view for each frame alone."""
        if self.settings.view == "each_frame":
            return [[frame] for frame in spread(frames, self.settings.frames)]
        return [self._view(sample, frames)]

    def _view(self, sample: Sample, frames: list[Frame]) -> list[Frame]:
        settings = self.settings
        if settings.view == "one_frame":
            return spread(frames, 1)
        if settings.view in ("span", "rest"):
            inside = settings.view == "span"
            frames = [frame for frame in frames if within(frame, sample.evidence) == inside]
        elif settings.view in ("until", "early"):
            end = seen_until(sample, settings.early_s if settings.view == "early" else None)
            frames = [frame for frame in frames if frame.clock.exact(frame.tick) < end]
        return spread(frames, settings.frames)

    def _ordered(self, part: Part, sample: Sample, frames: list[Frame], k: int) -> list[Frame]:
        """The frames in the order they are shown in: of a shuffle, another one each try, because
        one may happen to be right.
        """
        if self.settings.view != "shuffled":
            return frames
        drawn = random.Random(f"{self.settings.seed}/{part.video.id}/{sample.id}/{k}")
        return drawn.sample(frames, len(frames))


def asked(part: Part, layer: str, kind: str) -> list[tuple[Segment, Sample]]:
    """The questions of a kind on a layer, with their segments."""
    return [
        (segment, sample)
        for segment in part.video.layer(layer)
        for sample in segment.samples
        if sample.kind == kind
    ]


def within(frame: Frame, evidence: Sequence[Span]) -> bool:
    return any(span.contains(frame.clock, frame.tick) for span in evidence)


def seen_until(sample: Sample, early_s: float | None) -> Fraction:
    """The second before which frames are shown: the answer's turn, or so long before what proves it
    last begins.

    0 where nothing proves the answer, as of a reply that it cannot be known yet.
    """
    if not sample.evidence:
        return Fraction(0)
    if early_s is not None:
        last = max(sample.evidence, key=lambda span: span.clock.exact(span.end))
        return last.clock.exact(last.start) - Fraction(early_s)
    if sample.turn is not None:
        return sample.turn.clock.exact(sample.turn.end)
    return max(span.clock.exact(span.end) for span in sample.evidence)
