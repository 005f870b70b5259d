"""Dissolves and fades: stretches whose frames are mixtures of their two ends.

Where one shot fades into another, every frame is a + s (b - a) with a share s that rises from 0 to
1; a fade from or to a plain colour is the same with one plain end. What moves cannot be explained
that way, and a change of light alone leaves the detail in place. Wipes and morphs are not found.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from clipmill.stages.split.likeness import Floats, Pictures, block_distance

STEP_S = 0.08  # spacing of the frames looked at
WINDOWS = (4, 8, 16)  # in such steps: a third of a second to one and a third


def find_gradual(
    pictures: Pictures,
    seconds: NDArray[np.float64],
    cuts: Sequence[int],
    least: float,
    most: float,
    mixture: float,
) -> list[tuple[int, int]]:
    """(last clean frame before, first clean frame after) by index, never across a cut.

    The ends must differ by `least` on average and by `most` in the median block; `mixture` is the
    largest share of the change that mixing may leave unexplained. Windows of three lengths are
    tried, hits that overlap become one.
    """
    found: list[tuple[int, int]] = []
    for first, last in itertools.pairwise([0, *cuts, len(pictures)]):
        steps = _every(seconds, first, last, STEP_S)
        small = pictures[steps].astype(np.float32)
        moves = _moves(small)
        for length in WINDOWS:
            for begin in range(0, len(steps) - length, length // 4):
                window = slice(begin, begin + length + 1)
                largest = max(moves[begin : begin + length])
                ends = _mixture(small[window], largest, least, most, mixture)
                if ends is not None:
                    found.append((int(steps[begin + ends[0]]), int(steps[begin + ends[1]])))
    return _united(found)


def _moves(frames: Floats) -> list[float]:
    """Mean absolute difference of each frame but the last to the next one."""
    import cv2

    size = frames[0].size
    return [cv2.norm(a, b, cv2.NORM_L1) / size for a, b in itertools.pairwise(frames)]


def _mixture(
    frames: Floats, largest: float, least: float, most: float, mixture: float
) -> tuple[int, int] | None:
    """First and last index of the change, if the inner frames are mixtures of the outer two.

    `largest` is the largest difference of neighbours among `frames`.
    """
    import cv2

    start, end = frames[0], frames[-1]
    size = cv2.norm(start, end, cv2.NORM_L1) / start.size  # a fifth of numpy's price
    if size < least or largest > 0.6 * size:
        return None
    change = end - start
    along = frames.reshape(len(frames), -1) @ change.ravel()
    shares = (along - along[0]) / (along[-1] - along[0])  # 0 to 1: the change is that of the ends
    if np.diff(shares).min() < -0.05:
        return None
    rest = frames - start - shares[:, None, None] * change
    unexplained = np.abs(rest[1:-1]).mean((1, 2)) / size
    if unexplained.max() > mixture:
        return None
    # A slow pan is a mixture too, as long as it moves less than the detail is wide: look closely.
    blocks = block_distance(start.astype(np.uint8), end.astype(np.uint8), stride=1)
    if np.median(blocks) < most or blocks.mean() < least or _same_scene(start, end):
        return None
    inner = np.flatnonzero((shares > 0.05) & (shares < 0.95))
    return (int(inner[0]) - 1, int(inner[-1]) + 1) if len(inner) > 1 else None


def _same_scene(start: Floats, end: Floats) -> bool:
    """Whether one picture is the other in another light: the detail is alike and not gone."""
    import cv2

    details = [picture - cv2.blur(picture, (9, 9)) for picture in (start, end)]
    sizes = [float(np.sqrt((detail**2).sum())) + 1.0 for detail in details]
    likeness = float((details[0] * details[1]).sum()) / (sizes[0] * sizes[1])
    return likeness > 0.6 and min(sizes) > 0.2 * max(sizes)


def _every(seconds: NDArray[np.float64], first: int, last: int, step: float) -> NDArray[np.intp]:
    """Indices in [first, last) about `step` seconds apart."""
    wanted = np.arange(seconds[first], seconds[last - 1] + step / 2, step)
    return np.unique(np.clip(np.searchsorted(seconds, wanted), first, last - 1))


def _united(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Overlapping or touching spans as one."""
    united: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if united and start <= united[-1][1]:
            united[-1] = (united[-1][0], max(end, united[-1][1]))
        else:
            united.append((start, end))
    return united
