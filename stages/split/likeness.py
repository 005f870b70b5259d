"""How much two thumbnails differ, once as they are and once forgiving motion.

A block of one picture is looked for around its place in the other, so that what merely moved costs
little and what is new costs much. The search is exhaustive but small, all shifts in one pass; half
a millisecond would be too much for every frame, so callers ask only where pictures changed at all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipmill.stages.media.thumbnails import HEIGHT, WIDTH

REACH, STRIDE = 4, 2  # pixels of a thumbnail: how far motion is followed each way, how finely
BLOCK_ROWS, BLOCK_COLUMNS = 6, 8

Pictures = NDArray[np.uint8]
Floats = NDArray[np.float32]


def neighbour_change(pictures: Pictures) -> Floats:
    """Mean absolute difference of each picture to the one before; the first is 0."""
    import cv2

    change = np.zeros(len(pictures), np.float32)
    for k in range(1, len(pictures)):
        change[k] = cv2.norm(pictures[k], pictures[k - 1], cv2.NORM_L1) / (WIDTH * HEIGHT)
    return change


def block_distance(before: Pictures, after: Pictures, stride: int = STRIDE) -> Floats:
    """(6, 8): smallest mean difference of each block of `after` to `before` within `REACH`."""
    return shifted_distance(shifted(before, stride), after)


def shifted(picture: Pictures, stride: int = STRIDE) -> Pictures:
    """(n * 36, 64): the picture at all places within `REACH`, one below the other."""
    import cv2

    padded = cv2.copyMakeBorder(picture, REACH, REACH, REACH, REACH, cv2.BORDER_REPLICATE)
    places, (row, column) = 2 * REACH // stride + 1, padded.strides
    moved: Pictures = np.ndarray(  # sliding_window_view takes four times as long
        (places, places, HEIGHT, WIDTH),
        np.uint8,
        padded,
        strides=(stride * row, stride * column, row, column),
    )
    return np.ascontiguousarray(moved).reshape(-1, WIDTH)


def shifted_distance(tall: Pictures, after: Pictures) -> Floats:
    """`block_distance` to a picture that is `shifted` already."""
    import cv2

    shifts = len(tall) // HEIGHT
    difference = cv2.absdiff(tall, cv2.repeat(after, shifts, 1))
    # Shrinking by area is averaging over blocks, for all shifts at once; halves of bytes are fast.
    half = cv2.resize(difference, (WIDTH // 2, len(tall) // 2), interpolation=cv2.INTER_AREA)
    size = (BLOCK_COLUMNS, BLOCK_ROWS * shifts)
    means = cv2.resize(half.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    least: Floats = means.reshape(shifts, BLOCK_ROWS, BLOCK_COLUMNS).min(axis=0)
    return least
