"""Dissolves and fades: stretches whose frames are mixtures of their two ends.

Where one shot fades into another, every frame is a + s (b - a) with a share s that rises from 0 to
1; a fade from or to a plain colour is the same with one plain end. What moves cannot be explained
that way, and a change of light alone leaves the detail in place. Colour counts as much as light,
since scenes as bright as each other are common. Wipes and morphs are not found.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from clipmill.stages.media.thumbnails import COLOUR_HEIGHT, COLOUR_WIDTH, HEIGHT, WIDTH
from clipmill.stages.split.likeness import REACH, Floats, Pictures, block_distance

DIP_S = 1.2  # the longest fade through a plain colour; a longer stretch of it is a shot
PLAIN, CLEAN = 0.2, 0.9  # contrast of a plain and of a clean picture, of that of those beside it
ALIKE = 0.6  # correlation of two pictures of one scene
STEP_S = 0.08  # spacing of the frames looked at
WINDOWS = (16, 8, 4)  # in such steps: one and a third of a second to a third


def find_gradual(
    pictures: Pictures,
    colours: Pictures,
    seconds: NDArray[np.float64],
    cuts: Sequence[int],
    least: float,
    most: float,
    mixture: float,
) -> list[tuple[int, int]]:
    """(last clean frame before, first clean frame after) by index, never across a cut.

    `pictures` are luma [n, 36, 64], `colours` the colour differences [n, 2, 9, 16]. The ends must
    differ by `least` on average and by `most` in the median block; `mixture` is the largest share
    of the change that mixing may leave unexplained. Windows of three lengths are tried, the longest
    first, since what a hit covers need not be asked again; hits that overlap become one.
    """
    found: list[tuple[int, int]] = []
    for first, last in itertools.pairwise([0, *cuts, len(pictures)]):
        steps = _every(seconds, first, last, STEP_S)
        looks = _looks(pictures[steps], colours[steps])
        moves = _moves(looks)
        for length in WINDOWS:
            for begin in range(0, len(steps) - length, length // 4):
                outer = int(steps[begin]), int(steps[begin + length])
                if any(start <= outer[0] and outer[1] <= end for start, end in found):
                    continue
                window = slice(begin, begin + length + 1)
                largest = max(moves[begin : begin + length])
                ends = _mixture(looks[window], largest, least, most, mixture)
                if ends is not None:
                    found.append((int(steps[begin + ends[0]]), int(steps[begin + ends[1]])))
    return united(found)


def find_dips(
    pictures: Pictures, seconds: NDArray[np.float64], least: float, most: float
) -> list[tuple[int, int]]:
    """Fades through a plain colour, out of one shot and into another, as gradual transitions.

    Around a frame that is plain beside what precedes and follows it, contrast falls and rises
    again; the spans, as those of `find_gradual`, reach from where it begins to fall to where it has
    risen. The same scene on both sides is none: a flash, a blink. `pictures` are luma [n, 36, 64].
    """
    contrast = _contrasts(pictures)
    found: list[tuple[int, int]] = []
    at = 0
    for plain in np.flatnonzero(contrast < contrast.max(initial=0.0) * PLAIN):
        if plain < at:
            continue
        low, high = np.searchsorted(seconds, seconds[plain] + np.array([-DIP_S / 2, DIP_S / 2]))
        before, after = contrast[low:plain], contrast[plain + 1 : high]
        if not len(before) or not len(after):
            continue
        if contrast[plain] > PLAIN * min(before.max(), after.max()):
            continue
        start = int(plain) - 1 - _risen(before[::-1])
        at = end = int(plain) + 1 + _risen(after)
        blocks = block_distance(pictures[start], pictures[end], stride=1)
        if np.median(blocks) < most or blocks.mean() < least:
            continue
        if not _seen_again(pictures[start], pictures[end]):
            found.append((start, end))
    return found


def _seen_again(before: Pictures, after: Pictures) -> bool:
    """Whether both pictures are alike, one moved by a few pixels, whatever their light."""
    import cv2

    middle = before[REACH:-REACH, REACH:-REACH]
    return float(cv2.matchTemplate(after, middle, cv2.TM_CCOEFF_NORMED).max()) > ALIKE


def _contrasts(pictures: Pictures) -> Floats:
    """[n]: standard deviation of each picture."""
    import cv2

    return np.array([cv2.meanStdDev(picture)[1][0, 0] for picture in pictures], np.float32)


def _risen(contrast: Floats) -> int:
    """Index from which on contrast rises no more: it comes near to its largest value."""
    return int(np.flatnonzero(contrast >= CLEAN * contrast.max())[0])


def _looks(pictures: Pictures, colours: Pictures) -> Floats:
    """[n, 2304 + 288]: luma, then colour as if it were as large, so that both count alike."""
    count = len(pictures)
    luma, colour = pictures.reshape(count, -1), colours.reshape(count, -1)
    larger = luma.shape[1] / colour.shape[1]
    return np.concatenate([luma, colour * np.float32(larger)], axis=1, dtype=np.float32)


def _moves(looks: Floats) -> list[float]:
    """Difference of each frame but the last to the next one."""
    return [_difference(a, b) for a, b in itertools.pairwise(looks)]


def _difference(a: Floats, b: Floats) -> float:
    """Mean absolute difference in luma and that in colour together."""
    import cv2

    return float(cv2.norm(a, b, cv2.NORM_L1)) / (WIDTH * HEIGHT)  # a fifth of numpy's price


def _mixture(
    looks: Floats, largest: float, least: float, most: float, mixture: float
) -> tuple[int, int] | None:
    """First and last index of the change, if the inner frames are mixtures of the outer two.

    `largest` is the largest difference of neighbours among `looks`.
    """
    start, end = looks[0], looks[-1]
    size = _difference(start, end)
    if size < least or largest > 0.6 * size:
        return None
    change = end - start
    along = looks @ change
    shares = (along - along[0]) / (along[-1] - along[0])  # 0 to 1: the change is that of the ends
    if np.diff(shares).min() < -0.05:
        return None
    middle = len(looks) // 2  # most often the worst
    for inner in (middle, *range(1, middle), *range(middle + 1, len(looks) - 1)):
        if _difference(looks[inner], start + shares[inner] * change) > mixture * size:
            return None
    # A slow pan is a mixture too, as long as it moves less than the detail is wide: look closely.
    if _same_scene(start, end) or not _differ(start, end, least, most):
        return None
    inner = np.flatnonzero((shares > 0.05) & (shares < 0.95))
    if len(inner) < 2:
        return None
    # Shots that move drift for long: the ends are where the steep part would reach 0 and 1.
    steep = inner[(shares[inner] > 0.1) & (shares[inner] < 0.9)]
    steep = steep if len(steep) else inner
    beyond = max(1, -(-len(steep) // 8))
    return max(0, int(steep[0]) - beyond), min(len(looks) - 1, int(steep[-1]) + beyond)


def _differ(start: Floats, end: Floats, least: float, most: float) -> bool:
    """Whether blocks differ, forgiving motion, by `least` on average and by `most` in the median;
    colour is looked at where luma does not suffice, and counts half."""
    import cv2

    def enough(blocks: Floats) -> bool:
        return float(blocks.mean()) >= least and float(np.median(blocks)) >= most

    found = block_distance(_luma(start).astype(np.uint8), _luma(end).astype(np.uint8), stride=1)
    for one, other in zip(_colours(start), _colours(end), strict=True):
        if enough(found):
            break
        before, after = (cv2.resize(plane, (WIDTH, HEIGHT)) for plane in (one, other))
        found += block_distance(before.astype(np.uint8), after.astype(np.uint8), stride=1) / 2
    return enough(found)


def _luma(look: Floats) -> Floats:
    return look[: WIDTH * HEIGHT].reshape(HEIGHT, WIDTH)


def _colours(look: Floats) -> Floats:
    """The colour differences [2, 9, 16] of a look."""
    colour = look[WIDTH * HEIGHT :] / (WIDTH * HEIGHT / (len(look) - WIDTH * HEIGHT))
    return colour.reshape(2, COLOUR_HEIGHT, COLOUR_WIDTH)


def _same_scene(start: Floats, end: Floats) -> bool:
    """Whether one picture is the other in another light: the detail is alike and not gone."""
    import cv2

    lumas = [_luma(look) for look in (start, end)]
    details = [picture - cv2.blur(picture, (9, 9)) for picture in lumas]
    sizes = [float(np.sqrt((detail**2).sum())) + 1.0 for detail in details]
    likeness = float((details[0] * details[1]).sum()) / (sizes[0] * sizes[1])
    return likeness > 0.6 and min(sizes) > 0.2 * max(sizes)


def _every(seconds: NDArray[np.float64], first: int, last: int, step: float) -> NDArray[np.intp]:
    """Indices in [first, last) about `step` seconds apart."""
    wanted = np.arange(seconds[first], seconds[last - 1] + step / 2, step)
    return np.unique(np.clip(np.searchsorted(seconds, wanted), first, last - 1))


def united(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Overlapping or touching spans as one."""
    united: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if united and start <= united[-1][1]:
            united[-1] = (united[-1][0], max(end, united[-1][1]))
        else:
            united.append((start, end))
    return united
