"""Score a clip's technical quality by measuring: size, shape, black bars, blur.

What pictures are rejected for before anyone asks whether they are beautiful, and all of it without
a model. Size and shape are those of the picture as displayed. Bars are rows and columns that stay
black in every frame that is not black itself. Blur is the measure of Crete et al. (2007): how
little a picture loses when it is blurred again; 0 is sharp, 1 is blurred, and it depends on the
size at which `sample_frames` took the pictures, so a threshold belongs to its `max_side`. Light,
saturation and motion are `describe_clip`'s, text is `read_ocr`'s, watermarks `score_overlay`'s.
"""

from __future__ import annotations

from statistics import fmean
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from clipmill.schemas.records import Frame, Part
from clipmill.stages.media.frames import display_size
from clipmill.stages.media.probe import probed
from clipmill.stages.models.frame_choice import spread
from clipmill.stages.stage import Stage, StageSettings

BLACK = 24
"""Luma of 255 up to which a pixel can belong to a bar; video black is 16 and coding adds some."""
SPECKS = 0.02
"""Share of a bar's pixels that may be brighter: ringing along its edge."""
TAPS = 9
"""Width of the low-pass filter in pixels, as in the paper."""
NOISE = 3
"""Steps of so many levels between neighbours are coding noise and say nothing about blur."""

Gray = npt.NDArray[np.uint8]


class Settings(StageSettings):
    layer: str = "shots"
    """Layer whose segments are scored."""
    frames: int = Field(default=4, ge=1)
    """At most so many frames a clip, spread over it."""


class ScoreVisual(Stage[Settings]):
    """Score size, shape, black bars and blur of clips."""

    settings: Settings
    needs: ClassVar = {"probe", "frames", "segments:{layer}"}
    provides: ClassVar = {f"scores:{name}" for name in ("short_side", "aspect", "bars", "blur")}

    def process(self, part: Part) -> Part:
        width, height = display_size(probed(part.video).picture)
        for segment in part.video.layer(self.settings.layer):
            segment.scores["short_side"] = float(min(width, height))
            segment.scores["aspect"] = width / height
            frames = spread(part.frames.get(segment.id, []), self.settings.frames)
            if frames:  # none: not computed
                pictures = [gray(frame) for frame in frames]
                top, bottom, left, right = inner(pictures)
                whole = pictures[0].size
                segment.scores["bars"] = 1 - (bottom - top) * (right - left) / whole
                segment.scores["blur"] = fmean(
                    blur(picture[top:bottom, left:right]) for picture in pictures
                )
        return part


def gray(frame: Frame) -> Gray:
    """A sampled frame's luma, rows x columns."""
    import cv2

    decoded: Any = cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    return np.asarray(decoded, np.uint8)


def inner(pictures: list[Gray]) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of what bars leave; the whole picture where nothing is seen."""
    lit = [picture > BLACK for picture in pictures]
    lit = [each for each in lit if each.mean() > SPECKS]
    height, width = pictures[0].shape
    if not lit:
        return 0, height, 0, width
    rows = np.max([each.mean(axis=1) for each in lit], axis=0) > SPECKS
    top, bottom = int(rows.argmax()), height - int(rows[::-1].argmax())
    columns = np.max([each[top:bottom].mean(axis=0) for each in lit], axis=0) > SPECKS
    return top, bottom, int(columns.argmax()), width - int(columns[::-1].argmax())


def blur(picture: Gray) -> float:
    """Blur between 0 and 1, the worse of both directions; a picture without any edge is blurred."""
    import cv2

    worst = 0.0
    for axis, taps in ((0, (1, TAPS)), (1, (TAPS, 1))):
        again = cv2.blur(picture, taps).astype(np.int16)
        sharp, soft = (np.abs(np.diff(p.astype(np.int16), axis=axis)) for p in (picture, again))
        real = sharp > NOISE
        total = float(sharp[real].sum())
        lost = float(np.maximum(sharp - soft, 0)[real].sum())
        worst = max(worst, 1 - lost / total if total else 1.0)
    return worst
