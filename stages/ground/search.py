"""Where along a video each text fits best: three searches over one table of similarities.

All take frame times and a table [texts, frames] of cosines and return, per text, a place with its
score. `offset` treats every text alone; `dtw` keeps the texts in the order they were written, which
helps where things look alike and hurts where the narrator looks back; `joint` lets the texts
compete for the frames, so that a caption that fits everywhere yields to one that fits only here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Table = npt.NDArray[np.float64]
"""[texts, places]; -inf where a text may not go."""


@dataclass(frozen=True, slots=True)
class Place:
    """A found place: its index, and the cosine of the text with the window around it."""

    index: int
    score: float


def smoothed(
    table: npt.NDArray[np.floating], times: npt.NDArray[np.float64], window_s: float
) -> Table:
    """Similarity of each text with the window around each frame: the mean over its frames.

    By cumulative sums, so a window costs the same however long it is.
    """
    low, high = bounds(times, window_s)
    sums = np.zeros((table.shape[0], table.shape[1] + 1))
    np.cumsum(table, axis=1, out=sums[:, 1:])
    return np.asarray((sums[:, high] - sums[:, low]) / np.maximum(high - low, 1))


def bounds(
    times: npt.NDArray[np.float64], window_s: float
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Per frame the first frame of the window around it, and the first one behind it.

    A window reaches from `window_s / 2` before its frame to just before as much behind it, so that
    8 s at one frame a second are 8 frames; it is shorter at the ends and never empty.
    """
    low = np.searchsorted(times, times - window_s / 2, "left")
    high = np.searchsorted(times, times + window_s / 2, "left")
    return low, np.maximum(high, np.arange(len(times)) + 1)


def reachable(
    table: Table, times: npt.NDArray[np.float64], wanted: Sequence[float], search_s: float
) -> Table:
    """The table with -inf at places further than `search_s` from a text's wanted time."""
    apart = np.abs(times[None, :] - np.asarray(wanted, float)[:, None]) > search_s
    return np.where(apart, -np.inf, table)


def offset(table: Table) -> list[Place | None]:
    """Per text its best reachable place, None where none is reachable.

    Of neighbouring places that fit alike it is the middle one: all windows that hold the whole of
    a short event are equal, and the event stands in the middle of the middle one.
    """
    return [_at(table, row, _peak(table[row])) for row in range(len(table))]


def joint(table: Table, temperature: float) -> list[Place | None]:
    """Per text the place it fits better than the other texts do, and better than its own others.

    Dual softmax: the product of a softmax over texts and one over places, as in mutual matching.
    """
    if not table.size:
        return [None] * len(table)
    with np.errstate(invalid="ignore"):
        heat = table / temperature
        over_texts = np.exp(heat - np.max(heat, axis=0, keepdims=True, initial=-1e300))
        over_places = np.exp(heat - np.max(heat, axis=1, keepdims=True, initial=-1e300))
    over_texts /= np.maximum(over_texts.sum(axis=0, keepdims=True), 1e-300)
    over_places /= np.maximum(over_places.sum(axis=1, keepdims=True), 1e-300)
    both = np.where(np.isfinite(table), over_texts * over_places, -np.inf)
    return [_at(table, row, _peak(both[row])) for row in range(len(table))]


def dtw(table: Table) -> list[Place | None]:
    """Places that never run backwards from text to text, of the greatest total similarity.

    Dynamic programming over texts x places. A text without any reachable place is left out; where
    order and reach contradict one another, order yields and the text gets its own best place.
    """
    found: list[Place | None] = [None] * len(table)
    rows = [row for row in range(len(table)) if np.isfinite(table[row]).any()]
    while rows:
        path = _monotone(table[rows])
        if path is not None:
            for row, index in zip(rows, path, strict=True):
                found[row] = _at(table, row, index)
            return found
        # The text whose reach ends before that of one in front of it has begun.
        last = [int(np.flatnonzero(np.isfinite(table[row]))[-1]) for row in rows]
        first = [int(np.flatnonzero(np.isfinite(table[row]))[0]) for row in rows]
        begun = np.maximum.accumulate(first)
        late = next(k for k in range(len(rows)) if last[k] < begun[k])
        found[rows[late]] = _at(table, rows[late], int(np.argmax(table[rows[late]])))
        del rows[late]
    return found


def _monotone(table: Table) -> list[int] | None:
    """One place per row, never decreasing; None where the reaches allow no such path."""
    best = table[0]
    back: list[npt.NDArray[np.intp]] = []
    for row in table[1:]:
        # Best way to end at or before each place, and where that way stood.
        highest = np.maximum.accumulate(best)
        fresh = np.where(best >= highest, np.arange(len(best)), -1)
        back.append(np.maximum.accumulate(fresh))
        best = highest + row
    if not np.isfinite(best).any():
        return None
    path = [int(np.argmax(best))]
    for places in reversed(back):
        path.append(int(places[path[-1]]))
    return path[::-1]


def extent(row: npt.NDArray[np.floating], peak: int, share: float) -> tuple[int, int]:
    """First and last frame of the run around `peak` that stays similar enough.

    Enough is `share` of the way from the row's median (what the rest of the video looks like to
    this text) up to the peak's similarity.
    """
    base = float(np.median(row))
    least = base + share * (float(row[peak]) - base)
    first = last = peak
    while first > 0 and row[first - 1] >= least:
        first -= 1
    while last + 1 < len(row) and row[last + 1] >= least:
        last += 1
    return first, last


def suppressed(
    spans: Sequence[tuple[float, float]],
    scores: Sequence[float],
    alike: npt.NDArray[np.floating],
    most_overlap: float,
    least_alike: float,
) -> list[bool]:
    """Non-maximum suppression: whether a better event says the same at the same time.

    The same: texts with a cosine of `least_alike` or more, spans that share more than
    `most_overlap` of their union.
    """
    order = sorted(range(len(spans)), key=lambda n: (-scores[n], spans[n]))
    kept: list[int] = []
    out = [False] * len(spans)
    for number in order:
        out[number] = any(
            _iou(spans[number], spans[other]) > most_overlap and alike[number, other] >= least_alike
            for other in kept
        )
        if not out[number]:
            kept.append(number)
    return out


def _peak(row: npt.NDArray[np.float64]) -> int:
    """The middle of the run of equals that the first greatest value begins."""
    if not len(row):
        return 0
    first = int(np.argmax(row))
    equal = row[first:] >= row[first] - 1e-6
    length = len(equal) if equal.all() else int(np.argmin(equal))
    return first + (length - 1) // 2


def _at(table: Table, row: int, index: int) -> Place | None:
    score = float(table[row, index]) if table.shape[1] else -np.inf
    return Place(index, score) if np.isfinite(score) else None


def _iou(a: tuple[float, float], b: tuple[float, float]) -> float:
    shared = min(a[1], b[1]) - max(a[0], b[0])
    union = max(a[1], b[1]) - min(a[0], b[0])
    return shared / union if shared > 0 and union > 0 else 0.0
