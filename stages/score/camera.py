"""How the camera moves and how much moves at all, from the optical flow of sampled frame pairs.

Dense inverse search flow (Kroeger et al. 2016) is fast enough for a processor and gives both
answers at once: its mean length is the amount of motion, and a similarity transform fitted to it by
RANSAC (Fischler and Bolles 1981) is the camera, because whatever moves on its own is outvoted by
the background. A single large object that fills most of the picture wins that vote; a measured
description cannot know better.

Directions are the camera's, not the picture's: content that drifts left means the camera pans
right, content that grows means it zooms in (or drives in, which looks alike).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, log
from typing import Any

import numpy as np
import numpy.typing as npt

SIDE = 160
"""Longer side in pixels at which flow is computed: a pan of a picture width per second is still
found."""
LEAST_SIDE = 48
STATIC = 0.012
"""Below this movement, in picture diagonals per second, a camera counts as still."""
CLEAR = 1.8
"""How far one direction must outweigh the others to name a shot; tuned on rendered moves."""
NOISE = 0.08
"""Flow below this many pixels a pair is what sensor noise and compression produce, not motion."""

Gray = npt.NDArray[np.uint8]
Flow = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CameraMove:
    """What one pair shows: drift of the picture's middle, in diagonals, and log of its growth."""

    right: float
    down: float
    growth: float


def small_gray(picture: npt.NDArray[np.uint8]) -> Gray:
    """An RGB frame as flow wants it: gray, its longer side `SIDE`, the other at least `LEAST_SIDE`.

    Odd shapes are stretched: under 32 rows the flow search reads outside its buffers and crashes.
    """
    import cv2

    height, width = picture.shape[:2]
    longer = max(height, width)
    size = [max(LEAST_SIDE, round(side * SIDE / longer)) for side in (width, height)]
    shrunk = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    gray: Gray = cv2.cvtColor(shrunk, cv2.COLOR_RGB2GRAY)
    return gray


def dense_flow(before: Gray, after: Gray) -> Flow:
    """Per-pixel displacement, height x width x (right, down), in pixels."""
    import cv2

    search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow: Flow = search.calc(before, after, None)
    return flow


def travelled(flow: Flow) -> float:
    """Mean length of a flow above `NOISE`, in picture diagonals."""
    lengths = np.abs(flow.view(np.complex64))  # the quickest way to square roots of sums of squares
    return float((lengths * (lengths > NOISE)).mean()) / hypot(*flow.shape[:2])


def camera_move(flow: Flow, picture: Gray) -> CameraMove | None:
    """The similarity transform most of the textured picture follows.

    None where fewer than 24 grid points have texture, or fewer than a third of them agree: a cut,
    a flash, or a picture without background.
    """
    import cv2

    height, width = picture.shape
    grid = (slice(4, height - 4, 6), slice(4, width - 4, 6))
    # Flat areas take their flow from the smoothness term; only textured points may vote.
    slopes = cv2.Sobel(picture, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(picture, cv2.CV_32F, 0, 1) ** 2
    rows, columns = np.nonzero(cv2.blur(slopes, (7, 7))[grid] > 200.0)
    if len(rows) < 24:
        return None
    drift = flow[grid][rows, columns]
    points = np.stack([4 + 6 * columns, 4 + 6 * rows], axis=1).astype(np.float32)
    # Parallax and rolling shutters bend fast moves, so the tolerance grows with the speed.
    tolerance = max(0.6, 0.12 * float(np.median(np.hypot(drift[:, 0], drift[:, 1]))))
    matrix, agreeing = cv2.estimateAffinePartial2D(
        points, points + drift, method=cv2.RANSAC, ransacReprojThreshold=tolerance
    )
    if matrix is None or agreeing.mean() < 1 / 3:
        return None
    middle = np.array([width / 2, height / 2])
    right, down = matrix[:, :2] @ middle + matrix[:, 2] - middle
    scale = hypot(matrix[0, 0], matrix[1, 0])
    diagonal = hypot(height, width)
    return CameraMove(float(right) / diagonal, float(down) / diagonal, log(max(scale, 1e-3)))


def camera_label(moves: npt.NDArray[np.float64], seconds: float) -> str:
    """The name of moves (n x right, down, growth) that took so many seconds together."""
    # Growth moves a typical point, a quarter diagonal from the middle, by a quarter of its size.
    steps = moves * (1.0, 1.0, 0.25)
    net = steps.sum(axis=0) / seconds
    path = float(np.linalg.norm(steps, axis=1).sum()) / seconds
    if path < STATIC:
        return "static"
    order = np.argsort(-np.abs(net))
    strongest, second = net[order[0]], net[order[1]]
    # A move that turns back or shakes covers more path than it makes way.
    if abs(strongest) < max(STATIC, path / 2) or abs(strongest) < CLEAR * abs(second):
        return "static" if path < 2 * STATIC else "mixed"
    names = (("pan_left", "pan_right"), ("tilt_up", "tilt_down"), ("zoom_in", "zoom_out"))
    positive, negative = names[int(order[0])]
    return positive if strongest > 0 else negative
