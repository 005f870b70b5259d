"""Cards: still pictures to be inserted into a video as needles, a shape or a word on plain ground.

Needles must have nothing to do with what they are inserted into and one name that everybody gives
them, so they are drawn: eight shapes in six colours, and the words of the rendered world.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np

from clipmill.stages.compose.paint import Picture, outline, overlay, text_patch
from clipmill.stages.compose.world import RGB, SHAPES, WORDS, Shape
from clipmill.stages.media.write import write_video

Needle = Literal["shape", "word", "clip"]

COLOURS = ("red", "green", "blue", "yellow", "purple", "black")
SIDES = (320, 180)
_GROUND = (226, 222, 214)


def card_names(kind: Needle) -> list[str]:
    """Every card of a kind: `a red star`, or `the word TIGER`."""
    if kind == "word":
        return [f"the word {word}" for word in WORDS]
    return [f"a {colour} {shape}" for colour in COLOURS for shape in SHAPES]


def card(name: str) -> Picture:
    """The picture of a card by its name, RGB [180, 320, 3]."""
    import cv2

    width, height = SIDES
    picture = np.full((height, width, 3), _GROUND, np.uint8)
    *_, colour, last = name.split()
    if last in WORDS:
        overlay(picture, text_patch(last, height // 3), (0.5, 0.5))
        return picture
    shape: Shape = next(known for known in SHAPES if known == last)
    points = outline(shape) * (height * 0.36) + (width / 2, height / 2)
    rings = [np.round(points).astype(np.int32)]
    if shape == "ring":
        middle = points.mean(0)
        rings.append(np.round(middle + (points - middle) * 0.55).astype(np.int32))
    cv2.fillPoly(picture, rings, RGB[colour], cv2.LINE_AA)
    return picture


def write_card(name: str, path: Path, seconds: float, fps: float) -> None:
    """A still video of a card."""
    picture = card(name)
    count = max(1, round(seconds * fps))
    write_video(path, (picture for _ in range(count)), Fraction(fps).limit_denominator(1001))
