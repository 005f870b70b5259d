"""Plan scenes and whole storyboards from a seed.

The planner only makes scenes whose slots can be seen: no green thing on grass, no spinning circle,
no pan over a plain backdrop, no camera move that would cancel or imitate the motion of a thing.
Neighbouring scenes differ in backdrop and in the colour of what they show, so that every planned
border is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeVar

import numpy as np
from pydantic import Field

from clipmill.stages.compose.speech import say
from clipmill.stages.compose.wording import FILLERS, spoken
from clipmill.stages.compose.world import (
    BACKDROPS,
    CLASH,
    COLOURS,
    MOTIONS,
    PLAIN_TONES,
    SHAPES,
    SIZES,
    SOUNDS,
    TEXTURED,
    WORDS,
    Camera,
    Line,
    Motion,
    Scene,
    SoundEvent,
    Storyboard,
    Thing,
    Transition,
    Upset,
)
from clipmill.stages.stage import StageSettings

T = TypeVar("T")

WrongCaption = Literal[
    "wrong_caption", "wrong_object", "wrong_colour", "wrong_motion", "wrong_background"
]
"""Defects of the caption that comes with a video: another scene's, or wrong in one slot."""
Variant = (
    Literal[
        "clean",
        "static",
        "duplicate",
        "watermark",
        "wrong_aspect",
        "low_resolution",
        "text_heavy",
        "two_scenes",
        "too_fast",
        "scrambled",
    ]
    | WrongCaption
)

LEAD = 0.3
"""Seconds from a scene's start to a sentence that has no lag."""

PAUSE = 0.4
"""Least seconds of silence between two sentences."""


class Settings(StageSettings):
    """How videos are planned and rendered."""

    count: int = Field(1, ge=1)
    """How many videos."""
    seed: int = Field(0, ge=0)
    """Same seed and settings, same bytes."""
    width: int = Field(320, ge=32, le=1920, multiple_of=2)
    """Width in pixels."""
    height: int = Field(240, ge=32, le=1080, multiple_of=2)
    """Height in pixels."""
    fps: int = Field(24, ge=4, le=60)
    """Frames per second."""
    min_scenes: int = Field(3, ge=1, le=12)
    """Fewest scenes of a video."""
    max_scenes: int = Field(6, ge=1, le=12)
    """Most scenes of a video."""
    min_seconds: float = Field(3.0, ge=1.0)
    """Shortest scene; narrated scenes last as long as what is said."""
    max_seconds: float = Field(5.0, ge=1.0)
    """Longest scene that has nothing to wait for."""
    narration: bool = True
    """Speak a sentence about every scene."""
    min_lag: float = Field(0.0, ge=-8.0, le=8.0)
    """Least seconds by which a sentence comes after (or, below zero, before) its scene."""
    max_lag: float = Field(0.0, ge=-8.0, le=8.0)
    """Most seconds by which a sentence comes after its scene."""
    fillers: float = Field(0.2, ge=0.0, le=1.0)
    """Share of scenes in which something is said that has nothing to do with the picture."""
    gradual: float = Field(0.2, ge=0.0, le=1.0)
    """Share of borders that are dissolves or fades through black."""
    upsets: float = Field(0.15, ge=0.0, le=1.0)
    """Share of scenes with a flash or a whip pan inside."""
    words: float = Field(0.3, ge=0.0, le=1.0)
    """Share of scenes with a word on the screen."""
    sounds: float = Field(0.25, ge=0.0, le=1.0)
    """Share of scenes with a beep, a chirp or a burst of noise."""
    second_things: float = Field(0.3, ge=0.0, le=1.0)
    """Share of scenes with two things."""
    moving_camera: float = Field(0.35, ge=0.0, le=1.0)
    """Share of scenes under a panning or zooming camera, where it could be seen."""
    variants: tuple[Variant, ...] = ()
    """Defects to plant, one in a video, in turn."""
    variant_share: float = Field(0.4, ge=0.0, le=1.0)
    """Share of videos with a planted defect, where `variants` names any."""
    crf: int = Field(18, ge=0, le=40)
    """Constant quality of the encoding; lower is better and larger."""


def pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    return items[int(rng.integers(len(items)))]


