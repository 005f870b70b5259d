"""Keep the frames that look different from the last kept one: one of each slide, of each view.

Structural similarity of small grey pictures (Wang et al. 2004), which notices a new line on a slide
and not the noise of the camera, and needs no model. `thin_frames` asks an image-text encoder
instead, which takes two slides for the same kind of thing. With `carry` a slide that stays on over
several clips is kept in the first of them alone; a clip may then have no frame left, so what has to
see every clip stands in front of this stage. With `last` the last of frames alike is kept: a slide
that is written while the camera watches is complete at its end.
"""

from __future__ import annotations

from io import BytesIO
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field

from clipmill.schemas.records import Frame, Part
from clipmill.stages.stage import Stage, StageSettings

Gray = npt.NDArray[np.float32]
"""float32 [height, width], 0 to 255."""

SIDE = 192
"""Longer side of the pictures that are compared; text of a slide's size still shows."""


class Settings(StageSettings):
    layer: str = "shots"
    """Layer whose frames are thinned out."""
    alike: float = Field(default=0.95, ge=0, le=1)
    """Structural similarity from which on two frames show the same. Most of a slide is empty: one
    line more on it gives about 0.93, noise alone 0.99; views of a moving camera lie far below."""
    carry: bool = False
    """Hold a segment's first frame against the last one of the segment before."""
    last: bool = False
    """Keep the last of frames that look alike, not the first."""


class DistinctFrames(Stage[Settings]):
    """Keep frames that look different from the last kept one."""

    settings: Settings
    needs: ClassVar = {"frames", "segments:{layer}"}
    provides: ClassVar = {"frames", "scores:distinct_frames"}

    def process(self, part: Part) -> Part:
        settings = self.settings
        before: Gray | None = None
        for segment in part.video.layer(settings.layer):
            frames = part.frames.get(segment.id, [])
            kept: list[Frame] = []
            shown = before if settings.carry else None
            for frame in frames:
                picture = gray(frame.jpeg)
                if shown is None or similarity(shown, picture) < settings.alike:
                    kept.append(frame)
                    shown = picture
                elif settings.last and kept:
                    kept[-1], shown = frame, picture
            before = shown
            if segment.id in part.frames:
                part.frames[segment.id] = kept
                segment.scores["distinct_frames"] = float(len(kept))
        return part


def gray(jpeg: bytes) -> Gray:
    """A picture in grey, its longer side at most `SIDE` pixels."""
    picture = Image.open(BytesIO(jpeg)).convert("L")
    picture.thumbnail((SIDE, SIDE))
    return np.asarray(picture, np.float32)


def similarity(a: Gray, b: Gray) -> float:
    """Mean structural similarity, 1 for equal pictures; pictures of two sizes have none."""
    import cv2

    if a.shape != b.shape:
        return 0.0

    def mean(values: Gray) -> Gray:
        return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5), np.float32)

    light, contrast = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    both = mean(a * b) - mean_a * mean_b
    above = (2 * mean_a * mean_b + light) * (2 * both + contrast)
    below = (mean_a**2 + mean_b**2 + light) * (var_a + var_b + contrast)
    return float((above / below).mean())
