"""Score how much of a clip lies under something that stands still while pictures change.

A watermark or a channel's logo keeps its edges in place from shot to shot; nothing else does. So
the edges of a video's unlike pictures are laid over one another, and where four in five of them
agree in direction something lies over the picture (after Dekel et al. 2017, who estimate watermarks
so). It needs no model and no list of logos. It needs pictures that differ: one shot of a camera on
a tripod says nothing, and then there is no score, which is not a zero. Subtitles change, so they
are `read_ocr`'s.

The share is of the whole picture and counts what a clip itself shows of it: an overlay that fades
in with the second scene is not held against the first.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from clipmill.schemas.records import Frame, Part
from clipmill.stages.models.frame_choice import spread
from clipmill.stages.score.score_visual import inner
from clipmill.stages.stage import Stage, StageSettings

WIDTH = 320
"""Width in pixels at which edges are compared."""
COARSE = (32, 24)
CHANGED, LEVELS = 0.6, 16
"""Two pictures are unlike where such a share of their areas differs by so many levels of 255."""
MOST = 32
"""Unlike pictures that are laid over one another at most."""
EDGE = 40.0
"""Sobel gradient from which a pixel is on an edge: a step of ten levels."""
AGREE = 0.8
"""Mean length of the pictures' edge directions from which they agree; 1 is in all the same way."""
MARGIN = 3
"""Pixels along the inner side of bars that are left out: their own edge stands still too."""

REACH = 9
"""Pixels across which strokes belong together."""

Picture = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Directions = npt.NDArray[np.float32]
"""Of edges, rows x columns x (right, down): unit length on edges, zero elsewhere."""


class Settings(StageSettings):
    layer: str = "shots"
    """Layer whose segments are scored."""
    frames: int = Field(default=4, ge=1)
    """At most so many frames a clip, spread over it."""
    pictures: int = Field(default=3, ge=3)
    """Without so many unlike pictures there is no score."""
    name: str = Field(default="overlay", pattern=r"^[a-z0-9_]+$")
    """Name of the score: share of the picture, 0 to 1."""


class ScoreOverlay(Stage[Settings]):
    """Score the share of the picture under a watermark or logo, by what stands still."""

    settings: Settings
    needs: ClassVar = {"frames", "segments:{layer}"}
    provides: ClassVar = {"scores:{name}"}

    def process(self, part: Part) -> Part:
        settings = self.settings
        shown = {
            segment.id: [decoded(frame) for frame in frames]
            for segment in part.video.layer(settings.layer)
            if (frames := spread(part.frames.get(segment.id, []), settings.frames))
        }
        owners = [name for name, own in shown.items() for _ in own]
        pictures = [picture for own in shown.values() for picture in own]
        unlike = unlike_pictures(pictures)
        if len(unlike) < settings.pictures:
            return part
        found = {place: edges(pictures[place]) for place in unlike}
        inside = within(inner([pictures[place].max(axis=2) for place in unlike]), pictures[0])
        for segment in part.video.layer(settings.layer):
            if segment.id not in shown:
                continue
            # The others say what stands still, else a clip's own texture would choose what agrees.
            others = [found[place] for place in unlike if owners[place] != segment.id]
            still = np.mean(others if len(others) > 1 else list(found.values()), axis=0)
            lies = inside & (np.linalg.norm(still, axis=2) >= AGREE)
            own = np.mean([edges(picture) for picture in shown[segment.id]], axis=0)
            segment.scores[settings.name] = share(lies & shows(own, still, lies))
        return part


def decoded(frame: Frame) -> Picture:
    """A sampled frame in colour, at most `WIDTH` wide."""
    import cv2

    picture: Any = cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR)
    width = min(WIDTH, picture.shape[1])
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))


def unlike_pictures(pictures: list[Picture]) -> list[int]:
    """Places of pictures of which each differs from all before it nearly everywhere."""
    import cv2

    small = [cv2.resize(p, COARSE, interpolation=cv2.INTER_AREA).astype(int) for p in pictures]
    found: list[int] = []
    for place, picture in enumerate(small):
        differs = [(np.abs(picture - small[o]).max(axis=2) >= LEVELS).mean() for o in found]
        if all(share >= CHANGED for share in differs):
            found.append(place)
    return [found[k * len(found) // MOST] for k in range(MOST)] if len(found) > MOST else found


def within(sides: tuple[int, int, int, int], picture: Picture) -> Mask:
    """The inside of bars, `MARGIN` away from their edge."""
    top, bottom, left, right = sides
    mask = np.zeros(picture.shape[:2], bool)
    mask[top + MARGIN : bottom - MARGIN, left + MARGIN : right - MARGIN] = True
    return mask


def edges(picture: Picture) -> Directions:
    """Where a picture has edges, and which way they rise."""
    import cv2

    luma = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    slope = np.stack([cv2.Sobel(luma, cv2.CV_32F, *way) for way in ((1, 0), (0, 1))], axis=2)
    length = np.linalg.norm(slope, axis=2, keepdims=True)
    return np.asarray(np.where(length >= EDGE, slope / np.maximum(length, EDGE), 0), np.float32)


def shows(own: Directions, still: Directions, lies: Mask) -> Mask:
    """Where a clip's own edges run along those that stand still, on the mean of a neighbourhood:
    single edges of a fine texture do so by chance.
    """
    import cv2

    along = np.where(lies, (own * still).sum(axis=2), 0).astype(np.float32)
    near = (REACH, REACH)
    mean = cv2.blur(along, near) / np.maximum(cv2.blur(lies.astype(np.float32), near), 1e-6)
    return np.asarray(mean > AGREE / 2)


def share(lies: Mask) -> float:
    """Share of the picture within edges: gaps between strokes closed, lone specks left out."""
    import cv2

    mask = lies.astype(np.uint8)
    stroke = np.ones((3, 3), np.uint8)
    near = cv2.filter2D(mask, cv2.CV_16S, stroke.astype(np.float32))
    mask[near < 3] = 0
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((REACH, REACH), np.uint8))
    return float(closed.mean())
