"""Let a vision-language teacher judge whether a text is true of its clip, criterion by criterion.

The teacher first says what it sees and only then what the text gets wrong: a verdict that has to
follow from a description is better than one out of nothing, and can be read by a person. It names
the criteria that fail, so the score is a share and not a feeling; a verdict that contradicts its
own list breaks the contract. The text is quoted as data: a caption may well say that it is right.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from clipmill.schemas.records import Part, Segment
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
    """Role of the text that is judged; of several, the last written."""
    name: str = Field(default="judged", pattern=r"^[a-z0-9_]+$")
    """Name of the score: the share of criteria that hold, 1 where nothing is wrong."""
    prompt: PromptName = "judge_caption.v1"
    """Prompt by id, or the path of a .txt file with the same variables. It says what each
    criterion means."""
    criteria: tuple[str, ...] = Field(
        default=("object", "colour", "motion", "background"), min_length=1
    )
    """What the text may get wrong, as the prompt calls it."""
    frames: int = Field(default=8, ge=1)
    """At most so many frames a clip, spread over it."""


class Judge(TeacherStage[Settings]):
    """Judge whether a text is true of its clip, by a vision-language teacher."""

    settings: Settings
    needs = frozenset({"frames", "segments:{layer}", "texts:{role}"})
    provides = frozenset({"scores:{name}", "labels:{name}_wrong", "labels:rejected_{name}"})

    async def process(self, part: Part) -> Part:
        settings = self.settings
        questions: list[Question] = []
        for segment in part.video.layer(settings.layer):
            if not segment.texts_of(settings.role):
                continue
            if part.frames.get(segment.id):
                questions.append((segment, self.question(part, segment)))
            else:
                mark_rejected(segment, settings.name, "no_frames")
        for segment, value in await self.answers(part, questions, settings.name, _complaint):
            wrong = sorted(set(value["wrong"]), key=settings.criteria.index)
            segment.scores[settings.name] = 1 - len(wrong) / len(settings.criteria)
            segment.labels[f"{settings.name}_wrong"] = ",".join(wrong) or "nothing"
        return part

    def question(self, part: Part, segment: Segment) -> Request:
        """What the teacher is asked about one segment's text."""
        settings = self.settings
        frames = spread(part.frames[segment.id], settings.frames)
        prompt = self.prompt.render(
            count=len(frames),
            times=", ".join(f"{frame.clock.seconds(frame.tick):.2f}" for frame in frames),
            caption=one_line(segment.texts_of(settings.role)[-1].text),
        )
        return self.request(
            f"{part.video.id}/{segment.id}/{settings.name}",
            prompt,
            judge_schema(settings.criteria),
            [frame.jpeg for frame in frames],
        )


def judge_schema(criteria: tuple[str, ...]) -> dict[str, Any]:
    """The contract of a verdict: what is seen, which criteria fail, and whether none does."""
    return object_schema(
        {
            "seen": {"type": "string", "minLength": 1, "maxLength": 400},
            "wrong": {
                "type": "array",
                "items": {"enum": list(criteria)},
                "maxItems": len(criteria),
            },
            "match": {"enum": ["yes", "no"]},
        }
    )


def _complaint(_: Segment, value: Any) -> str | None:
    if (value["match"] == "yes") == (not value["wrong"]):
        return None
    return '"match" must be "yes" exactly where "wrong" is empty'
