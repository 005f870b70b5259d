"""Shot boundaries from thumbnails: our own detector, a few rules over one distance.

The distance of two pictures is the mean over blocks of the smallest difference a block of one has
to its neighbourhood in the other, so that motion costs little and a new scene costs much. Then:

- a *cut* is where each of the frames before differs from each of those after by more than
  neighbours do on either side (a flash ends: a frame after it is like the one before; action
  differs from frame to frame anyway), where most of the picture changed, and where no camera was
  swung round (whip_pans.py);
- on a picture that stood perfectly still, a slide say, a much smaller change is a cut;
- a *gradual* transition is a stretch whose frames are mixtures of its two ends in rising shares, or
  a fade through a plain colour.

Every rule speaks of ratios and differences between frames of the same film, so dark films need no
tuning. A film shown on a screen inside the picture is taken for the film itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clipmill.schemas.clocks import Clock
from clipmill.schemas.records import Probe
from clipmill.stages.media.decode import open_input
from clipmill.stages.media.limits import Limits
from clipmill.stages.media.passing import Wish, taking
from clipmill.stages.media.thumbnails import (
    COLOUR_HEIGHT,
    COLOUR_WIDTH,
    HEIGHT,
    WIDTH,
    between,
    thumbnails,
)
from clipmill.stages.split.dissolves import find_dips, find_gradual, united
from clipmill.stages.split.likeness import (
    Floats,
    Pictures,
    block_distance,
    neighbour_change,
    shifted,
    shifted_distance,
)
from clipmill.stages.split.whip_pans import is_whip_pan

SIDE = 3  # frames compared on either side of a cut
FLASH_S = 0.25  # the longest flash
NEAR_S = 0.3  # how far from a cut they may be: the shot may be over where frames are sparse
AROUND_S = 0.5  # how far around a change a picture must stand still to count as still
STILL = 0.08  # difference below which it does
ORDINARY = 36.0  # standard deviation from which a picture has ordinary contrast
CHUNK, MARGIN = 4096, 256  # frames held at a time, and how many of them overlap

Apart = Callable[[int, int], tuple[float, float]]  # mean and median distance of two frames
Seen = tuple[int, bool, Pictures, Pictures]  # as `thumbnails` yields them
Closely = Callable[[Sequence[tuple[int, int]]], list[list[tuple[int, Pictures]]]]


@dataclass(frozen=True, slots=True)
class Tuning:
    """The thresholds, in gray levels of 255. Tuned on hand-labelled films, see the benchmark."""

    cut: float = 9.0
    """How much more than its neighbourhood a cut differs."""
    still_cut: float = 2.0
    """The same on a picture that stands still."""
    most: float = 5.0
    """Difference of the median block: a caption that pops up changes fewer blocks."""
    gap_s: float = 0.2
    """Shortest shot; of two cuts closer together the stronger one stays."""
    mixture: float = 0.2
    """Largest share of the change that mixing the two ends may leave unexplained."""


@dataclass(frozen=True, slots=True)
class Transition:
    """Between two shots. A cut has both ends on the first frame of the new shot; a gradual one
    reaches from the last clean frame of the old shot to the first clean frame of the new."""

    start_tick: int
    end_tick: int
    kind: Literal["cut", "gradual"]


def detect(
    path: Path,
    probe: Probe,
    tuning: Tuning | None = None,
    limits: Limits | None = None,
    wishes: Sequence[Wish] = (),
) -> list[Transition]:
    """All transitions of a video, in order. Decodes: to be called in the sandbox.

    `wishes` are files for others, made in passing; with any, decoding is at full quality.
    """
    tuning = tuning or Tuning()
    with open_input(path, probed=probe.picture.codec) as container, taking(wishes, probe) as see:
        source = thumbnails(path, probe, limits, container, see)
        closely = partial(between, path, probe, limits=limits, container=container)
        return transitions(source, closely, probe.picture.clock, tuning)


def transitions(
    source: Iterable[Seen], closely: Closely, clock: Clock, tuning: Tuning
) -> list[Transition]:
    """The same from what `thumbnails` yields; `closely` is `between`, once the source has ended."""
    cuts: list[_Cut] = []
    mixed: list[tuple[int, int]] = []
    for film, first, last in _chunks(source, clock.num / clock.den):
        found = [film.named(cut) for cut in find_cuts(film, tuning)]
        spans = find_gradual(
            film.pictures,
            film.colours,
            film.seconds,
            [cut.index for cut in found],
            tuning.cut,
            tuning.most,
            tuning.mixture,
        )
        dips = find_dips(film.pictures, film.seconds, tuning.cut, tuning.most)
        spans = united([*spans, *dips])
        faded = [film.seconds[[start, end]] + (-tuning.gap_s, tuning.gap_s) for start, end in dips]
        cuts += [
            cut
            for cut in found
            if first <= cut.index < last
            and not any(low < film.seconds[cut.index] < high for low, high in faded)
        ]
        mixed += [
            (film.ticks[start], film.ticks[end]) for start, end in spans if first <= start < last
        ]
    firm = _strongest(cuts, tuning.gap_s * clock.den / clock.num)
    gaps = [(cut.before, cut.tick) for cut in firm if not cut.exact]
    exact = dict(zip(gaps, closely(gaps), strict=True))
    found_all = [
        Transition(tick, tick, "cut")
        for tick in (_steepest(exact.get((cut.before, cut.tick), []), cut.tick) for cut in firm)
    ]
    found_all += [Transition(start, end, "gradual") for start, end in mixed]
    return sorted(found_all, key=lambda transition: transition.start_tick)


@dataclass(slots=True)
class Film:
    """Thumbnails in order: luma (n, 36, 64), colour (n, 2, 9, 16), ticks, times, and whether a
    change to one of them happened at it and not at a frame left out."""

    pictures: Pictures
    colours: Pictures
    ticks: list[int]
    seconds: NDArray[np.float64]
    exact: list[bool]

    def named(self, cut: _Cut) -> _Cut:
        """The cut with the ticks of its two frames."""
        cut.before, cut.tick = self.ticks[cut.index - 1], self.ticks[cut.index]
        cut.exact = self.exact[cut.index]
        return cut


@dataclass(slots=True)
class _Cut:
    index: int
    strength: float
    before: int = 0
    tick: int = 0
    exact: bool = False


def find_cuts(film: Film, tuning: Tuning) -> list[_Cut]:
    """Hard cuts by index of the first new frame; close neighbours are still among them."""
    pictures, seconds = film.pictures, film.seconds
    change = neighbour_change(pictures)
    changes: list[float] = change.tolist()  # single values of an array cost ten times as much

    @lru_cache(4 * SIDE)
    def moved(a: int) -> Pictures:
        return shifted(pictures[a])

    @cache  # neighbours ask for the same pairs
    def apart(a: int, b: int) -> tuple[float, float]:
        blocks = shifted_distance(moved(a), pictures[b]).ravel().tolist()
        return sum(blocks) / len(blocks), median(blocks)  # of so few, faster than arrays

    found: list[_Cut] = []
    for k in np.flatnonzero(change >= tuning.still_cut):
        index = int(k)
        around = sorted(
            changes[max(1, index - SIDE) : index] + changes[index + 1 : index + 1 + SIDE]
        )
        # Spares the search in the middle of action; the two largest may belong to a flash.
        if len(around) > 2 and changes[index] < 0.8 * around[-3]:
            continue
        still = _stands_still(change, seconds, index)
        scale = _contrast(pictures[index - 1], pictures[index])
        least = tuning.still_cut if still else tuning.cut * scale
        if changes[index] < least:
            continue
        most = 0.0 if still else tuning.most * scale
        strength = _strength(apart, seconds, index, least, most)
        if strength is None or _is_flash(apart, seconds, index):
            continue
        if not is_whip_pan(pictures, seconds, index):
            found.append(_Cut(index, strength))
    return found


def _contrast(before: Pictures, after: Pictures) -> float:
    """1 for ordinary pictures, down to 0.4 for those that are dark or pale all over."""
    import cv2

    deviation = max(float(cv2.meanStdDev(picture)[1][0, 0]) for picture in (before, after))
    return min(1.0, max(0.4, deviation / ORDINARY))


def _strength(
    apart: Apart, seconds: NDArray[np.float64], index: int, least: float, most: float
) -> float | None:
    """By how much all frames before differ from all frames after, beyond what neighbours do.

    None as soon as that is known to be below `least`, or the median block below `most`.
    """
    nearest, middle = apart(index - 1, index)
    if nearest < least or middle < most:
        return None
    count = len(seconds)
    beside = _beside(apart, count, index)
    across = nearest
    first, last = np.searchsorted(
        seconds, [seconds[index - 1] - NEAR_S, seconds[index] + NEAR_S], side="right"
    ).tolist()
    for before in range(max(first, index - SIDE), index):
        for after in range(index, min(last, index + SIDE)):
            if across < least + beside:
                return None
            mean, middle = apart(before, after)
            if middle < most:
                return None
            across = min(across, mean)
    return across - beside if across >= least + beside else None


def _beside(apart: Apart, count: int, index: int) -> float:
    """How much neighbours differ on both sides; medians, so that one more cut does not count."""
    sides = []
    for first, last in ((index - SIDE, index - 1), (index, index + SIDE - 1)):
        pairs = [apart(k, k + 1)[0] for k in range(max(0, first), min(count - 1, last))]
        sides.append(median(pairs) if pairs else 0.0)
    return sum(sides) / 2


def _stands_still(change: Floats, seconds: NDArray[np.float64], index: int) -> bool:
    """Whether on either side all frames but one repeat the one before them.

    One is allowed, because codecs settle after a change and refresh at key frames. Stop motion,
    which holds a picture for two or three frames, moves more often than that.
    """
    low, high = np.searchsorted(seconds, seconds[index] + np.array([-AROUND_S, AROUND_S]))
    before = change[max(1, min(int(low), index - SIDE)) : index]
    after = change[index + 1 : max(int(high), index + 1 + SIDE)]
    return all(
        len(side) >= SIDE and np.count_nonzero(side >= STILL) <= 1 for side in (before, after)
    )


def _is_flash(apart: Apart, seconds: NDArray[np.float64], index: int) -> bool:
    """Whether a frame from before the change comes back within `FLASH_S`.

    Asked of both ends of the flash: the last frame before is looked for later, the first frame
    after is looked for earlier.
    """
    half = apart(index - 1, index)[0] / 2
    last = int(np.searchsorted(seconds, seconds[index] + FLASH_S, side="right")) - 1
    first = int(np.searchsorted(seconds, seconds[index - 1] - FLASH_S))
    pairs = [(index - 1, k) for k in _spread(index + SIDE, last)]
    pairs += [(k, index) for k in _spread(first, index - 1 - SIDE)]
    return any(apart(a, b)[0] < half for a, b in pairs)


def _spread(first: int, last: int) -> set[int]:
    """At most six indices from first to last, both included."""
    return {round(float(k)) for k in np.linspace(first, last, 6)} if last >= first else set()


def _strongest(cuts: Iterable[_Cut], gap: float) -> list[_Cut]:
    """Cuts at least `gap` ticks apart, in order; of closer ones the stronger stay."""
    kept: list[_Cut] = []
    for cut in sorted(cuts, key=lambda cut: -cut.strength):
        if all(abs(cut.tick - other.tick) >= gap for other in kept):
            kept.append(cut)
    return sorted(kept, key=lambda cut: cut.tick)


def _steepest(frames: Sequence[tuple[int, Pictures]], otherwise: int) -> int:
    """Tick of the frame that differs most from the one before it."""
    steps = [
        (float(block_distance(before, after).mean()), tick)
        for (_, before), (tick, after) in itertools.pairwise(frames)
    ]
    return max(steps)[1] if steps else otherwise


def _chunks(source: Iterable[Seen], tick_s: float) -> Iterable[tuple[Film, int, int]]:
    """Overlapping films with the indices [first, last) that each answers for.

    All of them lie in the same arrays, each to be done with before the next is asked for: a film
    put together from single pictures takes twice its size, and leaves holes behind.
    """
    size = CHUNK + 2 * MARGIN
    pictures = np.empty((size, HEIGHT, WIDTH), np.uint8)
    colours = np.empty((size, 2, COLOUR_HEIGHT, COLOUR_WIDTH), np.uint8)
    ticks: list[int] = []
    exact: list[bool] = []
    first = 0
    for tick, sure, luma, colour in source:
        pictures[len(ticks)], colours[len(ticks)] = luma, colour
        ticks.append(tick)
        exact.append(sure)
        if len(ticks) == size:
            yield (
                Film(pictures, colours, ticks, np.array(ticks) * tick_s, exact),
                first,
                size - MARGIN,
            )
            for array in (pictures, colours):
                array[: 2 * MARGIN] = array[-2 * MARGIN :]
            ticks, exact, first = ticks[-2 * MARGIN :], exact[-2 * MARGIN :], MARGIN
    if ticks:
        count = len(ticks)
        seconds = np.array(ticks) * tick_s
        yield Film(pictures[:count], colours[:count], ticks, seconds, exact), first, count
