"""What travels between actors: a part with its history, or the receipt of one that is finished."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Failure, Part, Segment, Video
from clipmill.stages.models.tab import Bill


@dataclass(frozen=True, slots=True)
class Lap:
    """One stage's work on one part: when, how long, how much, in which process."""

    stage: str
    start: float  # seconds since the epoch
    end: float
    segments: int
    worker: str
    bills: tuple[Bill, ...] = ()  # what the stage asked of teachers


@dataclass(frozen=True, slots=True)
class Resume:
    """What the store already holds of a video."""

    total: int | None = None  # number of parts, None while the video stages are not committed
    commits: dict[int, list[str]] = field(default_factory=dict)  # part -> commits it has
    done: frozenset[int] = frozenset()  # parts that are finished or failed for good


@dataclass(slots=True)
class Receipt:
    """How a part ended. `part` is None where the whole video ended (failed, or has no segments)."""

    video: str
    part: int | None
    total: int
    segments: int
    failure: Failure | None = None


@dataclass(slots=True)
class Parcel:
    """A part on its way (`part` is set) or finished (`receipt` is set)."""

    key: str  # the video's key in the store
    part: Part | None
    resume: Resume = field(default_factory=Resume)
    fresh: dict[str, frozenset[str]] = field(default_factory=dict)  # stage -> segments redone
    laps: list[Lap] = field(default_factory=list)
    receipt: Receipt | None = None
    stopped: bool = False  # the budget ended before this part did: the run ends, the part waits

    def to_bytes(self) -> bytes:
        return pickle.dumps(self, protocol=pickle.HIGHEST_PROTOCOL)

    @staticmethod
    def from_bytes(data: bytes) -> Parcel:
        parcel = pickle.loads(data)  # written by our own actors in this run, never read from disk
        assert isinstance(parcel, Parcel)
        return parcel


def divide(video: Video, max_segments: int) -> list[Part]:
    """Parts of a video: runs of its segments in time order, cut at segment borders only.

    A child segment stays with its parent, because operators look from one to the other, unless
    the whole family would be too many for one part.
    """
    parents = {segment.id: segment for segment in video.segments}

    def root(segment: Segment) -> Segment:
        seen = set()
        while segment.parent in parents and segment.id not in seen:
            seen.add(segment.id)
            segment = parents[segment.parent]  # type: ignore[index]
        return segment

    families: dict[str, list[Segment]] = {}
    for segment in video.segments:
        families.setdefault(root(segment).id, []).append(segment)
    ordered = sorted(families.values(), key=lambda family: _instant(root(family[0]).span))
    groups: list[list[Segment]] = []
    for family in ordered:
        family.sort(key=lambda segment: _instant(segment.span))
        if not groups or len(groups[-1]) + len(family) > max_segments:
            groups.append([])
        for segment in family:
            if len(groups[-1]) == max_segments:
                groups.append([])
            groups[-1].append(segment)
    return [
        Part(replace(video, segments=segments, steps=list(video.steps)), index, len(groups))
        for index, segments in enumerate(groups)
    ]


def _instant(span: Span) -> tuple[object, object]:
    return span.clock.exact(span.start), span.clock.exact(span.end)
