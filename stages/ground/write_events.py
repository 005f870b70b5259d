"""Turn narration into events: a block of timed sentences in, a list of 'time: caption' out.

Speech is about the picture only in part, says it long-windedly and not at the moment it happens; a
language model that reads more than one sentence at once can leave out what is not seen and say the
rest as a viewer would. It is asked per block under a contract: times must lie in the block's
window, in order, captions must be short. What breaks the contract twice leaves a counted mark on
the block's first sentence and no events. A model is asked when an event begins and not when it
ends, which it could only guess: an event lasts as long as the sentence it begins in. The times are
still those of the speech; `ground_text` looks for the moment itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import Field

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Part, Segment
from clipmill.stages.models.teacher import Request
from clipmill.stages.models.teacher_stage import (
    AskSettings,
    PromptName,
    TeacherStage,
    object_schema,
    one_line,
)
from clipmill.stages.score.score_text import title_of


class Settings(AskSettings):
    """The teacher may be a language model: it is shown no pictures."""

    sentences: str = "sentences"
    """Layer of sentences that is read."""
    source_role: str = "asr"
    """Role of their text."""
    layer: str = Field(default="events", pattern=r"^[a-z][a-z0-9_]*$")
    """Layer of segments that is written, one per event."""
    role: str = Field(default="caption", pattern=r"^[a-z0-9_:]+$")
    """Role of the events' text."""
    prompt: PromptName = "events_caption.v1"
    """Prompt by id (events_caption.v1, events_step.v1), or the path of a .txt file with the same
    variables."""
    block_words: int = Field(default=200, ge=10)
    """Words in one block at most; the last block takes a rest of one sentence too."""
    block_gap_s: float = Field(default=30.0, gt=0)
    """A longer silence ends a block."""
    seconds: float | None = Field(default=None, gt=0)
    """Length of an event, which begins at the time given for it and is cut at the video's end;
    empty: to the end of the sentence it begins in, or to the next event of that sentence."""
    most: int = Field(default=20, ge=1)
    """Most events of one block."""
    slack_s: float = Field(default=1.0, ge=0)
    """How far outside its block's window a time may lie: models round to whole seconds."""
    max_chars: int = Field(default=200, ge=10)
    """Longer captions break the contract."""
    max_tokens: int = Field(default=1024, ge=1)
    """Longer replies are cut off, and rejected for it."""


class WriteEvents(TeacherStage[Settings]):
    """Write timed events from blocks of narration, by a language model."""

    settings: Settings
    needs = frozenset({"probe", "segments:{sentences}", "texts:{source_role}"})
    provides = frozenset({"segments:{layer}", "texts:{role}", "labels:rejected_{role}"})

    async def process(self, part: Part) -> Part:
        settings = self.settings
        spoken = [
            segment
            for segment in part.video.layer(settings.sentences)
            if segment.texts_of(settings.source_role)
        ]
        spoken.sort(key=lambda segment: segment.span.on(MILLISECONDS).start)
        block_of = {block[0].id: block for block in blocks(spoken, settings)}
        answers = await self.answers(
            part,
            [(block[0], self.question(part, block)) for block in block_of.values()],
            settings.role,
            lambda first, value: complaint(value, *_window(block_of[first.id]), settings.slack_s),
        )
        for first, value in answers:
            self._write(part, block_of[first.id], value["events"])
        return part

    def question(self, part: Part, block: Sequence[Segment]) -> Request:
        """What the teacher is asked about one block of sentences."""
        settings = self.settings
        start, end = _window(block)
        lines = [
            f"{segment.span.start_s:.1f}: "
            + one_line(segment.texts_of(settings.source_role)[-1].text)
            for segment in block
        ]
        title = one_line(title_of(part.video), 300)
        prompt = self.prompt.render(
            start=start,
            end=end,
            language=settings.language,
            most=settings.most,
            context=f"title: {title}" if title else "",
            speech="\n".join(lines),
        )
        return self.request(
            f"{part.video.id}/{block[0].id}/{settings.layer}",
            prompt,
            events_schema(settings.most, settings.max_chars),
        )

    def _write(self, part: Part, block: Sequence[Segment], events: list[dict[str, Any]]) -> None:
        settings = self.settings
        start, end = _window(block)
        last = _end_s(part, end)
        times = [min(max(float(event["time"]), start), end) for event in events]
        # Named after the sentence the block begins with: parts of a video count apart.
        stem = block[0].id.rsplit("-", 1)[-1]
        for number, (event, at) in enumerate(zip(events, times, strict=True)):
            sentence = _sentence(block, at)
            until = at + settings.seconds if settings.seconds else _until(at, times, sentence)
            span = Span.of_seconds(at, max(at, min(until, last)))
            segment = Segment(f"{settings.layer}-{stem}-{number:02d}", settings.layer, span)
            segment.add_text(
                settings.role,
                one_line(event["text"]),
                self.by_model(),
                language=settings.language,
                sources=[f"{sentence.id}/{sentence.texts_of(settings.source_role)[-1].id}"],
            )
            part.video.segments.append(segment)


