"""Describe a clip by measuring it: camera, motion, light and colour, without any model.

What a signal shows need not be asked of a teacher: the words here cost milliseconds, are the same
on every run, and serve as slots for prompts, as rules for profiles and as a caption of last resort.
They say how a clip looks, never what it shows. Frames are decoded once at 320 pixels for all
segments of a part that lie close together, so overlapping windows cost no second decode; what is
finer than that, such as the softness of an HD picture, stays out of reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Part, Probe
from clipmill.stages.media import sandbox
from clipmill.stages.media.frames import scan
from clipmill.stages.media.limits import Limits
from clipmill.stages.media.probe import probed
from clipmill.stages.media.source import local
from clipmill.stages.score import camera, light
from clipmill.stages.stage import Resources, Stage, StageSettings

WIDTH = 320
GAP_S = 8.0
"""Segments further apart than this are sought one by one; decoding on is cheaper below it."""

MOTION_LEVELS = ((0.004, "still"), (0.03, "low"), (0.12, "medium"), (inf, "high"))
"""Upper edges in diagonals per second: a slide, a talking head, a walk, a chase."""
LIGHT_LEVELS = ((0.25, "dark"), (0.62, "medium"), (inf, "bright"))

CAMERA_PHRASES = {
    "static": "the camera stands still",
    "pan_left": "the camera pans left",
    "pan_right": "the camera pans right",
    "tilt_up": "the camera tilts up",
    "tilt_down": "the camera tilts down",
    "zoom_in": "the camera moves closer or zooms in",
    "zoom_out": "the camera moves away or zooms out",
    "mixed": "the camera moves in several directions",
}
MOTION_PHRASES = {
    "still": "nothing moves",
    "low": "there is little motion",
    "medium": "there is some motion",
    "high": "there is much motion",
}
LIGHT_PHRASES = {
    "dark": "the picture is dark",
    "medium": "the picture is neither dark nor bright",
    "bright": "the picture is bright",
}

Picture = npt.NDArray[np.uint8]


@dataclass(slots=True)
class Description:
    """What was measured. A value that could not be told is absent, not zero."""

    scores: dict[str, float] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    colours: list[str] = field(default_factory=list)

    def slots(self) -> dict[str, str]:
        """One phrase a slot: camera, motion, light, colour."""
        words = {
            "camera": CAMERA_PHRASES.get(self.labels.get("camera", "")),
            "motion": MOTION_PHRASES.get(self.labels.get("motion", "")),
            "light": LIGHT_PHRASES.get(self.labels.get("brightness", "")),
            "colour": f"the main colours are {_listed(self.colours)}"
            if len(self.colours) > 1
            else f"the main colour is {self.colours[0]}"
            if self.colours
            else None,
        }
        return {slot: phrase for slot, phrase in words.items() if phrase}

    def sentence(self) -> str:
        """All of it as one plain sentence that owns up to being measured."""
        phrases = list(self.slots().values())
        for name, word in (("black_share", "black"), ("frozen_share", "a frozen picture")):
            share = self.scores.get(name, 0.0)
            if share >= 0.05:
                phrases.append(f"{share:.0%} of the time it shows {word}")
        return f"Measured from the picture: {_listed(phrases)}." if phrases else ""


class Settings(StageSettings):
    layer: str = "shots"
    """Segments to describe."""
    fps: float = Field(default=8.0, gt=0, le=60)
    """Frames measured per second; slower than 8, fast pans are no longer followed."""
    limits: Limits = Limits()
    """Caps on time and memory."""


class DescribeClip(Stage[Settings]):
    """Describe camera, motion, light and colour of each segment by measurement alone."""

    settings: Settings
    version = 2
    needs = frozenset({"probe", "segments:{layer}"})
    provides = frozenset(
        {f"texts:slot:{slot}" for slot in ("camera", "motion", "light", "colour")}
        | {"texts:described"}
        | {
            f"scores:{name}"
            for name in (
                *("motion", "brightness", "contrast", "saturation", "sharpness"),
                *("black_share", "frozen_share"),
            )
        }
        | {f"labels:{name}" for name in ("camera", "motion", "brightness", "colour")}
    )
    resources = Resources(cpus=1.0)

    def process(self, part: Part) -> Part:
        video, limits = part.video, self.settings.limits
        segments = video.layer(self.settings.layer)
        if not segments:
            return part
        probe = probed(video)
        with local(video.source) as path:
            descriptions = sandbox.call(
                _measure_spans,
                path,
                probe,
                [segment.span for segment in segments],
                self.settings.fps,
                limits,
                timeout_s=limits.timeout_s,
                memory_gb=limits.memory_gb,
            )
        author = self.author()
        for segment, description in zip(segments, descriptions, strict=True):
            segment.scores.update(description.scores)
            segment.labels.update(description.labels)
            for slot, phrase in description.slots().items():
                segment.add_text(f"slot:{slot}", phrase, author, language="en")
            if sentence := description.sentence():
                segment.add_text("described", sentence, author, language="en")
        return part


def measure(frames: Iterable[tuple[float, Picture]]) -> Description:
    """Describe RGB frames given with their times in seconds, in order."""
    meter = _Meter()
    for seconds, picture in frames:
        meter.add(seconds, picture)
    return meter.description()


class _Meter:
    """Measures one segment frame by frame, so that many can share one decode."""

    def __init__(self) -> None:
        self.camera = camera.CameraMeter()
        self.light = light.LightMeter()
        self.last: tuple[float, Picture, camera.Gray] | None = None

    def add(self, seconds: float, picture: Picture) -> None:
        gray = camera.small_gray(picture)
        self.light.add(picture, self.last[1] if self.last else None)
        if self.last is not None:
            self.camera.add(self.last[2], gray, seconds - self.last[0])
        self.last = (seconds, picture, gray)

    def description(self) -> Description:
        found = Description()
        if not self.light.frames:
            return found
        found.scores.update(self.light.means)
        found.labels["brightness"] = _level(found.scores["brightness"], LIGHT_LEVELS)
        found.colours = self.light.named_colours()
        found.labels["colour"] = found.colours[0]
        for name, value in (
            ("black_share", self.light.black_share),
            ("frozen_share", self.light.frozen_share),
            ("motion", self.camera.motion),
        ):
            if value is not None:
                found.scores[name] = value
        if self.camera.motion is not None:
            found.labels["motion"] = _level(self.camera.motion, MOTION_LEVELS)
        if self.camera.label is not None:
            found.labels["camera"] = self.camera.label
        return found


def _measure_spans(
    path: Path, probe: Probe, spans: Sequence[Span], fps: float, limits: Limits
) -> list[Description]:
    """Runs in the decoding child: one description per span, in the order given."""
    clock = probe.picture.clock
    # Frames at or after a start, before an end: both round up, whatever clock cut the span.
    wanted = [span.on(clock, "ceil") for span in spans]
    meters = [_Meter() for _ in wanted]
    for run in _runs(wanted):
        hull = Span(clock, wanted[run[0]].start, max(wanted[index].end for index in run))
        due = {index: wanted[index].start for index in run}
        for tick, picture in scan(path, probe, span=hull, width=WIDTH, limits=limits):
            for index in run:
                span = wanted[index]
                if span.start <= tick < span.end and tick >= due[index]:
                    meters[index].add(clock.seconds(tick), picture)
                    # Short shots are sampled more densely, else they would not move at all.
                    step = min(1 / fps, span.duration_s / 4)
                    due[index] = tick + max(1, int(step * clock.den / clock.num))
    return [meter.description() for meter in meters]


def _runs(spans: Sequence[Span]) -> list[list[int]]:
    """Indices of spans that are worth one decode together, by start."""
    order = sorted(range(len(spans)), key=lambda index: spans[index].start)
    runs: list[list[int]] = []
    end = -inf
    for index in order:
        if not runs or spans[index].start_s - end > GAP_S:
            runs.append([])
        runs[-1].append(index)
        end = max(end, spans[index].end_s)
    return runs


def _level(value: float, levels: tuple[tuple[float, str], ...]) -> str:
    return next(name for edge, name in levels if value < edge)


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
