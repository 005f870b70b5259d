"""Whether a clip is what its span holds, judged by reading it back.

No clip is trusted, not even one whose encoder reported success. Every clip is opened again, its
frames are counted and timed, and pictures of it are compared with pictures that our own decoding
took from the source. First, middle and last are enough to notice a wrong span, a lost or doubled
frame, a wrong turn or a broken encoder; packets that were copied are compared byte by byte instead,
which is stronger and costs nothing.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from clipmill.schemas.clocks import Clock
from clipmill.schemas.errors import MediaError
from clipmill.schemas.records import Probe
from clipmill.stages.media.clip import ClipMedia, Encoding, Wanted, inexact
from clipmill.stages.media.coded import Coded, Unclear, index, pick, shown
from clipmill.stages.media.decode import open_input
from clipmill.stages.media.frames import Picture, decode_from, display_size, to_array
from clipmill.stages.media.limits import Limits
from clipmill.stages.media.probe import open_clip

_THUMB = 32  # width of the pictures that are compared
_TOLERANCE = 12.0  # mean difference of two pictures in gray levels; neighbours of a cut are at 30+
_PLAIN = ("yuv420p", "yuv422p", "yuv444p", "nv12")
_FULL_RANGE = 2
HDR = ("smpte2084", "arib-std-b67")


def thumb(frame: Any, probe: Probe) -> Picture:
    """A small upright gray picture of a frame, uint8."""
    if frame.format.name not in _PLAIN or frame.color_range == _FULL_RANGE:
        return to_array(frame, probe.picture, _THUMB, gray=True)
    import cv2

    # Limited range and luma in front: shrunk as it is, without setting up a conversion.
    shown_width, shown_height = display_size(probe.picture)
    height = max(1, round(shown_height * _THUMB / shown_width))
    turned = probe.picture.rotation in (90, 270)
    plane = frame.planes[0]
    luma = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    size = (height, _THUMB) if turned else (_THUMB, height)
    small = cv2.resize(
        luma[: frame.height, : frame.width], size, interpolation=cv2.INTER_AREA
    ).astype(np.float32)
    small = np.clip((small - 16) * (255 / 219), 0, 255)
    if probe.picture.mirrored:
        small = small[:, ::-1]
    upright: Picture = np.rot90(small, probe.picture.rotation // 90).astype(np.uint8)
    return upright


def survey(source: Path, probe: Probe, items: list[Wanted], limits: Limits) -> None:
    """Fill in what the source holds in each span, by decoding all of it.

    Where no frame starts inside a span (a slide that stands for a minute) the one on screen counts.
    """
    begin = min(item.first for item in items)
    end = max(item.end for item in items)
    before: dict[str, tuple[int, int, Any]] = {}
    for item in items:
        item.ticks, item.thumbs = [], {}
    for number, (tick, frame) in enumerate(decode_from(source, probe, begin, limits)):
        if tick >= end:
            break
        small = None
        for item in items:
            if item.first <= tick < item.end:
                small = thumb(frame, probe) if small is None else small
                _add(item, number, tick, small)
            elif tick < item.first:
                before[item.key] = (number, tick, frame)
    for item in items:
        if not item.ticks and item.key in before:
            number, tick, frame = before[item.key]
            _add(item, number, tick, thumb(frame, probe))
        if not item.ticks:
            raise MediaError(
                f"clip {item.key}: not one frame decodes inside its span",
                cure="probe with strict: true to refuse damaged files",
                input=source.name,
            )


def _add(item: Wanted, number: int, tick: int, small: Picture) -> None:
    item.numbers = (item.numbers[0] if item.ticks else number, number)
    item.thumbs[len(item.ticks)] = small
    item.ticks.append(tick)


def glance(source: Path, probe: Probe, items: list[Wanted], limits: Limits) -> None:
    """The same from packets, decoding three frames of each span. Raises `Unclear`."""
    if probe.damaged or not probe.picture.seekable:
        raise Unclear("a damaged file or one without an index")
    begin = min(item.first for item in items)
    with open_input(source) as container:
        found = index(container, probe, begin, max(item.end for item in items))
        for item in items:
            item.ticks, item.thumbs = shown(found, item.first, item.end), {}
            if not item.ticks:
                raise Unclear("a span in which no frame starts")
        wanted = {item.ticks[place] for item in items for place in _places(len(item.ticks))}
        pictures = pick(source, probe, found, wanted, limits, rough=True, container=container)
        small = {tick: thumb(frame, probe) for tick, frame in pictures}
    for item in items:
        item.thumbs = {place: small[item.ticks[place]] for place in _places(len(item.ticks))}


def _places(count: int) -> list[int]:
    return sorted({0, count // 2, count - 1})


def check(
    path: Path,
    source: Path,
    probe: Probe,
    item: Wanted,
    encoding: Encoding,
    limits: Limits,
    mode: str,
    rough: bool = False,
) -> ClipMedia:
    """The clip as it can be read back, or `Damaged` where it is not what was asked for."""
    try:
        return _checked(path, source, probe, item, encoding, limits, mode, rough)
    except Unclear as reason:
        raise inexact(item, source, str(reason)) from reason


def _checked(
    path: Path,
    source: Path,
    probe: Probe,
    item: Wanted,
    encoding: Encoding,
    limits: Limits,
    mode: str,
    rough: bool,
) -> ClipMedia:
    with open_clip(path, limits, rough) as (container, clip):
        found = index(container, clip, None, None)
        count = _compared(container, path, source, probe, item, encoding, limits, clip, found)
    return item.media(path, probe, clip, count, mode)


def _compared(
    container: Any,
    path: Path,
    source: Path,
    probe: Probe,
    item: Wanted,
    encoding: Encoding,
    limits: Limits,
    clip: Probe,
    found: list[Coded],
) -> int:
    """The number of a clip's frames, once number, times and pictures are right."""
    ticks = shown(found, min(c.tick for c in found), max(c.tick for c in found) + 1)
    start, end = item.times(probe)
    count = len(ticks)
    if encoding.fps:
        expected = max(1, round((end - start) * Fraction(encoding.fps)))
        wrong = abs(count - expected) > 1
    else:
        expected = len(item.ticks)
        wrong = count != expected
    if wrong:
        raise inexact(item, source, f"{count} frames instead of {expected}")
    places = _places(count)
    pictures = pick(
        path, clip, found, [ticks[place] for place in places], limits, container=container
    )
    clock, own = probe.picture.clock, clip.picture.clock
    for place, (_, frame) in zip(places, pictures, strict=True):
        at = own.exact(ticks[place]) - own.exact(ticks[0])
        nearest = _nearest(item, probe, start + at) if encoding.fps else place
        around = range(nearest - 1, nearest + 2) if encoding.fps else [nearest]
        same = [item.thumbs[n] for n in around if n in item.thumbs]
        apart = min(distance(thumb(frame, clip), other, probe) for other in same)
        if apart > _TOLERANCE:
            raise inexact(item, source, f"frame {place} differs by {apart:.0f} gray levels")
        late = abs(at - clock.exact(item.ticks[nearest]) + clock.exact(item.ticks[0]))
        if not encoding.fps and probe.picture.seekable and late > Fraction(own.num, own.den):
            raise inexact(item, source, f"frame {place} is {float(late):.4f} s off")
    return count


