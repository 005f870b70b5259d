"""Let a vision-language teacher judge whether a text is true of its clip, criterion by criterion.

For every criterion the teacher sets what it sees beside what the text says, and only then writes
whether the two fit: a verdict that follows from two phrases next to each other needs no memory, can
be read by a person, and makes of the score a share and not a feeling. The price is a longer reply.
A verdict on the whole that contradicts its own entries breaks the contract. The text is quoted as
data: a caption may well say that it is right.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

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

_VERDICT = "match"


def _apart(name: str) -> str:
    if name == _VERDICT:
        raise ValueError(f"{_VERDICT!r} is the key of the verdict on the whole; use another word")
    return name


Criterion = Annotated[str, Field(pattern=r'^[^"\\]+$'), AfterValidator(_apart)]


class Settings(AskSettings):
    layer: str = "shots"
    """Layer whose texts are judged."""
    role: str = "caption"
    """Role of the text that is judged; of several, the last written."""
    name: str = Field(default="judged", pattern=r"^[a-z0-9_]+$")
    """Name of the score: the share of criteria that hold, 1 where nothing is wrong."""
    prompt: PromptName = "judge_caption.v2"
    """Prompt by id, or the path of a .txt file with the same variables."""
    criteria: tuple[Criterion, ...] = Field(
        default=("object", "colour", "motion", "background"), min_length=1
    )
    """What the text may get wrong, in the words in which the teacher is asked."""
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
            wrong = [name for name in settings.criteria if value[name]["fits"] == "no"]
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
            criteria=named(settings.criteria),
            caption=one_line(segment.texts_of(settings.role)[-1].text),
        )
        return self.request(
            f"{part.video.id}/{segment.id}/{settings.name}",
            prompt,
            judge_schema(settings.criteria),
            [frame.jpeg for frame in frames],
        )


def named(criteria: tuple[str, ...]) -> str:
    """Criteria as a prompt lists them."""
    return ", ".join(f'"{name}"' for name in criteria)


def judge_schema(criteria: tuple[str, ...]) -> dict[str, Any]:
    """The contract of a verdict: per criterion what is seen, what is said and whether the two fit,
    then whether all do.
    """
    text = {"type": "string", "minLength": 1, "maxLength": 200}
    answer = {"enum": ["yes", "no"]}
    entry = object_schema({"seen": text, "said": text, "fits": answer})
    return object_schema({name: entry for name in criteria} | {_VERDICT: answer})


def _complaint(_: Segment, value: Any) -> str | None:
    fits = [entry["fits"] for name, entry in value.items() if name != _VERDICT]
    if (value[_VERDICT] == "yes") == ("no" not in fits):
        return None
    return '"match" must be "yes" exactly where every criterion fits'
