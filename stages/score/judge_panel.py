"""Score a text about a clip by a rubric, 1 to 5, with a reason: the median of a panel's votes.

`judge` asks which of listed things are wrong; this is for what has no list. The rubric is the
prompt, so fit, coherence, relevance or quality are entries of their own with names of their own. A
panel asks several times at a temperature and takes the median, which one stray vote does not move;
how far its members lie apart is a column, because a text that divides the panel is the one a person
should read. Several models make a panel of several entries, whose scores `select_candidate` or a
profile then weighs. The reason comes before the number in the reply: what is written first is what
the number follows from.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import replace
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from clipmill.schemas.records import Part, Segment
from clipmill.stages.caption.caption_clip import Context, context_of
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


class Settings(AskSettings):
    layer: str = "shots"
    """Layer whose texts are judged."""
    role: str = "caption"
    """Role of the text; of several, the last written."""
    prompt: PromptName = "judge_match.v1"
    """The rubric, by id (judge_match.v1, judge_coherent.v1), or the path of a .txt file with the
    same variables."""
    frames: int = Field(default=8, ge=0)
    """At most so many frames a clip, spread over it; 0 judges the text alone."""
    context: tuple[Context, ...] = ()
    """What else the judge is told: title, asr (speech), ocr (screen text)."""
    context_chars: int = Field(default=1500, ge=1)
    """Each kind of context is cut to so many characters."""
    most: int = Field(default=5, ge=2, le=100)
    """The best score; the worst is 1."""
    panel: int = Field(default=1, ge=1, le=25)
    """How often the judge is asked; more than once needs a temperature above 0."""
    name: str = Field(default="judged", pattern=r"^[a-z0-9_]+$")
    """Score with the panel's median. Score NAME_spread is the distance of its lowest and highest
    vote, text NAME_reason the reason of a vote at the median."""

    @model_validator(mode="after")
    def _votes_differ(self) -> Self:
        if self.panel > 1 and not self.temperature:
            raise ValueError("a panel without a temperature votes the same")
        return self


class JudgePanel(TeacherStage[Settings]):
    """Score a clip's text by a rubric: the panel's median, its reason, its disagreement."""

    settings: Settings
    needs: ClassVar = {"segments:{layer}", "texts:{role}"}
    provides: ClassVar = {
        "scores:{name}", "scores:{name}_spread", "texts:{name}_reason", "labels:rejected_{name}",
    }  # fmt: skip

    def reads(self) -> frozenset[str]:
        seen = {"frames"} if self.settings.frames else set()
        told = {f"texts:{kind}" for kind in self.settings.context if kind != "title"}
        return super().reads() | seen | told

    async def process(self, part: Part) -> Part:
        settings = self.settings
        questions: list[Question] = []
        judged: dict[str, Segment] = {}
        for segment in part.video.layer(settings.layer):
            if not segment.texts_of(settings.role):
                continue
            if settings.frames and not part.frames.get(segment.id):
                mark_rejected(segment, settings.name, "no_frames")
                continue
            asked = self.question(part, segment)
            for vote in range(settings.panel):
                request = replace(asked, id=f"{asked.id}/{vote}", seed=settings.seed + vote)
                judged[request.id] = segment
                questions.append((segment, request))
        votes: dict[str, list[tuple[int, str]]] = defaultdict(list)
        answers = await self.answers_by_id(part, questions, settings.name, _no_reason)
        for name, value in answers.items():
            votes[judged[name].id].append((value["score"], one_line(value["reason"])))
        for segment in part.video.layer(settings.layer):
            if found := votes.get(segment.id):
                self._write(segment, found)
        return part

    def question(self, part: Part, segment: Segment) -> Request:
        """What the judge is asked about one segment's text."""
        settings = self.settings
        frames = spread(part.frames.get(segment.id, []), settings.frames)
        prompt = self.prompt.render(
            count=len(frames),
            times=", ".join(f"{frame.clock.seconds(frame.tick):.2f}" for frame in frames),
            language=settings.language,
            most=settings.most,
            context=context_of(part.video, segment, settings.context, settings.context_chars),
            text=one_line(segment.texts_of(settings.role)[-1].text),
        )
        return self.request(
            f"{part.video.id}/{segment.id}/{self.label}",
            prompt,
            judge_schema(settings.most),
            [frame.jpeg for frame in frames],
        )

    def _write(self, segment: Segment, votes: list[tuple[int, str]]) -> None:
        settings = self.settings
        scores = [score for score, _ in votes]
        middle = statistics.median(scores)
        segment.scores[settings.name] = float(middle)
        segment.scores[f"{settings.name}_spread"] = float(max(scores) - min(scores))
        nearest = min(votes, key=lambda vote: abs(vote[0] - middle))
        source = segment.texts_of(settings.role)[-1]
        segment.add_text(
            f"{settings.name}_reason",
            nearest[1],
            self.by_model(),
            language=settings.language,
            sources=[source.id],
        )


def judge_schema(most: int) -> dict[str, Any]:
    """The contract of a vote: the reason, then the score."""
    return object_schema(
        {
            "reason": {"type": "string", "minLength": 1, "maxLength": 600},
            "score": {"type": "integer", "minimum": 1, "maximum": most},
        }
    )


def _no_reason(_: Segment, value: Any) -> str | None:
    return None if value["reason"].strip() else "reason is empty"
