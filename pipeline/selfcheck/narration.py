"""Captions made from narration that does not come when it is due: are they moved to the moment?

A sentence about a scene is spoken some seconds before or after the scene is seen. A caption written
from it starts where the sentence does, until it is moved to the pictures it fits. Both starts are
held against the start of the scene that the sentence is about.
"""

from __future__ import annotations

from statistics import mean

from clipmill.pipeline.selfcheck.figures import Case, Figure, Miss
from clipmill.schemas.records import Segment
from clipmill.stages.compose.truth import LineTruth

STAGE = "ground_text"
LATE_S = 1.0
"""A film counts as one whose narration comes at the wrong time from this mean error on."""


def narration(cases: list[Case], layer: str = "grounded") -> list[Figure]:
    """Mean start errors of captions from narration, when spoken and when moved."""
    names = ("start error, when spoken", "start error, when moved", "moved error / spoken error")
    moved: list[float] = []
    spoken: list[float] = []
    misses: list[Miss] = []
    lines = 0
    for case in cases:
        about = [line for line in case.truth.narration if line.scene is not None]
        if not about or mean(abs(line.lag_s) for line in about) < LATE_S:
            continue
        lines += len(about)
        for segment in case.video.layer(layer):
            line = _line(case, segment)
            if line is None or line.scene is None:
                misses.append(case.miss(segment.span.start_s, "a caption of what is not seen"))
                continue
            start = case.truth.scenes[line.scene].start_s
            spoken.append(abs(line.start_s - start))
            moved.append(abs(segment.span.start_s - start))
            if moved[-1] > 1.0:
                what = f"starts {moved[-1]:.1f} s off, was spoken {spoken[-1]:.1f} s off"
                misses.append(case.miss(segment.span.start_s, what))
    if not moved:
        return [Figure(STAGE, name, None, note="not in this recipe") for name in names]
    count, before, after = len(moved), mean(spoken), mean(moved)
    return [
        Figure(STAGE, names[0], before, count, 0.0, unit="seconds", note=f"of {lines} sentences"),
        Figure(STAGE, names[1], after, count, 0.0, unit="seconds", misses=misses),
        Figure(STAGE, names[2], after / before, count, bar=0.5, lower=True),
    ]


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
