"""Pictures kept in passing: shots and their pictures for the price of one decode.

Looking for shots decodes every frame that others refer to. Where pictures are wanted too, that pass
keeps one of these frames each 1/fps of a second as JPEG, before anybody knows where shots begin;
whoever samples shots afterwards takes what lies inside. A strip is a zip file, made by the rules of
passing.py: where it is gone, the same frames are decoded again.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from pydantic import BaseModel, ConfigDict, Field

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Content, Frame, Probe
from clipmill.stages.media.frames import decode_from, encode
from clipmill.stages.media.limits import Limits
from clipmill.stages.media.passing import place

_VERSION = 3  # to be raised when the same frames become other pictures
_ROOM = 100_000  # bytes set aside for a picture before it is known


class Keep(BaseModel):
    """Which pictures a strip holds."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    fps: float = Field(default=2.0, gt=0, le=60)
    """Pictures per second, as far as there are frames that others refer to."""
    max_side: int = Field(default=512, ge=16, le=8192)
    """Longer side of a picture in pixels; smaller ones are not enlarged."""
    quality: int = Field(default=90, ge=1, le=100)
    """JPEG quality."""

    def __str__(self) -> str:
        size = f"of at most {self.max_side} pixels, JPEG quality {self.quality}"
        return f"{self.fps:g} pictures a second {size}"


def strip_path(content: Content | None, probe: Probe, keep: Keep) -> Path | None:
    """Where the strip of a film lies or would lie; None for a film without a known content."""
    return place(content, probe, "strip", keep, _VERSION)


class Grid:
    """Says of frames in order which are kept: the first one in each 1/fps of the film's time."""

    def __init__(self, probe: Probe, fps: float) -> None:
        clock = probe.picture.clock
        self._first = probe.picture.first or 0
        step = Fraction(clock.den, clock.num) / Fraction(fps)  # ticks
        # Whole numbers: asked of every frame, where fractions cost as much as shrinking it.
        self._num, self._den = step.numerator, step.denominator
        self._cell: int | None = None

    def cell(self, tick: int) -> int:
        return (tick - self._first) * self._den // self._num

    def start(self, cell: int) -> int:
        """The first tick of a cell."""
        return self._first - (-cell * self._num // self._den)

    def keeps(self, tick: int) -> bool:
        cell = self.cell(tick)
        new = cell != self._cell
        self._cell = cell
        return new


@dataclass(frozen=True, slots=True)
class StripWish:
    """A strip to be made in passing."""

    path: Path | None
    keep: Keep

    def room(self, probe: Probe) -> int:
        return int(probe.duration_s * self.keep.fps + 1) * _ROOM

    def begin(self, path: Path, probe: Probe) -> Writer:
        return Writer(path, probe, self.keep)


class Writer:
    """Puts the pictures of one pass into a strip."""

    def __init__(self, path: Path, probe: Probe, keep: Keep) -> None:
        self._probe, self._keep = probe, keep
        self._grid = Grid(probe, keep.fps)
        self._zip = ZipFile(path, "w")

    def see(self, tick: int, frame: Any) -> None:
        """To be called with every frame of the pass, in order."""
        if self._grid.keeps(tick):
            picture = self._probe.picture
            kept = encode(frame, tick, picture, self._keep.quality, self._keep.max_side)
            self._zip.writestr(f"{tick}-{kept.width}x{kept.height}.jpg", kept.jpeg)

    def close(self) -> None:
        self._zip.close()


def kept(
    path: Path,
    probe: Probe,
    spans: Sequence[Span],
    count: int,
    keep: Keep,
    strip: Path | None,
    limits: Limits | None = None,
) -> list[list[Frame]]:
    """For each span of the picture's clock, in time order, at most `count` of its kept pictures,
    evenly spread; from the strip if it is there."""
    if strip is not None:
        with suppress(FileNotFoundError, BadZipFile), ZipFile(strip) as source:
            os.utime(strip)
            return list(_from_strip(source, probe, spans, count))
    found = []
    for span in spans:
        frames = {frame.tick: frame for frame in _decoded(path, probe, span, keep, limits)}
        found.append([frames[tick] for tick in chosen(list(frames), span, count)])
    return found


def _from_strip(
    source: ZipFile, probe: Probe, spans: Iterable[Span], count: int
) -> Iterator[list[Frame]]:
    names = {int(name.partition("-")[0]): name for name in source.namelist()}
    ticks = sorted(names)
    for span in spans:
        inside = ticks[bisect_left(ticks, span.start) : bisect_left(ticks, span.end)]
        frames = []
        for tick in chosen(inside, span, count):
            size = names[tick].partition("-")[2].removesuffix(".jpg")
            width, _, height = size.partition("x")
            jpeg = source.read(names[tick])
            frames.append(Frame(probe.picture.clock, tick, jpeg, int(width), int(height)))
        yield frames


def _decoded(
    path: Path, probe: Probe, span: Span, keep: Keep, limits: Limits | None
) -> Iterator[Frame]:
    grid = Grid(probe, keep.fps)
    start = grid.start(grid.cell(span.start))
    for tick, frame in decode_from(path, probe, start, limits, needed=True):
        if tick >= span.end:
            return
        if tick >= start and grid.keeps(tick) and tick >= span.start:
            yield encode(frame, tick, probe.picture, keep.quality, keep.max_side)


def chosen(ticks: Sequence[int], span: Span, count: int) -> list[int]:
    """All ticks where they are at most `count`; else those nearest to the middles of so many equal
    slices of the span. Both in order, without repeats."""
    if len(ticks) <= count:
        return list(ticks)
    slice_ = Fraction(span.end - span.start, count)
    middles = [span.start + slice_ * number + slice_ / 2 for number in range(count)]
    return sorted({min(ticks, key=lambda tick: abs(tick - middle)) for middle in middles})
