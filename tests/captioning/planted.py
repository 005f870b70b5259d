"""Painted clips with known truth, and teachers that know it and err at a planted rate.

A teacher is told which clip it is asked about by the request's id alone, and says the scene's own
caption or one with a wrong slot. What it errs in follows from clip and teacher, so a run repeats.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Frame, Part, Probe, Stream, Video
from clipmill.stages.compose.paint import ScenePainter
from clipmill.stages.compose.scenes import Settings, plan
from clipmill.stages.compose.wording import captions
from clipmill.stages.compose.world import COLOURS, MOTIONS, SHAPES, Scene
from clipmill.stages.models.identity import ModelIdentity
from clipmill.stages.models.teacher import Reply, Request
from clipmill.stages.models.teacher_settings import TeacherSettings

FPS = 8
TOPICS = {
    "bare": ("plain", "gradient"),
    "drawn": ("stripes", "checker"),
    "land": ("grass", "sand"),
    "blue": ("water", "sky"),
}
BOARD = Settings(
    width=96,
    height=72,
    fps=FPS,
    min_scenes=4,
    max_scenes=4,
    min_seconds=2,
    max_seconds=2,
    narration=False,
    second_things=0.0,
    upsets=0.0,
    gradual=0.0,
    words=0.0,
)


@dataclass
class World:
    """Painted clips by `video/segment`, and the parts that hold them."""

    parts: list[Part]
    scenes: dict[str, Scene]

    def keys(self) -> list[str]:
        return list(self.scenes)


def painted(videos: int, frames: int = 1, seed: int = 5, scenes: int = 4) -> World:
    """`videos` parts of so many clips each, every clip with some frames as a sampler takes them."""
    world = World([], {})
    for number in range(videos):
        length = {"min_scenes": scenes, "max_scenes": scenes}
        board = plan(
            BOARD.model_copy(update=length), "clean", np.random.default_rng([seed, number])
        )
        video = Video(f"v{number:03d}", f"v{number:03d}.mp4")
        ends = [start * 1000 // FPS for start in board.starts()]
        stream = Stream(0, "video", "h264", MILLISECONDS, first=0, end=ends[-1])
        video.probe = Probe("mp4", 0, ends[-1] / 1000, 0, [stream])
        spans = [Span(MILLISECONDS, a, b) for a, b in itertools.pairwise(ends)]
        video.add_segments("shots", spans)
        part = Part(video)
        for segment, scene in zip(video.segments, board.scenes, strict=True):
            world.scenes[f"{video.id}/{segment.id}"] = scene
            part.frames[segment.id] = _frames(scene, segment.span, frames)
        world.parts.append(part)
    return world


def _frames(scene: Scene, span: Span, count: int) -> list[Frame]:
    painter = ScenePainter(scene, BOARD.width, BOARD.height, FPS)
    found = []
    for k in range(count):
        number = (2 * k + 1) * scene.frames // (2 * count)
        file = io.BytesIO()
        Image.fromarray(painter.frame(number)).save(file, "JPEG", quality=92)
        tick = span.start + number * 1000 // FPS
        found.append(Frame(MILLISECONDS, tick, file.getvalue(), BOARD.width, BOARD.height))
    return found


def topic(scene: Scene) -> str:
    return next(name for name, places in TOPICS.items() if scene.backdrop in places)


def right(scene: Scene) -> str:
    return captions(scene).brief[0]


def wrong(scene: Scene, draw: int) -> str:
    """The scene's caption with another shape, colour or motion."""
    thing = scene.things[0]
    slot = ("shape", "colour", "motion")[draw % 3]
    names = {"shape": SHAPES, "colour": COLOURS, "motion": MOTIONS}[slot]
    others = [name for name in names if name != getattr(thing, slot)]
    other = replace(thing, **{slot: others[draw // 3 % len(others)]})
    return captions(replace(scene, things=(other, *scene.things[1:]))).brief[0]


class Planted:
    """A teacher at the edge that errs where `errs` says, by (its name, key of the clip)."""

    def __init__(
        self,
        settings: TeacherSettings,
        world: World,
        errs: Callable[[str, str], bool],
    ) -> None:
        self.settings = settings
        self.identity = ModelIdentity(settings.model, "1")
        self.world, self.errs = world, errs
        self.asked: list[Request] = []

    def setup(self) -> None: ...

    def close(self) -> None: ...

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        self.asked += requests
        return [
            Reply(r.id, json.dumps({"caption": self._caption("/".join(r.id.split("/")[:2]))}))
            for r in requests
        ]

    def _caption(self, key: str) -> str:
        scene = self.world.scenes[key]
        name = self.settings.model
        return wrong(scene, draw(name, key, "slot")) if self.errs(name, key) else right(scene)


def draw(*names: str) -> int:
    """A number that follows from names alone."""
    return int.from_bytes(hashlib.blake2b("|".join(names).encode(), digest_size=4).digest())


def chance(*names: str) -> float:
    return draw(*names) / 2**32
