"""Light, sharpness and colour of a stretch of frames, by plain measurement.

All figures are means over the sampled frames, on the picture as displayed (gamma-coded values, not
linear light): that is what a viewer and a caption mean by dark or pale. They are taken at a small
size, so sharpness speaks of blur that is visible at 320 pixels and not of missing HD detail.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

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


@dataclass(slots=True)
class LightMeter:
    """Adds up RGB frames of one segment; means are None before the first frame."""

    frames: int = 0
    pairs: int = 0
    black: int = 0
    frozen: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    colours: Counter[str] = field(default_factory=Counter)

    def add(self, picture: Picture, before: Picture | None) -> None:
        """Take in an RGB frame (height x width x 3) and the sampled frame before it, if any."""
        self.frames += 1
        light = _luma(picture)
        self.black += bool((light <= BLACK_PIXEL).mean() >= BLACK_PICTURE)
        if before is not None:
            self.pairs += 1
            difference = np.abs(picture.astype(np.int16) - before.astype(np.int16))
            self.frozen += bool(difference.mean() < FROZEN)
        chroma = (picture.max(axis=2).astype(np.float32) - picture.min(axis=2)) / 255
        for name, value in (
            ("brightness", light.mean()),
            ("contrast", min(1.0, 2 * light.std())),  # half black, half white is 1
            ("saturation", chroma.mean()),  # range of the channels: HSV's own is noise in the dark
            ("sharpness", _sharpness(light)),
        ):
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
        self.colours.update(_names(picture))

    @property
    def means(self) -> dict[str, float]:
        """brightness, contrast, saturation and sharpness, each 0 to 1."""
        return {name: total / self.frames for name, total in self.sums.items()}

    @property
    def black_share(self) -> float | None:
        return self.black / self.frames if self.frames else None

    @property
    def frozen_share(self) -> float | None:
        """Share of neighbouring samples that show the same picture; black is frozen too."""
        return self.frozen / self.pairs if self.pairs else None

    def named_colours(self, at_least: float = 0.2) -> list[str]:
        """Colour names by area, the largest first; those under `at_least` of it only if first."""
        total = sum(self.colours.values())
        ranked = sorted(self.colours.items(), key=lambda item: (-item[1], item[0]))
        return [
            name
            for place, (name, count) in enumerate(ranked)
            if place == 0 or count >= at_least * total
        ]


def _luma(picture: Picture) -> npt.NDArray[np.float32]:
    weights = np.array([0.299, 0.587, 0.114], np.float32) / np.float32(255)
    light: npt.NDArray[np.float32] = picture @ weights
    return light


def _sharpness(light: npt.NDArray[np.float32]) -> float:
    """Variance of the Laplacian over that of the picture, squeezed into 0 to 1.

    Dividing by the picture's own variance makes a pale and a punchy copy equally sharp.
    """
    import cv2

    spread = float(light.var())
    if spread < 1e-5:
        return 0.0
    ratio = float(cv2.Laplacian(light, cv2.CV_32F).var()) / spread
    return ratio / (1.0 + ratio)


def _names(picture: Picture) -> Counter[str]:
    import cv2

    def lab(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        converted: npt.NDArray[np.float32] = cv2.cvtColor(
            rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB
        )
        return converted.reshape(-1, 3)

    small = cv2.resize(picture, (32, 18), interpolation=cv2.INTER_AREA)
    names = list(COLOURS)
    references = lab(np.array([list(COLOURS.values())], np.uint8))
    differences = lab(small)[:, None] - references[None]
    differences[:, [name in NEUTRAL for name in names], 1:] *= TINT
    distances = np.linalg.norm(differences, axis=2)
    return Counter(names[index] for index in distances.argmin(axis=1))
