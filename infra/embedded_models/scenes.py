"""Rendered clips for training and for testing, apart by seed and by what they show.

A clip is four frames of one scene, painted as `render_synthetic` paints it and brought to the
pictures a model sees: JPEG, then 128 x 96 pixels. Encoding a video for every clip would cost a
hundred times as much and change nothing a model this small can see; compression is varied instead.

One in eight combinations of shape, colour, motion and background is held out. No thing of a
training scene has a held-out combination, and the first thing of every test scene has one, so a
model that learnt scenes by heart instead of their parts fails the test.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipmill.stages.compose.paint import ScenePainter
from clipmill.stages.compose.scenes import Settings, random_scene
from clipmill.stages.compose.world import COLOURS, SHAPES, Scene, Thing

WIDTH, HEIGHT = 128, 96
PATCH = 8
FRAMES = 4
ROWS, COLUMNS = HEIGHT // PATCH, WIDTH // PATCH
TRAIN_SEED, TEST_SEED = 20_000, 90_000
_FPS = 24
_CORE = Settings(moving_camera=0.0, words=0.3, second_things=0.3)
_CROWDED = Settings(moving_camera=0.0, words=0.3, second_things=0.7)


@dataclass(slots=True)
class Clips:
    """`frames` uint8 [n, 4, 96, 128, 3]; per patch which thing covers it (0 none, 1, 2)."""

    scenes: list[Scene]
    times: NDArray[np.float64]  # seconds of the frames [n, 4]
    frames: NDArray[np.uint8]
    covers: NDArray[np.uint8]  # [n, 4, 12, 16]
    places: NDArray[np.float32]  # [n, 4, 2, 3]: centre x, y and radius as shares, per thing

    def save(self, path: Path) -> None:
        """Whole or not at all: training rereads the folder while clips are still rendered."""
        partial = path.with_suffix(".part")
        with partial.open("wb") as file:
            np.savez(
                file,
                scenes=np.array(self.scenes, object),
                **{name: getattr(self, name) for name in ("times", "frames", "covers", "places")},
            )
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Clips:
        """A file written by `save` here; it holds pickles, so none from elsewhere."""
        with np.load(path, allow_pickle=True) as file:
            arrays = {name: file[name] for name in file.files}
        return cls(list(arrays.pop("scenes")), **arrays)

    def __len__(self) -> int:
        return len(self.scenes)


def held_out(thing: Thing, backdrop: str) -> bool:
    """Whether this combination is kept for testing."""
    key = f"{thing.shape} {thing.colour} {thing.motion} {backdrop}"
    return hashlib.blake2b(key.encode(), digest_size=1).digest()[0] % 8 == 0


def draw_scene(rng: np.random.Generator, test: bool, plan: Settings = _CORE) -> Scene:
    """A scene of the wanted side of the split; 1.5 to 8 seconds long."""
    while True:
        scene = random_scene(rng, round(float(rng.uniform(1.5, 8.0)) * _FPS), plan)
        kept = [held_out(thing, scene.backdrop) for thing in scene.things]
        if kept[0] if test else not any(kept):
            return scene


def render_clips(seed: int, count: int, *, crowded: bool = False) -> Clips:
    """`count` training clips; the same seed gives the same clips.

    `crowded` are the hard ones: mostly two things, and frames anywhere in their quarter of a clip,
    as four of eight evenly spread ones are.
    """
    rng = np.random.default_rng([TRAIN_SEED, seed])
    plan = _CROWDED if crowded else _CORE
    scenes = [draw_scene(rng, False, plan) for _ in range(count)]
    clips = Clips(
        scenes,
        np.zeros((count, FRAMES)),
        np.zeros((count, FRAMES, HEIGHT, WIDTH, 3), np.uint8),
        np.zeros((count, FRAMES, ROWS, COLUMNS), np.uint8),
        np.zeros((count, FRAMES, 2, 3), np.float32),
    )
    for number, scene in enumerate(scenes):
        painter = ScenePainter(scene, 320, 240, _FPS)
        shares = _shares(rng, 0.45 if crowded else 0.25)
        start = float(rng.uniform(0, 60))
        quality = int(rng.integers(55, 96))
        for place, share in enumerate(shares):
            frame = round(share * (scene.frames - 1))
            clips.times[number, place] = start + frame / _FPS
            clips.frames[number, place] = shrink(jpeg(painter.frame(frame), quality))
            _label(clips, number, place, painter, frame)
    return clips


def _shares(rng: np.random.Generator, off: float) -> NDArray[np.float64]:
    """Where the four frames lie in the scene: `off` even at most, some clips miss its ends."""
    first, last = 0.0, 1.0
    if rng.random() < 0.3:
        first, last = float(rng.uniform(0, 0.2)), float(rng.uniform(0.8, 1.0))
    even = (np.arange(FRAMES) + 0.5 + rng.uniform(-off, off)) / FRAMES
    found: NDArray[np.float64] = first + (last - first) * even
    return found


def _label(clips: Clips, number: int, place: int, painter: ScenePainter, frame: int) -> None:
    for index, (thing, box) in enumerate(
        zip(painter.scene.things, painter.boxes(frame), strict=True)
    ):
        x0, y0, x1, y1 = (side * WIDTH / 320 for side in box)
        across = np.clip(
            np.minimum(x1, _edges(COLUMNS) + PATCH) - np.maximum(x0, _edges(COLUMNS)), 0, None
        )
        down = np.clip(np.minimum(y1, _edges(ROWS) + PATCH) - np.maximum(y0, _edges(ROWS)), 0, None)
        covered = down[:, None] * across[None] > 0.3 * PATCH**2
        clips.covers[number, place][covered] = index + 1
        share = frame / max(1, painter.scene.frames - 1)
        scale = thing.scale[0] + (thing.scale[1] - thing.scale[0]) * share
        centre = np.array(thing.start) * (1 - share) + np.array(thing.end) * share
        clips.places[number, place, index] = (*centre, thing.radius * scale)


def _edges(count: int) -> NDArray[np.int64]:
    return np.arange(count) * PATCH


def jpeg(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """The picture as it comes back from a JPEG."""
    _, data = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1], np.uint8)


def shrink(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """To the processor's size, by the processor's filter."""
    small = Image.fromarray(picture).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    return np.asarray(small, np.uint8)


def slot_ids(scene: Scene, thing: int) -> tuple[int, int]:
    """(shape, colour) of a thing as numbers."""
    return SHAPES.index(scene.things[thing].shape), COLOURS.index(scene.things[thing].colour)
