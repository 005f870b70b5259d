"""The rendered world: its vocabulary and the plan of a scene.

Few words, each drawn in a way a person and a small model can tell apart, so that every slot of a
scene has one right value. A plan holds everything a painter, a narrator and a truth file need;
none of them adds facts of its own. Positions and sizes are shares of the picture, times are
seconds from the scene's start, so a plan fits every size and rate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

Shape = Literal["circle", "square", "triangle", "star", "cross", "diamond", "ring", "moon"]
Colour = Literal["red", "green", "blue", "yellow", "orange", "purple", "white", "black"]
Size = Literal["small", "large"]
Motion = Literal["left", "right", "up", "down", "grow", "shrink", "rotate", "still"]
Backdrop = Literal["plain", "gradient", "stripes", "checker", "grass", "sand", "water", "sky"]
Camera = Literal["static", "pan_left", "pan_right", "zoom_in", "zoom_out"]
Transition = Literal["cut", "dissolve", "fade"]
Disturbance = Literal["flash", "whip_pan"]
Sound = Literal["beep", "chirp", "noise"]

SHAPES: tuple[Shape, ...] = get_args(Shape)
COLOURS: tuple[Colour, ...] = get_args(Colour)
SIZES: tuple[Size, ...] = get_args(Size)
MOTIONS: tuple[Motion, ...] = get_args(Motion)
BACKDROPS: tuple[Backdrop, ...] = get_args(Backdrop)
CAMERAS: tuple[Camera, ...] = get_args(Camera)
SOUNDS: tuple[Sound, ...] = get_args(Sound)

RGB: dict[str, tuple[int, int, int]] = {
    "red": (214, 36, 40),
    "green": (34, 150, 60),
    "blue": (40, 74, 214),
    "yellow": (244, 222, 40),
    "orange": (244, 134, 20),
    "purple": (136, 48, 172),
    "white": (246, 246, 246),
    "black": (18, 18, 18),
}

CLASH: dict[str, frozenset[str]] = {
    "plain": frozenset({"white", "black"}),
    "gradient": frozenset({"white", "black"}),
    "stripes": frozenset({"white", "black"}),
    "checker": frozenset({"white", "black"}),
    "grass": frozenset({"green"}),
    "sand": frozenset({"yellow", "orange", "white"}),
    "water": frozenset({"blue", "purple", "black"}),
    "sky": frozenset({"blue", "white"}),
}
"""Colours that would be hard to see on a backdrop; the planner never pairs them."""

TEXTURED: tuple[Backdrop, ...] = ("stripes", "checker", "grass", "sand", "water", "sky")
"""Backdrops on which a moving camera can be seen."""

PLAIN_TONES: dict[str, tuple[int, int, int]] = {
    "gray": (128, 128, 128),
    "light gray": (190, 190, 190),
    "dark gray": (64, 64, 64),
}

WORDS: tuple[str, ...] = (
    "OPEN", "STOP", "EXIT", "NORTH", "RIVER", "MUSIC", "PHONE", "HOTEL", "BREAD", "LEMON",
    "TIGER", "ROBOT", "PLANET", "GARDEN", "WINTER", "MARKET", "BRIDGE", "SILVER", "ROCKET",
    "CAMERA", "DOCTOR", "ISLAND", "TUNNEL", "VIOLIN",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Thing:
    """An object: what it is and where its centre stands at the scene's start and end."""

    shape: Shape
    colour: Colour
    size: Size
    motion: Motion
    start: tuple[float, float]  # share of width and height
    end: tuple[float, float]
    radius: float  # share of the picture's height, at scale 1
    scale: tuple[float, float] = (1.0, 1.0)  # at the start and at the end
    turns: float = 0.0  # full turns over the scene, clockwise


@dataclass(frozen=True, slots=True)
class Upset:
    """A flash or a whip pan inside a scene: looks sudden, is not a cut."""

    kind: Disturbance
    start: float  # seconds from the scene's start
    end: float


@dataclass(frozen=True, slots=True)
class SoundEvent:
    kind: Sound
    start: float  # seconds from the scene's start
    end: float


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene: things on a backdrop under a camera. `frames` is its share of the time line."""

    frames: int
    things: tuple[Thing, ...]
    backdrop: Backdrop
    tone: str = ""  # which gray, where the backdrop is plain
    camera: Camera = "static"
    word: str = ""
    sounds: tuple[SoundEvent, ...] = ()
    upsets: tuple[Upset, ...] = ()
    follow: bool = False  # the camera follows the things: a pan moves the backdrop alone
    pan_speed: float = 0.07  # picture widths per second, where the camera pans
    texture_seed: int = 0
    into: Transition = "cut"  # how the next scene is reached
    into_frames: int = 0  # length of a gradual transition, centred on the border


@dataclass(frozen=True, slots=True)
class Line:
    """A narrated sentence: what it is about and where it is placed."""

    phrases: tuple[str, ...]
    scene: int | None  # None: it describes nothing that is seen
    start: float  # seconds on the video's time line

    @property
    def text(self) -> str:
        return " ".join(self.phrases)


@dataclass(frozen=True, slots=True)
class Storyboard:
    """The whole plan of one video."""

    width: int
    height: int
    fps: int
    scenes: tuple[Scene, ...]
    lines: tuple[Line, ...] = field(default=())

    def starts(self) -> list[int]:
        """First frame of every scene, and the total as the last item."""
        frames = [0]
        for scene in self.scenes:
            frames.append(frames[-1] + scene.frames)
        return frames

    @property
    def seconds(self) -> float:
        return self.starts()[-1] / self.fps
