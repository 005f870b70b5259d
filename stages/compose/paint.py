"""Paint the frames of a scene: backdrop, camera, things, word, and the disturbances inside it.

Shapes are polygons with sixteenths of a pixel, so slow motion is smooth and the truth's boxes are
those of the polygons that were filled. The world carries the things and the backdrop under the
camera; the on-screen word lies above it and never moves.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from clipmill.stages.compose.backdrops import paint_backdrop
from clipmill.stages.compose.world import RGB, Scene, Shape, Thing

Picture = NDArray[np.uint8]
Box = tuple[float, float, float, float]
_Points = NDArray[np.float64]

ZOOM = 1.35
"""How much larger a zoomed-in picture is; below about 1.2 a zoom is hard to see in four frames."""

WHIP_WIDTHS = 2.0
"""How far a whip pan swings, in picture widths: far enough that nothing stays in view."""


class ScenePainter:
    """Frames and boxes of one scene; frame numbers may lie outside [0, frames) for blends."""

    def __init__(self, scene: Scene, width: int, height: int, fps: int) -> None:
        self.scene, self.width, self.height, self.fps = scene, width, height, fps
        rng = np.random.default_rng([scene.texture_seed, 7])
        canvas = paint_backdrop(scene.backdrop, scene.tone, width, height, rng)
        self._canvas = np.concatenate([canvas, canvas, canvas[:, :2]], axis=1)
        self._word = text_patch(scene.word, max(16, height // 7)) if scene.word else None

    def frame(self, number: int) -> Picture:
        """The RGB picture of frame `number` of the scene."""
        import cv2

        zoom, offset = self._camera(number)
        if zoom == 1.0 and offset == 0.0:
            picture = self._canvas[:, : self.width].copy()
        else:
            picture = cv2.warpAffine(
                self._canvas, self._matrix(zoom, offset % self.width), (self.width, self.height)
            )
        for thing in self.scene.things:
            self._draw(picture, thing, number, zoom, offset)
        speed = abs(self._whip(number + 0.5) - self._whip(number - 0.5)) * self.width
        if speed > 4:
            picture = cv2.blur(picture, (int(speed / 2) | 1, 1))
        if self._word is not None:
            overlay(picture, self._word, (0.5, 0.9))
        for upset in self.scene.upsets:
            if upset.kind == "flash" and self._inside(number, upset.start, upset.end):
                picture = cv2.addWeighted(picture, 0.08, np.full_like(picture, 255), 0.92, 0)
        return np.asarray(picture, np.uint8)

    def boxes(self, number: int) -> list[Box]:
        """Per thing the box (x0, y0, x1, y1) in pixels, clipped; of zero area when out of view."""
        zoom, offset = self._camera(number)
        found = []
        for thing in self.scene.things:
            points = self._outline(thing, number, zoom, offset)
            low, high = points.min(0), points.max(0)
            x = np.clip([low[0], high[0]], 0, self.width)
            y = np.clip([low[1], high[1]], 0, self.height)
            found.append((float(x[0]), float(y[0]), float(x[1]), float(y[1])))
        return found

    def _inside(self, number: int, start: float, end: float) -> bool:
        return round(start * self.fps) <= number < round(end * self.fps)

    def _share(self, number: float) -> float:
        return number / max(1, self.scene.frames - 1)

    def _camera(self, number: int) -> tuple[float, float]:
        """Magnification and how many pixels the view has moved to the right."""
        scene, share = self.scene, self._share(number)
        offset = self._whip(number) * self.width
        zoom = 1.0
        if scene.camera == "zoom_in":
            zoom = 1 + (ZOOM - 1) * share
        elif scene.camera == "zoom_out":
            zoom = ZOOM - (ZOOM - 1) * share
        elif scene.camera in ("pan_left", "pan_right"):
            # From the middle of the scene, so that things drift through their planned place.
            seconds = (number - (scene.frames - 1) / 2) / self.fps
            way = -1 if scene.camera == "pan_left" else 1
            offset += way * seconds * scene.pan_speed * self.width
        return max(1.0, zoom), offset

    def _whip(self, number: float) -> float:
        for upset in self.scene.upsets:
            if upset.kind == "whip_pan":
                share = (number / self.fps - upset.start) / (upset.end - upset.start)
                if 0 < share < 1:
                    return WHIP_WIDTHS * math.sin(math.pi * share) ** 2
        return 0.0

    def _matrix(self, zoom: float, offset: float) -> _Points:
        x, y = self.width / 2, self.height / 2
        return np.array([[zoom, 0, (1 - zoom) * x - zoom * offset], [0, zoom, (1 - zoom) * y]])

    def _outline(self, thing: Thing, number: int, zoom: float, offset: float) -> _Points:
        share = self._share(number)
        scale = thing.scale[0] + (thing.scale[1] - thing.scale[0]) * share
        angle = 2 * math.pi * thing.turns * share
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        centre = np.array(thing.start) + (np.array(thing.end) - np.array(thing.start)) * share
        points = outline(thing.shape) @ turn * (thing.radius * self.height * scale)
        points = points + centre * (self.width, self.height)
        drift = self._whip(number) * self.width if self.scene.follow else offset
        matrix = self._matrix(zoom, drift)
        return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])

    def _draw(
        self, picture: Picture, thing: Thing, number: int, zoom: float, offset: float
    ) -> None:
        import cv2

        points = self._outline(thing, number, zoom, offset)
        if points[:, 0].max() < -2 or points[:, 0].min() > self.width + 2:
            return
        colour = RGB[thing.colour]
        fixed = [np.round(points * 16).astype(np.int32)]
        if thing.shape == "ring":
            centre = points.mean(0)
            fixed.append(np.round((centre + (points - centre) * 0.55) * 16).astype(np.int32))
        cv2.fillPoly(picture, fixed, colour, cv2.LINE_AA, 4)


@lru_cache(maxsize=32)
def outline(shape: Shape) -> _Points:
    """A shape's outline as (N, 2) points inside the unit circle, y down."""
    if shape in ("circle", "ring"):
        return _ray(np.arange(48) / 48, 1.0)
    if shape == "square":
        return _ray(np.arange(4) / 4 + 1 / 8, 1.1)
    if shape == "diamond":
        return _ray(np.arange(4) / 4, 1.0) * (0.72, 1.1)
    if shape == "triangle":
        return _ray(np.arange(3) / 3 - 1 / 4, 1.1)
    if shape == "star":
        radii = np.where(np.arange(10) % 2 == 0, 1.1, 0.45)
        return _ray(np.arange(10) / 10 - 1 / 4, radii)
    if shape == "cross":
        a, b = 0.34, 1.0
        quarter = np.array([[a, a], [b, a], [b, -a]])
        turn = np.array([[0.0, -1.0], [1.0, 0.0]])
        return np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])
    # moon: a disc less a smaller disc to its right
    outer = _ray(np.linspace(0.14, 0.86, 36), 1.05)
    inner = _ray(np.linspace(0.76, 0.24, 36), 0.72)
    first, last = outer[0], outer[-1]
    height = (first[1] - last[1]) / (inner[-1][1] - inner[0][1])
    inner = inner * (1.0, height) + (first[0] - inner[-1][0], 0.0)
    return np.concatenate([outer, inner[1:-1]])