def random_scene(
    rng: np.random.Generator, frames: int, settings: Settings, before: Scene | None = None
) -> Scene:
    """A scene without transition, upsets or sounds, unlike the one `before` it."""
    used = before.backdrop if before else ""
    backdrop = pick(rng, [kind for kind in BACKDROPS if kind != used])
    colours = [colour for colour in COLOURS if colour not in CLASH[backdrop]]
    if before:
        colours = [colour for colour in colours if colour != before.things[0].colour]
    rows = bool(rng.random() < 0.7)
    first_motion = pick(rng, [m for m in MOTIONS if m not in (("up", "down") if rows else _SIDE)])
    two = bool(rng.random() < settings.second_things)
    place = float(rng.uniform(0.38, 0.55)) if not two else 0.28
    first = _thing(rng, pick(rng, SHAPES), pick(rng, colours), first_motion, place, rows, two)
    things = [first]
    if two:
        shapes = [shape for shape in SHAPES if shape != first.shape]
        others = [colour for colour in colours if colour != first.colour]
        still: tuple[Motion, ...] = ("grow", "shrink", "rotate", "still")
        motion = pick(rng, (*(_SIDE if rows else _UPRIGHT), *still))
        things.append(
            _thing(rng, pick(rng, shapes), pick(rng, others), motion, 1 - place, rows, two)
        )
    camera: Camera = "static"
    if backdrop in TEXTURED and rng.random() < settings.moving_camera:
        camera = pick(rng, _cameras({thing.motion for thing in things}))
    return Scene(
        frames,
        tuple(things),
        backdrop,
        pick(rng, list(PLAIN_TONES)) if backdrop == "plain" else "",
        camera,
        pick(rng, WORDS) if rng.random() < settings.words else "",
        texture_seed=int(rng.integers(2**31)),
    )


_SIDE: tuple[Motion, ...] = ("left", "right")
_UPRIGHT: tuple[Motion, ...] = ("up", "down")


def _cameras(motions: set[Motion]) -> list[Camera]:
    """Camera moves that neither cancel nor imitate the motions; `static` where there is none."""
    found: list[Camera] = []
    if not motions & {"grow", "shrink"}:
        found += ["zoom_in", "zoom_out"]
    if not motions & {"left", "right"}:
        found += ["pan_left", "pan_right"]
    return found or ["static"]


def _thing(
    rng: np.random.Generator,
    shape: str,
    colour: str,
    motion: Motion,
    lane: float,
    rows: bool,
    two: bool,
) -> Thing:
    """A thing that keeps to its lane: a row or a column of the picture."""
    if motion == "rotate" and shape in ("circle", "ring"):
        shape = pick(rng, ["square", "triangle", "star", "cross"])
    size = pick(rng, SIZES)
    radius = (0.1 if size == "small" else 0.19) * (0.8 if two else 1.0)
    middle = float(rng.uniform(0.42, 0.58))
    near, far = float(rng.uniform(0.22, 0.3)), float(rng.uniform(0.7, 0.78))
    scale, turns = (1.0, 1.0), 0.0
    along = {"left": (far, near), "right": (near, far), "up": (far, near), "down": (near, far)}
    first, last = along.get(motion, (middle, middle))
    if motion == "grow":
        scale = (0.6, 1.3)
    elif motion == "shrink":
        scale = (1.3, 0.6)
    elif motion == "rotate":
        turns = float(rng.uniform(0.8, 1.6))
    start, end = ((first, lane), (last, lane)) if rows else ((lane, first), (lane, last))
    return Thing(shape, colour, size, motion, start, end, radius, scale, turns)  # type: ignore[arg-type]


def plan(settings: Settings, variant: Variant, rng: np.random.Generator) -> Storyboard:
    """A storyboard with everything placed: scenes, borders, upsets, sentences and sounds."""
    low, high = settings.min_scenes, max(settings.min_scenes, settings.max_scenes)
    count = int(rng.integers(low, high + 1))
    count = {"two_scenes": 2, "static": 1}.get(variant, count)
    scenes: list[Scene] = []
    texts: list[list[list[str]]] = []
    for _ in range(count):
        scene = random_scene(rng, 0, settings, scenes[-1] if scenes else None)
        scene = _unmoved(scene) if variant == "static" else scene
        scene = _hurried(scene, rng) if variant == "too_fast" else scene
        lines = _texts(scene, settings, rng) if settings.narration else []
        needed = LEAD + sum(say(line).seconds + PAUSE for line in lines) + 0.2 if lines else 0.0
        span = float(
            rng.uniform(settings.min_seconds, max(settings.min_seconds, settings.max_seconds))
        )
        scenes.append(replace(scene, frames=round(max(needed, span) * settings.fps)))
        texts.append(lines)
    for number in range(count - 1):
        gradual = variant != "two_scenes" and rng.random() < settings.gradual
        kind: Transition = pick(rng, ["dissolve", "fade"]) if gradual else "cut"  # type: ignore[list-item]
        length = 2 * round(float(rng.uniform(0.4, 0.8)) * settings.fps / 2) if gradual else 0
        scenes[number] = replace(scenes[number], into=kind, into_frames=length)
    if variant not in ("static", "too_fast"):
        scenes = [_upset(scene, settings, rng) for scene in scenes]
    board = Storyboard(settings.width, settings.height, settings.fps, tuple(scenes))
    board = replace(board, lines=_place(board, texts, settings, rng))
    return replace(board, scenes=_sounds(board, settings, rng))


