"""Check a list of events against the time line it claims: valid, repaired, or rejected and why.

Models write times outside the video, out of order, on top of one another or of no length. What can
be mended without guessing is mended (cut at the video's end, sorted, trimmed, widened to a least
length); the rest is rejected with a reason that is counted. The events as written stay untouched:
what passes is written to a layer of its own, so what a rule costs can be seen by comparing the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Part, Segment
from clipmill.stages.media.probe import probed
from clipmill.stages.stage import Stage, StageSettings


class Settings(StageSettings):
    layer: str = "events"
    """Events to check, in the order in which they were written."""
    into: str = Field(default="timeline", pattern=r"^[a-z][a-z0-9_]*$")
    """Layer that receives the events that pass, as written or repaired."""
    role: str = "caption"
    """Role of the events' text; an event without one is rejected."""
    inside: float = Field(default=0.5, ge=0, le=1)
    """Least share of an event that lies inside the video; it is cut there. Less is rejected."""
    min_s: float = Field(default=0.5, gt=0)
    """Shorter events are widened around their middle; they must begin inside the video."""
    max_s: float | None = Field(default=None, gt=0)
    """Longer events are rejected; empty: any length."""
    disorder: Literal["allow", "sort", "reject"] = "sort"
    """Events that begin before the one written before them: left, put in order, or rejected."""
    slack_s: float = Field(default=0.5, ge=0)
    """An event this little too early is not out of order."""
    overlap: Literal["allow", "trim", "reject"] = "allow"
    """Events that begin before the last one's end: left, the last one cut short, or rejected."""
    min_coverage: float = Field(default=0.0, ge=0, le=1)
    """Least share of the layer `over` that the events cover together; else all are rejected."""
    over: str = ""
    """Layer whose extent must be covered, e.g. sentences. Events whose parents are of this layer
    are judged parent by parent."""

    @model_validator(mode="after")
    def _coverage_is_of_something(self) -> Self:
        if self.min_coverage and not self.over:
            raise ValueError("min_coverage needs `over`: the layer whose extent is covered")
        if self.max_s is not None and self.max_s < self.min_s:
            raise ValueError("max_s is below min_s")
        return self


@dataclass(slots=True)
class Event:
    """An event under judgement: times in milliseconds, what was mended, or why it is refused."""

    start: int
    end: int
    text: str
    origin: Segment | None = None
    repairs: list[str] = field(default_factory=list)
    rejected: str | None = None


class CheckTimeline(Stage[Settings]):
    """Check events' times: keep, repair, or reject with a counted reason."""

    needs: ClassVar = {"probe", "segments:{layer}", "texts:{role}"}
    provides: ClassVar = {
        "segments:{into}",
        "texts:{role}",
        "labels:{into}_check",
        "labels:{into}_rejected",
    }

    def reads(self) -> frozenset[str]:
        over = {f"segments:{self.settings.over}"} if self.settings.over else set()
        return super().reads() | over

    def process(self, part: Part) -> Part:
        settings = self.settings
        whole = probed(part.video).span.on(MILLISECONDS)
        events = []
        for segment in part.video.layer(settings.layer):
            span = segment.span.on(MILLISECONDS)
            texts = segment.texts_of(settings.role)
            text = texts[-1].text if texts else ""
            events.append(Event(span.start, span.end, text, segment))
        over = {s.id: s.span.on(MILLISECONDS) for s in part.video.layer(settings.over)}
        families: dict[str | None, list[Event]] = {}
        for event in events:
            assert event.origin is not None
            parent = event.origin.parent
            families.setdefault(parent if parent in over else None, []).append(event)
        for parent, own in families.items():
            extent = [over[parent]] if parent else over.values()
            check(own, (whole.start, whole.end), settings, [(s.start, s.end) for s in extent])
        for event in events:
            assert event.origin is not None
            if event.rejected:
                event.origin.labels[f"{settings.into}_rejected"] = event.rejected
        self._write(part, [event for event in events if not event.rejected])
        return part

    def _write(self, part: Part, events: list[Event]) -> None:
        settings = self.settings
        if settings.disorder == "sort":
            events = sorted(events, key=lambda event: (event.start, event.end))
        for event in events:
            assert event.origin is not None
            made = Segment(
                event.origin.id.replace(settings.layer, settings.into, 1),
                settings.into,
                Span(MILLISECONDS, event.start, event.end),
                parent=event.origin.parent,
            )
            written = event.origin.texts_of(settings.role)[-1]
            made.add_text(
                settings.role,
                written.text,
                written.author,
                language=written.language,
                sources=[f"{event.origin.id}/{written.id}"],
            )
            made.labels.update(event.origin.labels)
            made.labels[f"{settings.into}_check"] = "+".join(event.repairs) or "valid"
            part.video.segments.append(made)


