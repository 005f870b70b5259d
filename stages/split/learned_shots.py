"""Shot boundaries by a network that has seen many films: TransNetV2, fed by our own decoder.

It judges every frame from a hundred around it, so it needs each one, fully decoded, and ten times
the processor time of `fast`; a GPU hides that. It knows wipes and other tricks that rules do not,
and overlooks changes that are small, such as those of slides. A single frame above the threshold is
a cut, a longer run is a gradual transition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipmill.schemas.records import Probe
from clipmill.stages.media.frames import Picture, scan
from clipmill.stages.media.limits import Limits
from clipmill.stages.models.shot_network import HEIGHT, WIDTH, WINDOW
from clipmill.stages.split.fast_shots import Transition

STEP = WINDOW // 2  # frames that each window answers for, those in its middle
EDGE = (WINDOW - STEP) // 2
CUT = 2  # frames above the threshold that still count as one cut

Judge = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def pictures(
    path: Path, probe: Probe, limits: Limits
) -> Iterator[tuple[list[int], NDArray[np.uint8]]]:
    """(ticks, (n, 27, 48, 3) RGB) of all frames in order, some at a time. To be called in the
    sandbox."""
    ticks: list[int] = []
    held: list[Picture] = []
    for tick, picture in scan(path, probe, width=WIDTH, height=HEIGHT, limits=limits):
        ticks.append(tick)
        held.append(picture)
        if len(held) == STEP:
            yield ticks, np.stack(held)
            ticks, held = [], []
    if held:
        yield ticks, np.stack(held)


def detect(
    source: Iterable[tuple[Sequence[int], NDArray[np.uint8]]], judge: Judge, threshold: float
) -> list[Transition]:
    """All transitions, in order, of what `pictures` yields."""
    ticks: list[int] = []

    def frames() -> Iterator[Picture]:
        for some, stack in source:
            ticks.extend(some)
            yield from stack

    likely = np.fromiter((score > threshold for score in scores(frames(), judge)), bool)
    return transitions(ticks, likely)


def scores(frames: Iterable[Picture], judge: Judge) -> Iterator[float]:
    """How likely a shot changes behind each frame, from overlapping windows.

    Before the first frame and behind the last stand repeats of them, as the network was trained.
    """
    window: list[Picture] = []
    seen = told = 0
    for frame in frames:
        if not seen:
            window = [frame] * EDGE
        window.append(frame)
        seen += 1
        if len(window) == WINDOW:
            yield from judge(np.stack(window))[EDGE : EDGE + STEP]
            told += STEP
            window = window[STEP:]
    while told < seen:
        window += [window[-1]] * (WINDOW - len(window))
        yield from judge(np.stack(window))[EDGE : EDGE + min(STEP, seen - told)]
        told += STEP
        window = window[STEP:]


def transitions(ticks: Sequence[int], likely: NDArray[np.bool_]) -> list[Transition]:
    """Runs of frames behind which a shot is likely to change; one at the very end is none."""
    borders = np.flatnonzero(np.diff(np.r_[False, likely, False]))
    found = []
    for first, end in borders.reshape(-1, 2):
        if end == len(ticks):
            continue
        gradual = end - first > CUT
        start = ticks[first if gradual else end]
        found.append(Transition(start, ticks[end], "gradual" if gradual else "cut"))
    return found
