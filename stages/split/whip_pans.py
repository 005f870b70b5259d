"""Whip pans: where a camera that is swung round looks like a cut.

While it swings, detail is smeared along one axis and its place along that axis is lost, so nothing
of the picture before is found in the picture after. Three things tell it from a cut: the detail
along that axis goes, it is back within the moment a swing takes, and what the smear cannot touch,
the averages along the axis, hardly changes. Another scene changes those averages too, and a scene
that is smooth by itself stays smooth. A swing that ends in another place counts like one that
comes back: only the two pictures at its edge are compared.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipmill.stages.split.likeness import Floats, Pictures

WHIP_S = 0.6  # the longest swing from rest to rest
SIDE = 3  # frames that say how sharp the picture is at rest, and within which it smears
LOST, BACK = 0.65, 0.88  # of the sharpness at rest: smeared below the one, back above the other
AVERAGED = 0.45  # share of a change that may be left of it in the averages along the axis


def is_whip_pan(pictures: Pictures, seconds: NDArray[np.float64], index: int) -> bool:
    """Whether the change at `index` is the start or the end of a swing, along either axis."""
    first = int(np.searchsorted(seconds, seconds[index - 1] - WHIP_S))
    last = int(np.searchsorted(seconds, seconds[index] + WHIP_S, side="right"))
    near, at = pictures[first:last].astype(np.float32), index - first
    change = near[at] - near[at - 1]
    for axis in (0, 1):
        if np.abs(change.mean(axis)).mean() > AVERAGED * np.abs(change).mean():
            continue
        sharpness = np.abs(np.diff(near, axis=1 + axis)).mean((1, 2)) + 1  # one level is noise
        before, after = sharpness[:at][::-1], sharpness[at:]
        if _swings(before, after) or _swings(after, before):
            return True
    return False


def _swings(rest: Floats, swing: Floats) -> bool:
    """Whether sharpness falls right after the frames at rest and then comes back."""
    sharp = float(np.median(rest[:SIDE]))
    lowest = int(np.argmin(swing[:SIDE]))
    return bool(swing[lowest] < LOST * sharp and swing[lowest:].max() > BACK * sharp)