def blocks(sentences: Sequence[Segment], settings: Settings) -> Iterator[list[Segment]]:
    """Runs of sentences of at most `block_words` words, none of a single one if that can be.

    One sentence alone tells a model too little of what is going on to leave out the rest.
    """
    runs: list[list[Segment]] = []
    words = 0
    for segment in sentences:
        count = len(segment.texts_of(settings.source_role)[-1].text.split())
        apart = bool(runs) and (
            segment.span.start_s - runs[-1][-1].span.end_s > settings.block_gap_s
        )
        if not runs or apart or words + count > settings.block_words:
            lonely = bool(runs) and segment is sentences[-1] and not apart
            if lonely:
                runs[-1].append(segment)
                continue
            runs.append([])
            words = 0
        runs[-1].append(segment)
        words += count
    yield from runs


def events_schema(most: int, max_chars: int) -> dict[str, Any]:
    """The contract of a block's events: one object with a list of times and texts."""
    event = object_schema(
        {
            "time": {"type": "number", "minimum": 0},
            "text": {"type": "string", "minLength": 1, "maxLength": max_chars},
        }
    )
    return object_schema({"events": {"type": "array", "items": event, "maxItems": most}})


def complaint(value: Any, start: float, end: float, slack_s: float) -> str | None:
    """What is wrong with a block's events beyond their schema, None if nothing."""
    last = start - slack_s
    for number, event in enumerate(value["events"]):
        if not event["text"].strip():
            return f"events[{number}].text is empty"
        if not start - slack_s <= event["time"] <= end + slack_s:
            return f"events[{number}].time must lie between {start:g} and {end:g}"
        if event["time"] < last:
            return f"events[{number}].time is before the one in front of it"
        last = event["time"]
    return None


def _window(block: Sequence[Segment]) -> tuple[float, float]:
    return block[0].span.start_s, max(segment.span.end_s for segment in block)


def _end_s(part: Part, spoken_until: float) -> float:
    """Where the video ends; speech may outlast the picture by a little."""
    probe = part.video.probe
    return max(probe.span.end_s, spoken_until) if probe else spoken_until


def _sentence(block: Sequence[Segment], at: float) -> Segment:
    """The sentence an event was read from: the last one that begins before it."""
    before = [segment for segment in block if segment.span.start_s <= at + 0.05]
    return before[-1] if before else block[0]


def _until(at: float, times: Sequence[float], sentence: Segment) -> float:
    """Where an event that begins at `at` ends: with its sentence, or where the next one begins.

    A time rounded into the pause behind its sentence gets the sentence's length.
    """
    span = sentence.span
    end = span.end_s if at < span.end_s else at + span.duration_s
    return min([end, *(time for time in times if time > at)])
