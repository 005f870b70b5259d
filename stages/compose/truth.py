"""The truth file of a rendered video: everything that is right about it, apart from the media.

It lies beside the media or elsewhere, never inside it, so that nothing measured can read it by
accident. Frames count from 0 in presentation order; a cut is the first frame of the new scene.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from clipmill.schemas.arrow import from_arrow, to_arrow


@dataclass(slots=True)
class Moment:
    """A stretch of frames [start_frame, end_frame) of some kind, with its seconds."""

    kind: str
    start_frame: int
    end_frame: int
    start_s: float
    end_s: float


@dataclass(slots=True)
class CutTruth:
    frame: int
    seconds: float


@dataclass(slots=True)
class ThingTruth:
    shape: str
    colour: str
    size: str
    motion: str


@dataclass(slots=True)
class SceneTruth:
    """One scene with its slots; a gradual transition is halved between its neighbours."""

    index: int
    start_frame: int
    end_frame: int
    start_s: float
    end_s: float
    things: list[ThingTruth]
    backdrop: str
    tone: str
    camera: str
    word: str
    sounds: list[str]
    brief: list[str]
    detailed: list[str]
    wrong: dict[str, str] = field(default_factory=dict)  # slot -> brief caption wrong in it alone

    def slots(self) -> dict[str, str]:
        """The slots of the scene's first thing and of the scene, by name."""
        first = self.things[0]
        return {
            "object": first.shape,
            "colour": first.colour,
            "size": first.size,
            "motion": first.motion,
            "background": self.backdrop,
            "camera": self.camera,
            "word": self.word,
        }


@dataclass(slots=True)
class WordTruth:
    text: str
    start_s: float
    end_s: float


@dataclass(slots=True)
class LineTruth:
    """A narrated sentence; `scene` is None where it describes nothing that is seen."""

    text: str
    start_s: float
    end_s: float
    scene: int | None
    lag_s: float  # start of the sentence minus start of its scene
    words: list[WordTruth] = field(default_factory=list)


@dataclass(slots=True)
class SoundTruth:
    kind: str
    scene: int
    start_s: float
    end_s: float


@dataclass(slots=True)
class BoxTruth:
    """Where a thing stands in one frame, in pixels of the file, clipped to the picture."""

    frame: int
    seconds: float
    scene: int
    thing: int
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(slots=True)
class Truth:
    """All that is known of one rendered video."""

    name: str
    seed: int
    width: int
    height: int
    fps: int
    frames: int
    seconds: float
    variant: str  # the planted defect, or "clean"
    duplicate_of: str = ""
    given_caption: str = ""  # a caption that came with the video; wrong where planted so
    cuts: list[CutTruth] = field(default_factory=list)  # hard cuts only
    transitions: list[Moment] = field(default_factory=list)  # dissolve, fade
    upsets: list[Moment] = field(default_factory=list)  # flash, whip_pan: not cuts
    scenes: list[SceneTruth] = field(default_factory=list)
    narration: list[LineTruth] = field(default_factory=list)
    sounds: list[SoundTruth] = field(default_factory=list)
    boxes: list[BoxTruth] = field(default_factory=list)

    def transcript(self) -> str:
        return " ".join(line.text for line in self.narration)

    def save(self, path: Path) -> None:
        text = json.dumps(to_arrow(self), indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Truth:
        return from_arrow(cls, json.loads(path.read_text(encoding="utf-8")))
