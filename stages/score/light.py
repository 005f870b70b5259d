"""Light, sharpness and colour of one frame, by plain measurement.

Figures are taken on the picture as displayed (gamma-coded values, not linear light): that is what a
viewer and a caption mean by dark or pale. They are taken at a small size, so sharpness speaks of
blur that is visible at 320 pixels and not of missing HD detail.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import sqrt

import numpy as np
import numpy.typing as npt

BLACK_PIXEL, BLACK_PICTURE = 0.10, 0.98
"""A frame is black when 98 % of its pixels are below a tenth: the defaults of blackdetect."""
FROZEN = 0.25
"""Mean difference (of 255) under which two frames are one picture, compressed twice."""

COLOURS = {
    "black": (0, 0, 0),
    "white": (250, 250, 250),
    "grey": (128, 128, 128),
    "red": (200, 30, 35),
    "orange": (240, 140, 30),
    "yellow": (245, 225, 60),
    "green": (60, 150, 60),
    "cyan": (80, 205, 215),
    "blue": (45, 85, 195),
    "purple": (125, 50, 155),
    "pink": (240, 150, 190),
    "brown": (115, 75, 45),
}
"""Reference colours in sRGB; a pixel takes the name of the nearest in CIELAB (CIE 1976)."""
NEUTRAL, TINT = ("black", "white", "grey"), 1.5
"""Chroma counts so many times against colours that have none: steel is blue and sand is brown
long before they are as far from grey as from any full colour."""

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Light:
    """Of one frame; what is no share or count lies between 0 and 1."""

    brightness: float
    """Mean luma."""
    contrast: float
    """Twice the deviation of luma: half black, half white is 1."""
    saturation: float
    """Mean range of the channels: HSV's own saturation is noise in the dark."""
    sharpness: float
    black: bool
    colours: npt.NDArray[np.uint16]
    """How many of 576 areas have each name of `COLOURS`."""


def light_of(picture: Picture) -> Light:
    """Measures an RGB frame (height x width x 3)."""
    import cv2

    # Whole gray levels would do for everything but the sharpness of smooth pictures.
    luma = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2GRAY)
    mean, variance = _moments(luma)
    red, green, blue = cv2.split(picture)  # NumPy takes thirty times as long for their range
    largest = cv2.max(cv2.max(red, green), blue)
    smallest = cv2.min(cv2.min(red, green), blue)
    dark = np.count_nonzero(luma <= BLACK_PIXEL)
    return Light(
        brightness=mean,
        contrast=min(1.0, 2 * sqrt(variance)),
        saturation=float(cv2.mean(cv2.subtract(largest, smallest))[0]) / 255,
        sharpness=_sharpness(luma, variance),
        black=dark >= BLACK_PICTURE * luma.size,
        colours=_named(picture),
    )


def difference(picture: Picture, before: Picture) -> float:
    """Mean difference of two RGB frames, in levels of 255; see `FROZEN`."""
    import cv2

    return float(cv2.norm(picture, before, cv2.NORM_L1)) / picture.size


def main_colours(counts: npt.NDArray[np.float64], at_least: float = 0.2) -> list[str]:
    """Colour names by area, the largest first; those under `at_least` of it only if first."""
    ranked = sorted(
        zip(COLOURS, counts.tolist(), strict=True), key=lambda item: (-item[1], item[0])
    )
    least = at_least * sum(count for _, count in ranked)
    return [name for place, (name, count) in enumerate(ranked) if place == 0 or count >= least]


def _sharpness(luma: npt.NDArray[np.float32], variance: float) -> float:
    """Variance of the Laplacian over that of the picture, squeezed into 0 to 1.

    Dividing by the picture's own variance makes a pale and a punchy copy equally sharp.
    """
    import cv2

    if variance < 1e-5:
        return 0.0
    ratio = _moments(cv2.Laplacian(luma, cv2.CV_32F))[1] / variance
    return ratio / (1.0 + ratio)


def _moments(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Mean and variance; a sixth of the time of OpenCV's own function for both."""
    import cv2

    mean = float(cv2.mean(values)[0])
    return mean, max(0.0, cv2.norm(values, cv2.NORM_L2SQR) / values.size - mean * mean)


def _named(picture: Picture) -> npt.NDArray[np.uint16]:
    import cv2

    small = cv2.resize(picture, (32, 18), interpolation=cv2.INTER_AREA)
    points = _lab(small)
    chroma = (points[:, 1:] ** 2).sum(axis=1, keepdims=True)
    factors, constant = _references()
    nearest = (np.hstack([chroma, points]) @ factors + constant).argmin(axis=1)
    return np.bincount(nearest, minlength=len(COLOURS)).astype(np.uint16)


@cache
def _references() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """What makes squared distances to `COLOURS` of a point, less its own squared lightness: factors
    (4 x n) of its squared chroma, L, a and b, and what is to be added (n)."""
    references = _lab(np.array([list(COLOURS.values())], np.uint8)).T
    tint = np.array([TINT * TINT if name in NEUTRAL else 1 for name in COLOURS], np.float32)
    weights = np.stack([np.ones_like(tint), tint, tint])
    return np.vstack([tint, -2 * weights * references]), (weights * references**2).sum(axis=0)


def _lab(rgb: Picture) -> npt.NDArray[np.float32]:
    import cv2

    converted = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    points: npt.NDArray[np.float32] = converted.reshape(-1, 3)
    return points
