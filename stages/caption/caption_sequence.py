"""Caption a clip picture after picture, telling each time what has changed since the one before.

One prompt with all pictures makes a teacher pass over things and mix up their order. Here it sees
two pictures and its own last words, so an event that it overlooked at one picture still differs
from what was said at the next. The price is one request per picture, and order: a step needs the
answer to the one before it. So clips walk abreast, each request of a round from another clip; with
a teacher that answers requests one by one every clip walks at its own pace. State lives in the walk
and never in the stage, hence no video can see another's. A step whose answer is refused twice
leaves the counted mark, and the next picture is held against the last one that was described.

Every change becomes a segment of its own below its clip, from half-way between its picture and the
last to half-way to the next; together they tile the clip. Source: differential sliding-window
captioning of ShareGPT4Video (Chen et al. 2024); with the prompt sequence_running.v1, running
captions with the paragraph so far as context.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Any, Literal

from pydantic import Field

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Frame, Part, Segment
from clipmill.stages.models.contract import mark_rejected
from clipmill.stages.models.frame_choice import spread
from clipmill.stages.models.teacher import Request
from clipmill.stages.models.teacher_stage import (
    AskSettings,
    PromptName,
    TeacherStage,
    object_schema,
    one_line,
)


class Settings(AskSettings):
    layer: str = "shots"
    """Layer whose segments are captioned."""
    into: str = Field(default="changes", pattern=r"^[a-z][a-z0-9_]*$")
    """Layer of segments that is written, one per picture at which something changed; also the
    score of a clip that says how many."""
    role: str = Field(default="change", pattern=r"^[a-z0-9_:]+$")
    """Role of the texts."""
    prompt: PromptName = "sequence_difference.v1"
    """Prompt by id (sequence_difference.v1, sequence_running.v1), or the path of a .txt file with
    the same variables."""
    walk: Literal["segment", "part"] = "segment"
    """Each segment begins anew, or what was said is carried from segment to segment."""
    memory: int = Field(default=1, ge=0, le=50)
    """So many of the last texts are shown again."""
    pictures: int = Field(default=2, ge=1, le=8)
    """Pictures shown in one step: the one that is asked about, last, and those before it."""
    frames: int = Field(default=64, ge=1)
    """At most so many steps a segment, spread over its frames."""
    max_chars: int = Field(default=800, ge=10)
    """Longer texts break the contract."""


@dataclass(slots=True)
class Walk:
    """One sequence under way: steps to take, and what was described so far."""

    steps: list[tuple[Segment, Frame]]
    described: list[tuple[Segment, Frame, str]] = field(default_factory=list)  # "": no change
    at: int = 0

    def seen(self, most: int) -> list[Frame]:
        """The picture that is asked about, after up to `most` - 1 that were described."""
        before = [frame for _, frame, _ in self.described[max(0, len(self.described) - most + 1) :]]
        return [*(before if most > 1 else []), self.steps[self.at][1]]

    def said(self, most: int) -> list[tuple[Frame, str]]:
        told = [(frame, text) for _, frame, text in self.described if text]
        return told[-most:] if most else []


class CaptionSequence(TeacherStage[Settings]):
    """Caption what changes from picture to picture, with the last picture and words as state."""

    settings: Settings
    needs = frozenset({"frames", "segments:{layer}"})
    provides = frozenset(
        {"segments:{into}", "texts:{role}", "scores:{into}", "labels:rejected_{role}"}
    )

    async def process(self, part: Part) -> Part:
        settings = self.settings
        walks: list[Walk] = []
        for segment in part.video.layer(settings.layer):
            frames = spread(part.frames.get(segment.id, []), settings.frames)
            if not frames:
                mark_rejected(segment, settings.role, "no_frames")
                continue
            if settings.walk == "segment" or not walks:
                walks.append(Walk([]))
            walks[-1].steps += [(segment, frame) for frame in frames]
        if getattr(self.model, "one_by_one", False):
            await asyncio.gather(*(self._walk(part, [walk]) for walk in walks))
        else:
            await self._walk(part, walks)
        for walk in walks:
            self._write(part, walk)
        return part

    async def _walk(self, part: Part, walks: Sequence[Walk]) -> None:
        """Take the steps of several walks, one of each per round."""
        while going := {w.steps[w.at][0].id: w for w in walks if w.at < len(w.steps)}:
            answers = await self.answers(
                part,
                [(walk.steps[walk.at][0], self.question(part, walk)) for walk in going.values()],
                self.settings.role,
                partial(_complaint, going),
            )
            for segment, value in answers:
                walk = going[segment.id]
                walk.described.append((*walk.steps[walk.at], one_line(value["text"])))
            for walk in going.values():
                walk.at += 1

    def question(self, part: Part, walk: Walk) -> Request:
        """What the teacher is asked at a walk's next step."""
        settings = self.settings
        segment, frame = walk.steps[walk.at]
        shown = walk.seen(settings.pictures)
        prompt = self.prompt.render(
            count=len(shown),
            times=", ".join(f"{_seconds(f):.2f}" for f in shown),
            language=settings.language,
            said="\n".join(f"{_seconds(f):.2f}: {text}" for f, text in walk.said(settings.memory)),
        )
        return self.request(
            f"{part.video.id}/{segment.id}/{settings.role}/{frame.tick}",
            prompt,
            object_schema({"text": {"type": "string", "maxLength": settings.max_chars}}),
            [shown_frame.jpeg for shown_frame in shown],
        )

    def _write(self, part: Part, walk: Walk) -> None:
        """A segment per text; pictures without a change lengthen the one before them."""
        told: list[tuple[Segment, Span, str]] = []
        for place, (segment, frame, text) in enumerate(walk.described):
            before = walk.described[place - 1] if place else None
            after = walk.described[place + 1] if place + 1 < len(walk.described) else None
            clock, span = segment.span.clock, segment.span
            start, end = span.start, span.end
            if before and before[0] is segment:
                start = clock.tick(_half_way(before[1], frame))
            if after and after[0] is segment:
                end = clock.tick(_half_way(frame, after[1]))
            if not text and told and told[-1][0] is segment:
                told[-1] = (segment, Span(clock, told[-1][1].start, end), told[-1][2])
            elif text:
                told.append((segment, Span(clock, start, end), text))
        for segment, _ in walk.steps:
            segment.scores[self.settings.into] = 0.0
        for segment, span, text in told:
            number = int(segment.scores[self.settings.into])
            segment.scores[self.settings.into] += 1
            # Named after their clip: parts of a video count apart.
            name = f"{self.settings.into}-{segment.id}-{number:03d}"
            made = Segment(name, self.settings.into, span, parent=segment.id)
            made.add_text(
                self.settings.role, text, self.by_model(), language=self.settings.language
            )
            part.video.segments.append(made)


def _complaint(going: dict[str, Walk], segment: Segment, value: Any) -> str | None:
    if not value["text"].strip() and not going[segment.id].said(1):
        return "nothing has been described yet: say what the picture shows"
    return None


def _seconds(frame: Frame) -> float:
    return frame.clock.seconds(frame.tick)


def _half_way(a: Frame, b: Frame) -> Fraction:
    return (a.clock.exact(a.tick) + b.clock.exact(b.tick)) / 2
