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

from dataclasses import dataclass, field
from math import hypot, log
from typing import Any

import numpy as np
import numpy.typing as npt

WIDTH = 160
"""Width in pixels at which flow is computed: a pan of a picture width per second is still found."""
ROWS = 48
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


@dataclass(slots=True)
class CameraMeter:
    """Adds up pairs of one segment. `motion` and `label` are None until something is known."""

    seconds: float = 0.0
    known_s: float = 0.0
    travel: float = 0.0
    moves: list[CameraMove] = field(default_factory=list)

    def add(self, before: Gray, after: Gray, seconds: float) -> None:
        """Take in two pictures made by `small_gray`, `seconds` apart."""
        flow = dense_flow(before, after)
        lengths = np.linalg.norm(flow, axis=2)
        diagonal = hypot(*before.shape)
        self.seconds += seconds
        self.travel += float(np.where(lengths > NOISE, lengths, 0.0).mean()) / diagonal
        move = camera_move(flow, before)
        if move is not None:
            self.known_s += seconds
            self.moves.append(move)

    @property
    def motion(self) -> float | None:
        """Mean flow in picture diagonals per second."""
        return self.travel / self.seconds if self.seconds > 0 else None

    @property
    def label(self) -> str | None:
        """The camera's move, or None where less than half of the time has texture to tell by."""
        if self.seconds <= 0 or self.known_s < self.seconds / 2:
            return None
        return _name(self.moves, self.known_s)


def small_gray(picture: npt.NDArray[np.uint8]) -> Gray:
    """An RGB frame as flow wants it: gray, `WIDTH` wide, of at least `ROWS` rows.

    Odd shapes are stretched: under 32 rows the flow search reads outside its buffers and crashes,
    and a ticker turned on its side must not become a tower.
    """
    import cv2

    height, width = picture.shape[:2]
    rows = min(4 * WIDTH, max(ROWS, round(height * WIDTH / width)))
    gray: Gray = cv2.cvtColor(
        cv2.resize(picture, (WIDTH, rows), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY
    )
    return gray


def dense_flow(before: Gray, after: Gray) -> Flow:
    """Per-pixel displacement, height x width x (right, down), in pixels."""
    import cv2

    search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow: Flow = search.calc(before, after, None)
    return flow


def camera_move(flow: Flow, picture: Gray) -> CameraMove | None:
    """The similarity transform most of the textured picture follows.

    None where fewer than 24 grid points have texture, or fewer than a third of them agree: a cut,
    a flash, or a picture without background.
    """
    import cv2

    height, width = picture.shape
    rows, columns = np.mgrid[4 : height - 4 : 6, 4 : width - 4 : 6]
    # Flat areas take their flow from the smoothness term; only textured points may vote.
    slopes = cv2.Sobel(picture, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(picture, cv2.CV_32F, 0, 1) ** 2
    textured = cv2.blur(slopes, (7, 7))[rows, columns] > 200.0
    points = np.stack([columns[textured], rows[textured]], axis=1).astype(np.float32)
    if len(points) < 24:
        return None
    drift = flow[rows[textured], columns[textured]]
    # Parallax and rolling shutters bend fast moves, so the tolerance grows with the speed.
    tolerance = max(0.6, 0.12 * float(np.median(np.linalg.norm(drift, axis=1))))
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


def _name(moves: list[CameraMove], seconds: float) -> str:
    # Growth moves a typical point, a quarter diagonal from the middle, by a quarter of its size.
    steps = np.array([(move.right, move.down, move.growth / 4) for move in moves])
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
