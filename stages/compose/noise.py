"""noise: a film whose every picture is noise and whose content is only in how the noise moves.

Inside the outline of a word or a shape the noise drifts one way, outside it the other way. Both are
the same noise, so one picture holds nothing; two pictures hold it all. This is the construction of
SpookyBench (Upadhyay et al., CVPR 2026), with words and shapes drawn here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clipmill.stages.compose.paint import Picture, outline, text_patch
from clipmill.stages.compose.world import SHAPES, Shape
from clipmill.stages.stage import StageSettings


class Settings(StageSettings):
    """How a film of noise is drawn."""

    width: int = Field(320, ge=32, le=1920, multiple_of=2)
    """Width in pixels."""
    height: int = Field(180, ge=32, le=1080, multiple_of=2)
    """Height in pixels."""
    fps: int = Field(24, ge=4, le=60)
    """Frames per second."""
    seconds: float = Field(3.0, gt=0.1)
    """Length of the film."""
    grain: int = Field(2, ge=1, le=16)
    """Side of a grain in pixels."""
    step: int = Field(1, ge=1, le=8)
    """Grains that the noise moves from one frame to the next, in either half the other way."""
    contrast: float = Field(0.0, ge=0.0, le=1.0)
    """How much brighter the content is than its surroundings. 0 hides it from single frames; more
    makes the control against which an audit proves that it finds a shortcut."""
    crf: int = Field(10, ge=0, le=40)
    """Constant quality of the encoding, in which every picture is coded by itself."""


def pictures(content: str, settings: Settings, seed: int) -> Iterator[Picture]:
    """Every frame of a film that hides `content`, a shape of the rendered world or any text."""
    rng = np.random.default_rng(seed)
    rows, columns = (-(-side // settings.grain) for side in (settings.height, settings.width))
    inside, outside = (rng.integers(0, 2, (rows, columns), dtype=np.uint8) * 255 for _ in range(2))
    # On whole grains: a cut grain would draw the outline into every single picture.
    shown = mask(content, columns, rows)
    lift = shown * settings.contrast
    for number in range(round(settings.seconds * settings.fps)):
        shift = number * settings.step
        up, down = np.roll(inside, -shift, axis=0), np.roll(outside, shift, axis=0)
        gray = np.where(shown, up, down) * (1 - lift) + 255 * lift
        picture = _magnified(gray.astype(np.uint8), settings)
        yield np.repeat(picture[:, :, None], 3, axis=2)


def mask(content: str, width: int, height: int) -> NDArray[np.bool_]:
    """Where the content stands: the shape of that name, else the text, as large as fits."""
    import cv2

    shown = np.zeros((height, width), np.uint8)
    if content in SHAPES:
        shape: Shape = next(name for name in get_args(Shape) if name == content)
        radius = 0.4 * min(width, height)
        points = outline(shape) * radius + (width / 2, height / 2)
        rings = [np.round(points).astype(np.int32)]
        if shape == "ring":
            middle = points.mean(0)
            rings.append(np.round(middle + (points - middle) * 0.55).astype(np.int32))
        cv2.fillPoly(shown, rings, 255)
        return shown > 0
    patch = text_patch(content, height)[:, :, 3]
    scale = min(0.9 * width / patch.shape[1], 0.9 * height / patch.shape[0])
    size = max(1, round(patch.shape[1] * scale)), max(1, round(patch.shape[0] * scale))
    small = cv2.resize(patch, size, interpolation=cv2.INTER_AREA)
    x, y = (width - size[0]) // 2, (height - size[1]) // 2
    shown[y : y + size[1], x : x + size[0]] = small
    return shown > 127


def _magnified(field: NDArray[np.uint8], settings: Settings) -> NDArray[np.uint8]:
    large = field.repeat(settings.grain, axis=0).repeat(settings.grain, axis=1)
    return large[: settings.height, : settings.width]