def _ray(turns: NDArray[np.float64], radius: float | NDArray[np.float64]) -> _Points:
    angle = 2 * np.pi * turns
    return np.stack([np.cos(angle) * radius, np.sin(angle) * radius], axis=1)


@lru_cache(maxsize=256)
def text_patch(text: str, pixels: int, opacity: float = 1.0) -> Picture:
    """A text as an RGBA patch, white with a dark rim, in Pillow's own font."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=pixels)
    rim = max(1, pixels // 12)
    box = ImageDraw.Draw(Image.new("L", (1, 1))).textbbox((0, 0), text, font, stroke_width=rim)
    size = (math.ceil(box[2] - box[0]) + 2, math.ceil(box[3] - box[1]) + 2)
    image = Image.new("RGBA", size, (0, 0, 0, 0))
    ImageDraw.Draw(image).text(
        (1 - box[0], 1 - box[1]),
        text,
        (255, 255, 255, 255),
        font,
        stroke_width=rim,
        stroke_fill=(0, 0, 0, 255),
    )
    patch = np.array(image)
    patch[:, :, 3] = (patch[:, :, 3] * opacity).astype(np.uint8)
    return patch


def overlay(picture: Picture, patch: Picture, centre: tuple[float, float]) -> None:
    """Blend an RGBA patch onto a picture around a point given as shares of its sides."""
    height, width = picture.shape[:2]
    tall, wide = min(patch.shape[0], height), min(patch.shape[1], width)
    patch = patch[:tall, :wide]
    x = round(min(max(centre[0] * width - wide / 2, 0), width - wide))
    y = round(min(max(centre[1] * height - tall / 2, 0), height - tall))
    under = picture[y : y + tall, x : x + wide]
    share = patch[:, :, 3:].astype(np.float32) / 255
    picture[y : y + tall, x : x + wide] = under * (1 - share) + patch[:, :, :3] * share
