"""Let a model ask questions about each clip, with answers and the seconds that prove them.

The model is told the frames' times and what other stages found out, and answers under a schema;
evidence outside the clip, or an answer that is none of the options, breaks the contract. Models
like to put the answer first, so the options' order is drawn.
`template_qa` asks what the measured facts alone decide, for nothing.
"""

from __future__ import annotations

import random
from typing import get_args

from pydantic import Field

from clipmill.schemas.records import Part, Segment
from clipmill.schemas.within import texts_within
from clipmill.stages.models.contract import mark_rejected
from clipmill.stages.models.frame_choice import spread
from clipmill.stages.models.teacher import Request
from clipmill.stages.models.teacher_stage import (
    AskSettings,
    PromptName,
    Question,
    TeacherStage,
    one_line,
)
from clipmill.stages.qa.facts import Fact, Facts, facts_of, token
from clipmill.stages.qa.model_contract import Asked, complaint, qa_schema, within

TOLD_CHARS = 3000  # of each role's texts


class Settings(AskSettings):
    layer: str = "shots"
    """Layer whose segments are asked about."""
    prompt: PromptName = "qa.v2"
    """Prompt by id (qa.v2 asks for evidence and answer before the question, qa.v1 for the question
    first), or the path of a .txt file with the same variables."""
    facts: tuple[Fact, ...] = ("camera", "motion", "brightness", "colour")
    """What the model is told: labels of describe_clip, and the texts asr and ocr."""
    told: tuple[str, ...] = ()
    """Roles of texts that it is told as well, e.g. a caption that people wrote."""
    told_layer: str = ""
    """Layer of these texts: those of all segments within the clip, in time order. Empty: the clip's
    own."""
    types: tuple[Asked, ...] = get_args(Asked)
    """Kinds of questions it may ask."""
    questions: int = Field(default=6, ge=1, le=50)
    """At most so many questions a segment."""
    frames: int = Field(default=8, ge=0)
    """At most so many frames a clip; 0 asks a text model about the facts alone."""
    max_tokens: int = Field(default=1024, ge=1)
    """Longer replies are cut off, and rejected for it."""


class GenerateQa(TeacherStage[Settings]):
    """Generate questions with answers and time evidence, by a model."""

    settings: Settings
    version = 5
    needs = frozenset({"segments:{layer}"})
    provides = frozenset({"samples:qa", "labels:rejected_qa"})

    def reads(self) -> frozenset[str]:
        frames = {"frames"} if self.settings.frames else set()
        told = {f"texts:{role}" for role in self.settings.told}
        if self.settings.told_layer:
            told.add(f"segments:{self.settings.told_layer}")
        return super().reads() | {token(fact) for fact in self.settings.facts} | frames | told

    async def process(self, part: Part) -> Part:
        settings = self.settings
        use = frozenset(settings.facts)
        questions: list[Question] = []
        for segment in part.video.layer(settings.layer):
            if settings.frames and not part.frames.get(segment.id):
                mark_rejected(segment, "qa", "no_frames")
                continue
            facts = facts_of(part.video, segment, use)
            questions.append((segment, self.question(part, segment, facts)))
        answers = await self.answers(
            part, questions, "qa", lambda segment, value: complaint(value, segment.span)
        )
        for segment, value in answers:
            for item in value["questions"]:
                options = [option.strip() for option in item["options"]]
                random.Random(f"{part.video.id}/{segment.id}/{item['question']}").shuffle(options)
                segment.add_sample(
                    "qa",
                    item["question"].strip(),
                    item["answer"].strip(),
                    self.by_model(),
                    options=options,
                    evidence=[within(segment.span, e) for e in item["evidence"]],
                    labels={"type": item["type"], "fact": "model", "scope": "clip"},
                )
        return part

    def question(self, part: Part, segment: Segment, facts: Facts) -> Request:
        """What the teacher is asked about one segment."""
        settings = self.settings
        frames = spread(part.frames.get(segment.id, []), settings.frames)
        start = segment.span.start_s
        seconds = float(f"{segment.span.duration_s:.3f}")
        prompt = self.prompt.render(
            count=len(frames),
            seconds=seconds,
            times=", ".join(f"{f.clock.seconds(f.tick) - start:.2f}" for f in frames),
            language=settings.language,
            questions=settings.questions,
            context="\n".join(filter(None, [_told(facts), *self._texts(part, segment)])),
        )
        return self.request(
            f"{part.video.id}/{segment.id}/qa",
            prompt,
            qa_schema(seconds, settings.questions, settings.types),
            [frame.jpeg for frame in frames],
        )

    def _texts(self, part: Part, segment: Segment) -> list[str]:
        """A line per role: what its texts say about the clip."""
        lines = []
        for role in self.settings.told:
            said = texts_within(part.video, segment, role, self.settings.told_layer)
            if text := one_line(" ".join(one.text for one in said), TOLD_CHARS):
                lines.append(f"{role}: {text}")
        return lines


def _told(facts: Facts) -> str:
    lines = {
        "camera": facts.camera,
        "motion": facts.motion,
        "brightness": facts.brightness,
        "main colour": facts.colour,
        "speech": facts.said,
        "screen text": facts.seen,
    }
    return "\n".join(f"{name}: {value}" for name, value in lines.items() if value)