def _nearest(item: Wanted, probe: Probe, at: Fraction) -> int:
    clock = probe.picture.clock
    return min(range(len(item.ticks)), key=lambda n: abs(clock.exact(item.ticks[n]) - at))


def distance(small: Picture, other: Picture, probe: Probe) -> float:
    """Mean difference in gray levels; of HDR only how bright and dark lie, tone mapping aside."""
    height = min(len(small), len(other))  # the even size of clips may cost a row
    left, right = (part[:height].astype(np.float64) for part in (small, other))
    if probe.picture.transfer in HDR:
        ranks = [part.argsort(axis=None).argsort() for part in (left, right)]
        return float(np.abs(ranks[0] - ranks[1]).mean() * 64 / left.size)
    return float(np.abs(left - right).mean())


def same_times(own: Clock, ticks: list[int], clock: Clock, others: list[int]) -> bool:
    """Whether ticks of two clocks are equally far from the first of each."""
    # Whole numbers: a fraction for every frame costs as much as reading the packets.
    left, right = own.num * clock.den, clock.num * own.den
    return [(tick - ticks[0]) * left for tick in ticks] == [
        (tick - others[0]) * right for tick in others
    ]


def alike(small: Picture, other: Picture, probe: Probe) -> bool:
    """Whether two small pictures show the same frame."""
    return distance(small, other, probe) <= _TOLERANCE
