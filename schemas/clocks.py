"""Clocks and spans: media time as exact integers, compared without ever rounding.

A container gives every stream its own time base, its own first timestamp and sometimes an edit
list; frame number divided by frame rate is wrong for all of these. So a time is a whole number of
ticks on a named clock, and a clock knows which of its ticks is presentation zero, the moment a
player shows first. Seconds exist for people and prompts and are derived, never stored as truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Literal

Rounding = Literal["nearest", "floor", "ceil"]


@dataclass(frozen=True, slots=True)
class Clock:
    """Ticks of `num / den` seconds; tick `zero` is presentation zero.

    `name` says whose clock it is: `v0` is the first video stream, `a1` the second audio stream,
    `ms` the presentation time line itself in milliseconds.
    """

    name: str
    num: int
    den: int
    zero: int = 0

    def __post_init__(self) -> None:
        if self.num <= 0 or self.den <= 0:
            raise ValueError(f"clock {self.name!r}: a tick must last a positive time")

    def exact(self, tick: int) -> Fraction:
        """Presentation time of `tick` in seconds, exactly."""
        return Fraction((tick - self.zero) * self.num, self.den)

    def seconds(self, tick: int) -> float:
        """Presentation time of `tick` in seconds, for people and prompts."""
        return float(self.exact(tick))

    def tick(self, seconds: Fraction | float, rounding: Rounding = "nearest") -> int:
        """The tick at a presentation time given in seconds."""
        ticks = Fraction(seconds) * self.den / self.num
        if rounding == "floor":
            return floor(ticks) + self.zero
        if rounding == "ceil":
            return ceil(ticks) + self.zero
        return floor(ticks + Fraction(1, 2)) + self.zero


MILLISECONDS = Clock("ms", 1, 1000)
"""The presentation time line: what subtitles, recognisers and people use."""


def compare(a: Clock, a_tick: int, b: Clock, b_tick: int) -> int:
    """-1, 0 or 1 as the first instant is before, at or after the second, across any two clocks."""
    left = (a_tick - a.zero) * a.num * b.den
    right = (b_tick - b.zero) * b.num * a.den
    return (left > right) - (left < right)


@dataclass(frozen=True, slots=True)
class Span:
    """The half-open interval [start, end) in ticks of `clock`."""

    clock: Clock
    start: int
    end: int

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError(f"span ends before it starts: [{self.start}, {self.end})")

    @property
    def start_s(self) -> float:
        return self.clock.seconds(self.start)

    @property
    def end_s(self) -> float:
        return self.clock.seconds(self.end)

    @property
    def duration_s(self) -> float:
        return float(Fraction((self.end - self.start) * self.clock.num, self.clock.den))

    def contains(self, clock: Clock, tick: int) -> bool:
        """Whether an instant of any clock lies inside."""
        return (
            compare(self.clock, self.start, clock, tick) <= 0
            and compare(clock, tick, self.clock, self.end) < 0
        )

    def overlap_s(self, other: Span) -> float:
        """Seconds shared with another span, 0.0 when apart."""
        start = max(self.clock.exact(self.start), other.clock.exact(other.start))
        end = min(self.clock.exact(self.end), other.clock.exact(other.end))
        return float(max(end - start, Fraction(0)))

    def iou(self, other: Span) -> float:
        """Intersection over union in time, 0.0 when both are empty."""
        shared = self.overlap_s(other)
        union = self.duration_s + other.duration_s - shared
        return shared / union if union > 0 else 0.0

    def on(self, clock: Clock, rounding: Rounding = "nearest") -> Span:
        """The same interval on another clock; both ends round alike, so neighbours still touch."""
        start = clock.tick(self.clock.exact(self.start), rounding)
        return Span(clock, start, max(start, clock.tick(self.clock.exact(self.end), rounding)))

    @classmethod
    def of_seconds(cls, start: float, end: float, clock: Clock = MILLISECONDS) -> Span:
        """A span from presentation seconds, rounded to the clock's ticks."""
        first = clock.tick(start)
        return cls(clock, first, max(first, clock.tick(end)))
