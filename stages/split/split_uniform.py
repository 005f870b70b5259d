"""Cuts a video into windows of equal length, whatever is in them.

Windows are what long-video recipes and transcript-free baselines use. Their borders are times, not
frames: a frame belongs to the window in which it starts. What is left at the end is kept as a
shorter window, dropped, or merged into the last full one.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from pydantic import Field

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Part
from clipmill.stages.media.probe import probed
from clipmill.stages.stage import Stage, StageSettings

Tail = Literal["keep", "drop", "merge"]


class Settings(StageSettings):
    window_s: float = Field(default=10.0, gt=0.01)
    """Length of a window in seconds."""
    stride_s: float | None = Field(default=None, gt=0.01)
    """Seconds from one window's start to the next; None makes windows touch."""
    tail: Tail = "keep"
    """What becomes of the rest that fills no window."""
    layer: str = Field(default="windows", pattern=r"^[a-z][a-z0-9_]*$")
    """Name of the layer of segments."""


class SplitUniform(Stage[Settings]):
    """Cut a video into windows of equal length."""

    unit = "video"
    needs = frozenset({"probe"})
    provides = frozenset({"segments:{layer}"})

    def process(self, part: Part) -> Part:
        settings = self.settings
        part.video.add_segments(
            settings.layer,
            windows(probed(part.video).span, settings.window_s, settings.stride_s, settings.tail),
        )
        return part


def windows(whole: Span, window_s: float, stride_s: float | None, tail: Tail) -> list[Span]:
    """Windows over `whole`, on its clock; borders are rounded to ticks one by one, without drift.

    A video shorter than a window is all tail; merging then keeps it, there being nothing to merge
    with.
    """
    per_second = Fraction(whole.clock.den, whole.clock.num)
    window = Fraction(window_s) * per_second
    stride = Fraction(stride_s if stride_s is not None else window_s) * per_second
    spans: list[Span] = []
    number = 0
    while (end := whole.start + round(number * stride + window)) <= whole.end:
        spans.append(Span(whole.clock, whole.start + round(number * stride), end))
        number += 1
    start = whole.start + round(number * stride)
    covered = spans[-1].end if spans else whole.start
    if whole.end <= max(covered, start) or tail == "drop":
        return spans
    if tail == "merge" and spans:
        return [*spans[:-1], Span(whole.clock, spans[-1].start, whole.end)]
    return [*spans, Span(whole.clock, start, whole.end)]
