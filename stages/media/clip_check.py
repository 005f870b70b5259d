"""Whether a clip is what its span holds, judged by reading it back.

No clip is trusted, not even one whose encoder reported success. Every clip is opened again; all of
its frames are counted and timed, its sound must be as long as its picture, and pictures of it are
compared with pictures that our own decoding took from the source. For a source whose packets tell
the truth that is the first one: a wrong span, a wrong turn or a wrong decoder shows there, a lost,
doubled or shifted frame in the times. Of damaged sources and of those without an index, and where
the rate changes, all of span and clip are decoded, and first, middle and last compared. Packets
that were copied are compared byte by byte, which is stronger and costs nothing.
"""

from __future__ import annotations

from fractions import Fraction
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from clipmill.schemas.clocks import Clock
from clipmill.schemas.errors import MediaError
from clipmill.schemas.records import Probe, Stream
from clipmill.stages.media.audio import has_audio
from clipmill.stages.media.clip import ClipMedia, Encoding, Wanted, inexact
from clipmill.stages.media.clip_sound import Packed
from clipmill.stages.media.coded import Unclear, index, pick, shown
from clipmill.stages.media.decode import open_input
from clipmill.stages.media.frames import Picture, decode_from, display_size, to_array
from clipmill.stages.media.limits import Limits
from clipmill.stages.media.reread import Reread, reread

_THUMB = 32  # width of the pictures that are compared
_TOLERANCE = 12.0  # mean difference of two pictures in gray levels; neighbours of a cut are at 30+
_SOUND_S = Fraction(1, 1000)  # how far the end of the sound may lie from that of the picture
_PLAIN = ("yuv420p", "yuv422p", "yuv444p", "nv12")
_FULL_RANGE = 2
HDR = ("smpte2084", "arib-std-b67")


def thumb(frame: Any, picture: Stream) -> Picture:
    """A small upright gray picture of a frame, uint8."""
    if frame.format.name not in _PLAIN or frame.color_range == _FULL_RANGE:
        return to_array(frame, picture, _THUMB, gray=True)
    import cv2

    # Limited range and luma in front: shrunk as it is, without setting up a conversion.
    shown_width, shown_height = display_size(picture)
    height = max(1, round(shown_height * _THUMB / shown_width))
    turned = picture.rotation in (90, 270)
    plane = frame.planes[0]
    luma = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    size = (height, _THUMB) if turned else (_THUMB, height)
    small = cv2.resize(
        luma[: frame.height, : frame.width], size, interpolation=cv2.INTER_AREA
    ).astype(np.float32)
    small = np.clip((small - 16) * (255 / 219), 0, 255)
    if picture.mirrored:
        small = small[:, ::-1]
    upright: Picture = np.rot90(small, picture.rotation // 90).astype(np.uint8)
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
                small = thumb(frame, probe.picture) if small is None else small
                _add(item, number, tick, small)
            elif tick < item.first:
                before[item.key] = (number, tick, frame)
    for item in items:
        if not item.ticks and item.key in before:
            number, tick, frame = before[item.key]
            _add(item, number, tick, thumb(frame, probe.picture))
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
    """The same from packets, decoding the first frame of each span. Raises `Unclear`."""
    if probe.damaged or not probe.picture.seekable:
        raise Unclear("a damaged file or one without an index")
    begin = min(item.first for item in items)
    with open_input(source, probed=probe.picture.codec) as container:
        found = index(container, probe, begin, max(item.end for item in items))
        for item in items:
            item.ticks, item.thumbs = shown(found, item.first, item.end), {}
            if not item.ticks:
                raise Unclear("a span in which no frame starts")
        wanted = {item.ticks[0] for item in items}
        pictures = pick(source, probe, found, wanted, limits, rough=True, container=container)
        small = {tick: thumb(frame, probe.picture) for tick, frame in pictures}
    for item in items:
        item.thumbs = {0: small[item.ticks[0]]}


def check(
    path: Path,
    source: Path,
    probe: Probe,
    item: Wanted,
    encoding: Encoding,
    limits: Limits,
    mode: str,
    whole: bool,
) -> ClipMedia:
    """The clip as it can be read back, or `Damaged` where it is not what was asked for.

    `whole` decodes all of it and looks at first, middle and last, for sources that are not to be
    trusted; else the first.
    """
    clip = reread(path, limits, thumb, keys=[0], whole=whole)
    ticks = clip.picture.ticks
    start, end = item.times(probe)
    count, expected = len(ticks), len(item.ticks)
    if encoding.fps:
        expected = max(1, round((end - start) * Fraction(encoding.fps)))
    if abs(count - expected) > (1 if encoding.fps else 0):
        raise inexact(item, source, f"{count} frames instead of {expected}")
    own, clock = clip.picture.facts.clock, probe.picture.clock
    if not encoding.fps and probe.picture.seekable:
        place = off_time(own, ticks, clock, item.ticks, slack=1)
        if place is not None:
            raise inexact(item, source, f"frame {place} is not at its time")
    for place in _places(count) if whole else [0]:
        at = own.exact(ticks[place]) - own.exact(ticks[0])
        nearest = _nearest(item, probe, start + at) if encoding.fps else place
        around = range(nearest - 1, nearest + 2) if encoding.fps else [nearest]
        same = [item.thumbs[n] for n in around if n in item.thumbs]
        if ticks[place] not in clip.looks or not same:
            raise inexact(item, source, f"frame {place} does not decode")
        apart = min(distance(clip.looks[ticks[place]], other, probe) for other in same)
        if apart > _TOLERANCE:
            raise inexact(item, source, f"frame {place} differs by {apart:.0f} gray levels")
    check_sound(clip, source, probe, item, encoding.audio and has_audio(probe))
    return item.media(path, probe, clip, mode)


def check_sound(
    clip: Reread,
    source: Path,
    probe: Probe,
    item: Wanted,
    wanted: bool,
    packed: Packed | None = None,
) -> None:
    """Raise `Damaged` where a clip's sound is missing, too much, or not as long as the picture;
    with `packed` also where its packets are not these, at their times."""
    track = clip.sound if clip.sound is not None and clip.sound.packets else None
    if (track is not None) != wanted:
        raise inexact(item, source, "no sound" if wanted else "sound that was not asked for")
    if track is None:
        return
    start, end = item.times(probe)
    clock = track.facts.clock
    if abs(Fraction(track.ends * clock.num, clock.den) - (end - start)) > _SOUND_S:
        raise inexact(item, source, "the sound is not as long as the picture")
    if packed is not None:
        given = [(tick, blake2b(data, digest_size=16).digest()) for tick, data in packed.packets]
        if [(coded.tick, coded.digest) for coded in track.packets] != given:
            raise inexact(item, source, "other packets of sound than were written")


def _places(count: int) -> list[int]:
    return sorted({0, count // 2, count - 1})


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


def off_time(
    own: Clock, ticks: list[int], clock: Clock, others: list[int], slack: int = 0
) -> int | None:
    """The first place at which ticks of two clocks, counted from the first of each, are further
    apart than `slack` ticks of `own`; None where there is none. Both lists are equally long."""
    # Whole numbers: a fraction for every frame costs as much as reading the packets.
    left, right = own.num * clock.den, clock.num * own.den
    for place, (tick, other) in enumerate(zip(ticks, others, strict=True)):
        if abs((tick - ticks[0]) * left - (other - others[0]) * right) > slack * left:
            return place
    return None


def alike(small: Picture, other: Picture, probe: Probe) -> bool:
    """Whether two small pictures show the same frame."""
    return distance(small, other, probe) <= _TOLERANCE
