"""Watch a clip and write its events with start and end: a vision-language teacher as time keeper.

`write_events` reads what is said; this one looks. All frames go into one question with their
seconds, and a list of events comes back under a contract: numbers inside the clip, each end behind
its start, starts in order. Models are poor at seconds, so these spans are a prior for `ground_text`
or are held to stricter rules (gaps, overlaps, coverage) by `check_timeline`; they are refused here
only where they make no sense at all.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from clipmill.schemas.clocks import MILLISECONDS, Span
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
    layer: str = "clips"
    """Layer whose segments are watched, each as a whole."""
    into: str = Field(default="events", pattern=r"^[a-z][a-z0-9_]*$")
    """Layer of segments that is written, one per event."""
    role: str = Field(default="caption", pattern=r"^[a-z0-9_:]+$")
    """Role of the events' text."""
    prompt: PromptName = "timeline_cover.v1"
    """Prompt by id (timeline_cover.v1: events that follow one another without a gap;
    timeline_clock.v1: the same, where frames have a clock), or the path of a .txt file with the
    same variables."""
    frames: int = Field(default=32, ge=1)
    """At most so many frames a clip, spread over it."""
    context: tuple[Context, ...] = ()
    """What else the teacher is told: title, asr (speech), ocr (screen text)."""
    context_chars: int = Field(default=3000, ge=1)
    """Each kind of context is cut to so many characters."""
    most: int = Field(default=20, ge=1)
    """Most events of one clip."""
    slack_s: float = Field(default=1.0, ge=0)
    """How far outside its clip a time may lie: models round to whole seconds."""
    max_chars: int = Field(default=400, ge=10)
    """Longer texts break the contract."""
    max_tokens: int = Field(default=2048, ge=1)
    """Longer replies are cut off, and rejected for it."""


class WriteTimeline(TeacherStage[Settings]):
    """Write the events that a clip shows, with start and end, by a vision-language teacher."""

    settings: Settings
    needs = frozenset({"frames", "segments:{layer}"})
    provides = frozenset({"segments:{into}", "texts:{role}", "labels:rejected_{role}"})

    def reads(self) -> frozenset[str]:
        told = {f"texts:{kind}" for kind in self.settings.context if kind != "title"}
        return super().reads() | told

    async def process(self, part: Part) -> Part:
        settings = self.settings
        questions: list[Question] = []
        for segment in part.video.layer(settings.layer):
            if part.frames.get(segment.id):
                questions.append((segment, self.question(part, segment)))
            else:
                mark_rejected(segment, settings.role, "no_frames")
        for segment, value in await self.answers(part, questions, settings.role, self._complaint):
            self._write(part, segment, value["events"])
        return part

    def question(self, part: Part, segment: Segment) -> Request:
        """What the teacher is asked about one clip that has frames."""
        settings = self.settings
        frames = spread(part.frames[segment.id], settings.frames)
        prompt = self.prompt.render(
            count=len(frames),
            times=", ".join(f"{frame.clock.seconds(frame.tick):.2f}" for frame in frames),
            start=round(segment.span.start_s, 2),
            end=round(segment.span.end_s, 2),
            most=settings.most,
            language=settings.language,
            context=context_of(part.video, segment, settings.context, settings.context_chars),
        )
        return self.request(
            f"{part.video.id}/{segment.id}/{settings.into}",
            prompt,
            timeline_schema(settings.most, settings.max_chars),
            [frame.jpeg for frame in frames],
        )

    def _complaint(self, segment: Segment, value: Any) -> str | None:
        slack = self.settings.slack_s
        start, end = segment.span.start_s - slack, segment.span.end_s + slack
        last = start
        for number, event in enumerate(value["events"]):
            if not event["text"].strip():
                return f"events[{number}].text is empty"
            if not start <= event["start"] < event["end"] <= end:
                return (
                    f"events[{number}] must start before it ends, both between "
                    f"{segment.span.start_s:g} and {segment.span.end_s:g}"
                )
            if event["start"] < last:
                return f"events[{number}] starts before the one in front of it"
            last = event["start"]
        return None

    def _write(self, part: Part, segment: Segment, events: list[dict[str, Any]]) -> None:
        settings = self.settings
        whole = segment.span.on(MILLISECONDS)
        for number, event in enumerate(events):
            told = Span.of_seconds(event["start"], event["end"])
            start = min(max(told.start, whole.start), whole.end)
            span = Span(MILLISECONDS, start, max(start, min(told.end, whole.end)))
            # Named after their clip: parts of a video count apart.
            name = f"{settings.into}-{segment.id}-{number:03d}"
            made = Segment(name, settings.into, span, parent=segment.id)
            made.add_text(
                settings.role,
                one_line(event["text"]),
                self.by_model(),
                language=settings.language,
            )
            part.video.segments.append(made)


def timeline_schema(most: int, max_chars: int) -> dict[str, Any]:
    """The contract of a timeline: one object with a list of starts, ends and texts."""
    event = object_schema(
        {
            "start": {"type": "number", "minimum": 0},
            "end": {"type": "number", "minimum": 0},
            "text": {"type": "string", "minLength": 1, "maxLength": max_chars},
        }
    )
    return object_schema({"events": {"type": "array", "items": event, "maxItems": most}})
