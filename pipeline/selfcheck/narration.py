"""Captions made from narration that does not come when it is due: are they moved to the moment?

A sentence about a scene is spoken some seconds before or after the scene is seen. A caption written
from it starts where the sentence does, until it is moved to the pictures it fits. Both starts are
held against the start of the scene that the sentence is about. What was written is looked at apart:
whether sentences about something seen became captions that name it, and those about nothing seen
were left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean

from clipmill.pipeline.selfcheck.captions import slots_of, true_slots
from clipmill.pipeline.selfcheck.figures import Case, Figure, Miss, share
from clipmill.schemas.records import Segment
from clipmill.stages.compose.truth import LineTruth, SceneTruth

STAGE = "ground_text"
LATE_S = 1.0
"""A film counts as one whose narration comes at the wrong time from this mean error on."""


@dataclass(frozen=True, slots=True)
class Timed:
    """A caption from narration beside its truth, for people to read; times in seconds."""

    video: str
    caption: str
    spoken_s: float
    moved_s: float
    seen_s: float | None  # None: it tells nothing that is seen
    truth: str


@dataclass(frozen=True, slots=True)
class _Grounded:
    segment: Segment
    line: LineTruth | None
    scene: SceneTruth | None  # that the line is about


def narration(cases: list[Case], layer: str = "grounded") -> list[Figure]:
    """What became of the sentences, then mean start errors when spoken and when moved."""
    late = [case for case in cases if _is_late(case)]
    return [*_written(late, layer), *_moved(late, layer)]


def timed(cases: list[Case], layer: str = "grounded", most: int = 20) -> list[Timed]:
    """Captions from narration beside their truth, in order."""
    return [
        Timed(
            case.video.id,
            _text(own.segment),
            round(own.line.start_s, 2),
            round(own.segment.span.start_s, 2),
            round(own.scene.start_s, 2) if own.scene else None,
            own.line.text,
        )
        for case in cases
        if _is_late(case)
        for own in _grounded(case, layer)
        if own.line is not None
    ][:most]


def _written(late: list[Case], layer: str) -> list[Figure]:
    stage = "write_events"
    names = ("seen, told", "caption names object, colour and motion", "not seen, left out")
    if not any(case.video.layer("events") for case in late):
        return [Figure(stage, name, None, note="not in this recipe") for name in names]
    seen, told, unseen = 0, 0, 0
    lost: list[Miss] = []
    wrong: list[Miss] = []
    kept: list[Miss] = []
    for case in late:
        made = {id(own.line): own for own in _grounded(case, layer)}
        for line in case.truth.narration:
            own = made.get(id(line))
            if line.scene is None:
                unseen += 1
                if own is not None:
                    kept.append(case.miss(line.start_s, f"tells of {line.text!r}"))
                continue
            seen += 1
            if own is None:
                lost.append(case.miss(line.start_s, f"nothing of {line.text!r}"))
                continue
            told += 1
            if not _names(_text(own.segment), case.truth.scenes[line.scene]):
                what = f"{_text(own.segment)!r} of {line.text!r}"
                wrong.append(case.miss(line.start_s, what))
    return [
        share(stage, names[0], told, seen, bar=0.8, misses=lost),
        share(stage, names[1], told - len(wrong), told, misses=wrong),
        share(stage, names[2], unseen - len(kept), unseen, bar=2 / 3, misses=kept),
    ]


def _moved(late: list[Case], layer: str) -> list[Figure]:
    names = ("start error, when spoken", "start error, when moved", "moved error / spoken error")
    moved: list[float] = []
    spoken: list[float] = []
    misses: list[Miss] = []
    for case in late:
        for own in _grounded(case, layer):
            start = own.segment.span.start_s
            if own.line is None or own.scene is None:
                misses.append(case.miss(start, "a caption of what is not seen"))
                continue
            spoken.append(abs(own.line.start_s - own.scene.start_s))
            moved.append(abs(start - own.scene.start_s))
            if moved[-1] > 1.0:
                what = f"starts {moved[-1]:.1f} s off, was spoken {spoken[-1]:.1f} s off"
                misses.append(case.miss(start, what))
    if not moved:
        return [Figure(STAGE, name, None, note="not in this recipe") for name in names]
    lines = sum(line.scene is not None for case in late for line in case.truth.narration)
    count, before, after = len(moved), mean(spoken), mean(moved)
    return [
        Figure(STAGE, names[0], before, count, 0.0, unit="seconds", note=f"of {lines} sentences"),
        Figure(STAGE, names[1], after, count, 0.0, unit="seconds", misses=misses),
        Figure(STAGE, names[2], after / before, count, bar=0.5, lower=True),
    ]


def _is_late(case: Case) -> bool:
    about = [line for line in case.truth.narration if line.scene is not None]
    return bool(about) and mean(abs(line.lag_s) for line in about) >= LATE_S


def _grounded(case: Case, layer: str) -> Iterator[_Grounded]:
    for segment in case.video.layer(layer):
        line = _line(case, segment)
        about = line.scene if line is not None else None
        yield _Grounded(segment, line, None if about is None else case.truth.scenes[about])


def _names(text: str, scene: SceneTruth) -> bool:
    told, true = slots_of(text), true_slots(scene)
    return all(told[slot] == true[slot] for slot in ("object", "colour", "motion"))


def _text(segment: Segment) -> str:
    return segment.texts[-1].text if segment.texts else ""


def _line(case: Case, segment: Segment) -> LineTruth | None:
    """The sentence a caption was made of: the truth's line that shares most time with the segment
    at the beginning of the caption's sources.
    """
    known = {own.id: own for own in case.video.segments}
    source: Segment | None = segment
    while source is not None and source.layer != "sentences":
        texts = [text for text in source.texts if text.sources]
        source = known.get(texts[-1].sources[0].split("/")[0]) if texts else None
    if source is None:
        return None
    shared = {
        number: min(line.end_s, source.span.end_s) - max(line.start_s, source.span.start_s)
        for number, line in enumerate(case.truth.narration)
    }
    best = max(shared, key=lambda number: shared[number])
    return case.truth.narration[best] if shared[best] > 0 else None
