"""Takes still pictures out of segments, with their exact times, for models and encoders.

Which moments are looked at is a setting of every data set, so it is a stage of its own: `uniform`
takes the middles of N equal slices, `fps` one picture per interval, `middle` and
`first-middle-last` are what cheap scorers use. Middles of slices are preferred to their borders,
because borders of shots are where the neighbours bleed in. Pictures travel as JPEG and are never
stored. `kept` takes what `split_shots` kept for it while it looked for shots (strip.py): at most
`count`, spread as evenly as `fps` pictures a second allow, fewer in short shots and never none.

The exact middle costs all frames it refers to, back to the key frame before. `at: key` takes a key
frame of the slice where it holds one, at no more than its own price: long shots then cost next to
nothing, quick ones as much as ever. It is not the default, since the times are spread less evenly
and depend on where an encoder put its key frames, which models of motion should not learn; for
captions, scores and embeddings it does as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from math import ceil
from typing import Literal

from pydantic import Field

from clipmill.schemas.clocks import Clock, Span
from clipmill.schemas.records import Frame, Part, Probe, Segment
from clipmill.stages.media import sandbox
from clipmill.stages.media.frames import sample
from clipmill.stages.media.limits import Limits
from clipmill.stages.media.probe import probed
from clipmill.stages.media.source import local
from clipmill.stages.media.strip import Keep, kept, strip_path
from clipmill.stages.stage import Stage, StageSettings

Policy = Literal["uniform", "fps", "middle", "first-middle-last", "kept"]


class Settings(StageSettings):
    policy: Policy = "uniform"
    """Which moments of a segment are taken."""
    count: int = Field(default=8, ge=1, le=512)
    """Pictures per segment: exactly so many for `uniform`, at most for `fps` and `kept`."""
    fps: float = Field(default=1.0, gt=0, le=60)
    """Pictures per second for the policies `fps` and `kept`."""
    at: Literal["exact", "key"] = "exact"
    """`key`: in the slice of each moment of `uniform`, `fps` and `middle`, the key frame nearest to
    it, if there is one; much cheaper in long shots."""
    max_side: int = Field(default=512, ge=16, le=8192)
    """Longer side of a picture in pixels; smaller ones are not enlarged."""
    quality: int = Field(default=90, ge=1, le=100)
    """JPEG quality."""
    layer: str = Field(default="shots", pattern=r"^[a-z][a-z0-9_]*$")
    """Layer whose segments are sampled."""
    limits: Limits = Limits()
    """Caps on time and memory."""


class SampleFrames(Stage[Settings]):
    """Take still pictures out of every segment, with their exact times."""

    needs = frozenset({"probe", "segments:{layer}"})
    provides = frozenset({"frames"})
    version = 4

    def takes(self) -> frozenset[str]:
        return frozenset({str(self._keep())} if self.settings.policy == "kept" else ())

    def process(self, part: Part) -> Part:
        settings = self.settings
        probe = probed(part.video)
        clock = probe.picture.clock
        segments = part.video.layer(settings.layer)
        if settings.policy == "kept":
            segments = self._take_kept(part, probe, segments)
        moments = {
            segment.id: moments_of(
                segment.span, clock, settings.policy, settings.count, settings.fps
            )
            for segment in segments
        }
        windows: dict[int, tuple[int, int]] = {}
        if settings.at == "key" and settings.policy in ("uniform", "fps", "middle"):
            for held in segments:
                windows |= slices(held.span.on(clock, "ceil"), moments[held.id])
        wanted = sorted({tick for ticks in moments.values() for tick in ticks})
        if not wanted:
            return part
        with local(part.video.source) as path:
            pictures = sandbox.call(
                sample,
                path,
                probe,
                wanted,
                settings.quality,
                settings.max_side,
                settings.limits,
                windows,
                timeout_s=settings.limits.timeout_s,
                memory_gb=settings.limits.memory_gb,
            )
        by_moment = dict(zip(wanted, pictures, strict=True))
        for segment, ticks in moments.items():
            part.frames[segment] = _once([by_moment[tick] for tick in ticks])
        return part

    def _keep(self) -> Keep:
        settings = self.settings
        return Keep(fps=settings.fps, max_side=settings.max_side, quality=settings.quality)

    def _take_kept(self, part: Part, probe: Probe, segments: list[Segment]) -> list[Segment]:
        """Gives segments their kept pictures; returns those that lie between two of them."""
        settings, keep, clock = self.settings, self._keep(), probe.picture.clock
        with local(part.video.source) as path:
            pictures = sandbox.call(
                kept,
                path,
                probe,
                [segment.span.on(clock, "ceil") for segment in segments],
                settings.count,
                keep,
                strip_path(part.video.content, probe, keep),
                settings.limits,
                timeout_s=settings.limits.timeout_s,
                memory_gb=settings.limits.memory_gb,
            )
        found = dict(zip([segment.id for segment in segments], pictures, strict=True))
        part.frames.update({segment: frames for segment, frames in found.items() if frames})
        return [segment for segment in segments if not found[segment.id]]


def moments_of(span: Span, clock: Clock, policy: Policy, count: int, fps: float) -> list[int]:
    """Ticks of `clock` at which a segment is looked at, in order; at least one, all inside."""
    own = span.on(clock, "ceil")
    length = own.end - own.start
    if policy == "first-middle-last":
        ticks = [own.start, own.start + length // 2, own.end - 1]
    else:
        if policy in ("middle", "kept"):  # the one that stands in where nothing was kept
            count = 1
        elif policy == "fps":
            seconds = Fraction(length * clock.num, clock.den)
            count = max(1, min(count, int(seconds * Fraction(fps))))
        slice_ = Fraction(length, count)
        ticks = [own.start + int(slice_ * number + slice_ / 2) for number in range(count)]
    return sorted({max(own.start, min(tick, own.end - 1)) for tick in ticks})


def slices(span: Span, ticks: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Of which half-open slice of a span each of these ticks is the middle."""
    length = Fraction(span.end - span.start, len(ticks))
    borders = [span.start + ceil(length * number) for number in range(len(ticks) + 1)]
    return dict(zip(ticks, pairwise(borders), strict=True))


def _once(frames: list[Frame]) -> list[Frame]:
    """Without repeats: short segments hold fewer frames than were asked for."""
    return list({frame.tick: frame for frame in frames}.values())