def check(
    events: Sequence[Event],
    whole: tuple[int, int],
    settings: Settings,
    extent: Sequence[tuple[int, int]] = (),
) -> None:
    """Judge events in the order written: fills `repairs` and `rejected`, moves `start` and `end`.

    Reasons: no_text, backwards, outside, too_long, doubled, out_of_order, overlap, coverage.
    """
    first, last = whole
    least = round(settings.min_s * 1000)
    before: Event | None = None
    latest = first
    for event in events:
        event.rejected = _alone(event, first, last, least, settings)
        if event.rejected:
            continue
        if before is not None and _same(event, before):
            event.rejected = "doubled"
            continue
        if event.start < latest - settings.slack_s * 1000:
            if settings.disorder == "reject":
                event.rejected = "out_of_order"
                continue
            if settings.disorder == "sort":
                event.repairs.append("sorted")
        latest = max(latest, event.start)
        before = event
    _part_overlaps([event for event in events if not event.rejected], least, settings)
    if settings.min_coverage:
        left = [(event.start, event.end) for event in events if not event.rejected]
        if _covered(extent, left) < settings.min_coverage * _covered(extent, extent):
            for event in events:
                event.rejected = event.rejected or "coverage"


def _alone(event: Event, first: int, last: int, least: int, settings: Settings) -> str | None:
    """Judge an event by itself: its text, its place in the video, its length."""
    if not event.text.strip():
        return "no_text"
    if event.end < event.start:
        return "backwards"
    length = event.end - event.start
    start, end = max(event.start, first), min(event.end, last)
    if not first <= event.start < last and end <= start:
        return "outside"
    if length and (end - start) < settings.inside * length:
        return "outside"
    if (start, end) != (event.start, event.end):
        event.repairs.append("cut")
        event.start, event.end = start, end
    if event.end - event.start < least:
        middle = (event.start + event.end) // 2
        event.start = max(first, min(middle - least // 2, last - least))
        event.end = min(last, event.start + least)
        event.repairs.append("widened")
    if settings.max_s is not None and event.end - event.start > settings.max_s * 1000:
        return "too_long"
    return None


def _same(event: Event, before: Event) -> bool:
    same = event.text.casefold().split() == before.text.casefold().split()
    return same and event.start < before.end and before.start < event.end


def _part_overlaps(events: list[Event], least: int, settings: Settings) -> None:
    if settings.overlap == "allow":
        return
    held: Event | None = None
    for event in sorted(events, key=lambda event: (event.start, event.end)):
        if held is not None and event.start < held.end:
            if settings.overlap == "trim" and event.start - held.start >= least:
                held.end = event.start
                held.repairs.append("trimmed")
            else:
                event.rejected = "overlap"
                continue
        held = event


def _covered(extent: Sequence[tuple[int, int]], by: Sequence[tuple[int, int]]) -> int:
    """Milliseconds of `extent` (intervals, possibly overlapping) that lie under `by`."""
    total, at = 0, -(10**15)
    marks = sorted(by)
    for start, end in sorted(extent):
        start = max(start, at)
        reached = start
        for left, right in marks:
            low, high = max(left, reached), min(right, end)
            if high > low:
                total += high - low
                reached = high
        at = max(at, end)
    return total
