"""Describe a clip by measuring it: camera, motion, light and colour, without any model.

What a signal shows need not be asked of a teacher: the words here cost milliseconds, are the same
on every run, and serve as slots for prompts, as rules for profiles and as a caption of last resort.
They say how a clip looks, never what it shows, at 320 pixels: what is finer, such as the softness
of an HD picture, stays out of reach.

What was measured while shots were looked for (`measure_fps` of split_shots) is only added up here.
Where it is not there, the frames of a part's segments are decoded once, with the same result.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from clipmill.schemas.clocks import Clock, Span
from clipmill.schemas.records import Part, Probe
from clipmill.stages.media import sandbox
from clipmill.stages.media.limits import Limits
from clipmill.stages.media.probe import probed
from clipmill.stages.media.source import local
from clipmill.stages.score.camera import camera_label
from clipmill.stages.score.light import main_colours
from clipmill.stages.score.measures import ROW, Meter, Rows, in_words, measured, measures_path
from clipmill.stages.stage import Resources, Stage, StageSettings

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
    """Frames measured per second; slower than 8, fast pans are no longer followed. As in
    `measure_fps` of split_shots, these frames are not decoded again."""
    limits: Limits = Limits()
    """Caps on time and memory."""


class DescribeClip(Stage[Settings]):
    """Describe camera, motion, light and colour of each segment by measurement alone."""

    settings: Settings
    version = 3
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

    def takes(self) -> frozenset[str]:
        return frozenset({in_words(self.settings.fps)})

    def process(self, part: Part) -> Part:
        video, limits = part.video, self.settings.limits
        segments = video.layer(self.settings.layer)
        if not segments:
            return part
        probe = probed(video)
        with local(video.source) as path:
            descriptions = sandbox.call(
                describe_spans,
                path,
                probe,
                [segment.span for segment in segments],
                self.settings.fps,
                measures_path(video.content, probe, self.settings.fps),
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
    meter, clock = Meter(), Clock("given", 1, 1_000_000)
    rows = [meter.row(round(seconds * clock.den), picture) for seconds, picture in frames]
    ticks = [row[0] for row in rows]
    # The last one lasts as long as the others do on average.
    end = ticks[-1] + (ticks[-1] - ticks[0]) // (len(ticks) - 1) if len(ticks) > 1 else 0
    return describe(np.array(rows, ROW), clock, end)


def describe(rows: Rows, clock: Clock, end: int) -> Description:
    """Describe a segment by its rows; their ticks, and the end of the last one, on this clock.

    Samples are as uneven as the frames of the film are, so each counts for as long as it lasts.
    """
    found = Description()
    if not len(rows):
        return found
    lasting = np.maximum(np.diff(rows["tick"], append=end), 1) * (clock.num / clock.den)
    for name in ("brightness", "contrast", "saturation", "sharpness"):
        found.scores[name] = _mean(rows[name], lasting)
    found.scores["black_share"] = _mean(rows["black"], lasting)
    found.labels["brightness"] = _level(found.scores["brightness"], LIGHT_LEVELS)
    found.colours = main_colours(lasting @ rows["colours"])
    found.labels["colour"] = found.colours[0]
    pairs, apart = rows[1:], lasting[:-1]  # the pair of the first row is not inside
    if len(pairs):
        found.scores["frozen_share"] = _mean(pairs["frozen"], apart)
        found.scores["motion"] = float(pairs["travel"].sum(dtype=np.float64) / apart.sum())
        found.labels["motion"] = _level(found.scores["motion"], MOTION_LEVELS)
        # Not named where less than half of the time has texture to tell by.
        told = pairs["told"]
        if apart[told].sum() >= apart.sum() / 2:
            found.labels["camera"] = camera_label(pairs["moves"][told], apart[told].sum())
    return found


def describe_spans(
    path: Path, probe: Probe, spans: Sequence[Span], fps: float, file: Path | None, limits: Limits
) -> list[Description]:
    """One description per span of any clock, in the order given; from the file of measures if it
    is there. Decodes: to be called in the sandbox."""
    clock, last = probe.picture.clock, probe.span.end
    rows = measured(path, probe, spans, fps, file, limits)
    ends = [min(span.on(clock, "ceil").end, last) for span in spans]
    return [describe(some, clock, end) for some, end in zip(rows, ends, strict=True)]


def _mean(values: npt.NDArray[Any], weights: npt.NDArray[np.float64]) -> float:
    return float(weights @ values / weights.sum())


def _level(value: float, levels: tuple[tuple[float, str], ...]) -> str:
    return next(name for edge, name in levels if value < edge)


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