def _unmoved(scene: Scene) -> Scene:
    things = tuple(
        replace(thing, motion="still", end=thing.start, scale=(1.0, 1.0), turns=0.0)
        for thing in scene.things
    )
    return replace(scene, things=things, camera="static")


def _hurried(scene: Scene, rng: np.random.Generator) -> Scene:
    """The same scene before a backdrop that rushes past."""
    if scene.backdrop not in ("stripes", "checker", "grass", "sky"):
        scene = replace(scene, backdrop="checker", tone="")
    camera: Camera = pick(rng, ["pan_left", "pan_right"])  # type: ignore[list-item]
    return replace(scene, camera=camera, follow=True, pan_speed=1.7)


def _texts(scene: Scene, settings: Settings, rng: np.random.Generator) -> list[list[str]]:
    lines = [spoken(scene, int(rng.integers(4)))]
    if rng.random() < settings.fillers:
        lines.append([pick(rng, FILLERS)])
    return lines


def _place(
    board: Storyboard,
    texts: list[list[list[str]]],
    settings: Settings,
    rng: np.random.Generator,
) -> tuple[Line, ...]:
    """Sentences in time order, each as near to its wish as those before it allow.

    A sentence that would reach past the video's end is left out.
    """
    wishes: list[tuple[float, int, bool, list[str]]] = []
    for number, lines in enumerate(texts):
        at = board.starts()[number] / board.fps + LEAD
        for line in lines:
            about = line[0] not in FILLERS
            lag = float(rng.uniform(settings.min_lag, max(settings.min_lag, settings.max_lag)))
            wishes.append((max(0.2, at + (lag if about else 0.0)), number, about, line))
            at += say(line).seconds + PAUSE
    placed: list[Line] = []
    free = 0.0
    for wish, number, about, line in sorted(wishes, key=lambda wish: wish[0]):
        start = round(max(wish, free), 3)
        length = say(line).seconds
        if start + length > board.seconds - 0.1:
            continue
        free = start + length + PAUSE
        placed.append(Line(tuple(line), number if about else None, start))
    return tuple(placed)


def _upset(scene: Scene, settings: Settings, rng: np.random.Generator) -> Scene:
    """A flash or a whip pan, a second away from both ends of the scene."""
    seconds = scene.frames / settings.fps
    if seconds < 3 or rng.random() >= settings.upsets:
        return scene
    start = round(float(rng.uniform(1.0, seconds - 1.6)) * settings.fps) / settings.fps
    if scene.backdrop in TEXTURED and rng.random() < 0.5:
        return replace(scene, upsets=(Upset("whip_pan", start, start + 0.5),))
    length = int(rng.integers(2, 4)) / settings.fps
    return replace(scene, upsets=(Upset("flash", start, start + length),))


def _sounds(board: Storyboard, settings: Settings, rng: np.random.Generator) -> tuple[Scene, ...]:
    """Sound events in the silences; a scene with no room for one stays without."""
    speech = [(line.start, line.start + say(list(line.phrases)).seconds) for line in board.lines]
    scenes = []
    for number, scene in enumerate(board.scenes):
        wanted = rng.random() < settings.sounds
        kind, length = pick(rng, SOUNDS), round(float(rng.uniform(0.25, 0.45)), 3)
        start_s, end_s = (frame / board.fps for frame in board.starts()[number : number + 2])
        options = [
            at
            for at in np.arange(start_s + 0.1, end_s - length - 0.1, 0.05).tolist()
            if all(at + length + 0.1 < first or at > last + 0.1 for first, last in speech)
        ]
        if wanted and options:
            start = round(pick(rng, options) - start_s, 3)
            scene = replace(scene, sounds=(SoundEvent(kind, start, round(start + length, 3)),))
        scenes.append(scene)
    return tuple(scenes)
