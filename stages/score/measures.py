"""What is measured of a film: light of each sampled frame, and what has moved since the one before.

Rows of small numbers that follow from the frames alone. So they can be taken before anybody knows
of segments, in passing while shots are looked for, and a description is an aggregate of the rows
inside a segment and of the pairs wholly inside; segments that overlap share them. Samples are the
first frame in each 1/fps of the film's time among those that other frames refer to, at 320 pixels.

Of the other frames, which are nearly half of most films, only segments with fewer than three such
samples get to see any: those are short, and decoded by themselves with every frame.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Content, Probe, Stream
from clipmill.stages.media.frames import decode_from, display_size, raw, smaller, to_array
from clipmill.stages.media.limits import Limits
from clipmill.stages.media.passing import place
from clipmill.stages.media.strip import Grid
from clipmill.stages.score.camera import camera_move, dense_flow, small_gray, travelled
from clipmill.stages.score.light import COLOURS, FROZEN, difference, light_of

SIDE = 320
"""Longer side in pixels of what is measured."""
LEAST = 3
"""Samples of a segment, or it is looked at closely."""
GAP_S = 8.0
"""Segments further apart than this are sought one by one; decoding on is cheaper below it."""

_VERSION = 1  # to be raised when the same frames give other rows

ROW = np.dtype(
    [
        ("tick", "<i8"),
        *((name, "<f4") for name in ("brightness", "contrast", "saturation", "sharpness")),
        ("black", "?"),
        ("colours", "<u2", len(COLOURS)),
        # Of the pair with the row before; zeros where there is none.
        ("frozen", "?"),
        ("travel", "<f4"),
        ("moves", "<f8", 3),
        ("told", "?"),
    ]
)
"""`travel` in picture diagonals; `moves` to the right, down and growth as in `CameraMove`, `told`
where there are any."""

Rows = npt.NDArray[np.void]
Picture = npt.NDArray[np.uint8]


class Meter:
    """Measures frames in order."""

    def __init__(self) -> None:
        self._last: tuple[Picture, Picture] | None = None
        self._still: tuple[Any, ...] | None = None  # what a picture that stands still goes on to be

    def forget(self) -> None:
        """The next frame is no neighbour of the last one."""
        self._last = self._still = None

    def row(self, tick: int, picture: Picture) -> tuple[Any, ...]:
        """A row of `ROW` for an RGB frame."""
        apart = difference(picture, self._last[0]) if self._last is not None else None
        if apart != 0:
            self._still = None
            return (tick, *self._measured(picture, apart))
        if self._still is None:  # most of a lecture repeats the frame before, to the bit
            self._still = self._measured(picture, apart)
        return (tick, *self._still)

    def _measured(self, picture: Picture, apart: float | None) -> tuple[Any, ...]:
        light, gray = light_of(picture), small_gray(picture)
        pair: tuple[Any, ...] = (False, 0.0, (0.0, 0.0, 0.0), False)
        if self._last is not None and apart is not None:
            before = self._last[1]
            flow = dense_flow(before, gray)
            move = camera_move(flow, before)
            steps = (move.right, move.down, move.growth) if move else (0.0, 0.0, 0.0)
            pair = (apart < FROZEN, travelled(flow), steps, move is not None)
        self._last = picture, gray
        means = (light.brightness, light.contrast, light.saturation, light.sharpness)
        return (*means, light.black, light.colours, *pair)


def measures_path(content: Content | None, probe: Probe, fps: float) -> Path | None:
    """Where the measures of a film lie or would lie; None for a film without a known content."""
    return place(content, probe, "measures", fps, _VERSION)


def in_words(fps: float) -> str:
    """Measures as stages say that they leave or take them."""
    return f"{fps:g} measures a second"


@dataclass(frozen=True, slots=True)
class MeasuresWish:
    """Measures to be taken in passing."""

    path: Path | None
    fps: float

    def room(self, probe: Probe) -> int:
        return int(probe.duration_s * self.fps + 1) * ROW.itemsize

    def begin(self, path: Path, probe: Probe) -> Writer:
        return Writer(path, probe, self.fps)


class Writer:
    """Writes rows of one pass to a file, nothing else."""

    def __init__(self, path: Path, probe: Probe, fps: float) -> None:
        self._picture = probe.picture
        self._grid = Grid(probe, fps)
        self._meter = Meter()
        self._file = path.open("wb")

    def see(self, tick: int, frame: Any) -> None:
        """To be called with every frame of the pass, in order."""
        if self._grid.keeps(tick):
            row = self._meter.row(tick, _pixels(frame, self._picture))
            self._file.write(np.array(row, ROW).tobytes())

    def close(self) -> None:
        self._file.close()


def measured(
    path: Path,
    probe: Probe,
    spans: Sequence[Span],
    fps: float,
    file: Path | None = None,
    limits: Limits | None = None,
) -> list[Rows]:
    """The rows of each span of any clock; from the file of measures if it is there.

    Decodes: to be called in the sandbox.
    """
    # Frames at or after a start, before an end: both round up, whatever clock cut the span.
    own = [span.on(probe.picture.clock, "ceil") for span in spans]
    there = _read(file)
    if there is not None:
        found = [_inside(there, span) for span in own]
    else:
        found = _decoded(path, probe, own, fps, limits)
    few = [number for number, rows in enumerate(found) if len(rows) < LEAST]
    closely = _closely(path, probe, [own[number] for number in few], fps, limits)
    for number, rows in zip(few, closely, strict=True):
        found[number] = rows
    return found


def _read(file: Path | None) -> Rows | None:
    if file is not None:
        with suppress(FileNotFoundError):
            os.utime(file)
            return np.fromfile(file, ROW)
    return None


def _inside(rows: Rows, span: Span) -> Rows:
    first, end = np.searchsorted(rows["tick"], (span.start, span.end))
    return rows[first:end]


def _decoded(
    path: Path, probe: Probe, spans: Sequence[Span], fps: float, limits: Limits | None
) -> list[Rows]:
    found = [np.empty(0, ROW)] * len(spans)
    for run in _runs(spans):
        grid, meter, rows = Grid(probe, fps), Meter(), []
        inside = [spans[number] for number in run]
        start = grid.start(grid.cell(inside[0].start))
        end = max(span.end for span in inside)
        for tick, frame in decode_from(path, probe, start, limits, needed=True):
            if tick >= end:
                break
            if tick < start or not grid.keeps(tick):
                continue
            if any(span.start <= tick < span.end for span in inside):
                rows.append(meter.row(tick, _pixels(frame, probe.picture)))
            else:
                meter.forget()
        together = np.array(rows, ROW)
        for number in run:
            found[number] = _inside(together, spans[number])
    return found


def _closely(
    path: Path, probe: Probe, spans: Sequence[Span], fps: float, limits: Limits | None
) -> Iterator[Rows]:
    """At least four samples of each span, if there are as many frames."""
    clock = probe.picture.clock
    meters, rows = [Meter() for _ in spans], [[] for _ in spans]  # type: list[Meter], list[Any]
    due = [span.start for span in spans]
    for run in _runs(spans):
        end = max(spans[number].end for number in run)
        for tick, frame in raw(path, probe, spans[run[0]].start, end, limits):
            wanting = [k for k in run if due[k] <= tick < spans[k].end]
            if not wanting:
                continue
            picture = _pixels(frame, probe.picture)
            for number in wanting:
                rows[number].append(meters[number].row(tick, picture))
                step = min(1 / fps, spans[number].duration_s / 4)
                due[number] = tick + max(1, int(step * clock.den / clock.num))
    return (np.array(some, ROW) for some in rows)


def _pixels(frame: Any, picture: Stream) -> Picture:
    width, height = display_size(picture)
    wide = max(1, round(SIDE * width / max(width, height)))
    if wide < width:
        frame = smaller(frame, picture, wide)
    return to_array(frame, picture, wide)


def _runs(spans: Sequence[Span]) -> list[list[int]]:
    """Indices of spans that are worth one decode together, by start."""
    order = sorted(range(len(spans)), key=lambda index: spans[index].start)
    runs: list[list[int]] = []
    end = -inf
    for index in order:
        if not runs or spans[index].start_s - end > GAP_S:
            runs.append([])
        runs[-1].append(index)
        end = max(end, spans[index].end_s)
    return runs
