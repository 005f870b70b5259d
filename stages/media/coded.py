"""The packets of a picture as a list, and single frames decoded with as little as they need.

Which frames a span holds can be read from packets at one twentieth of a decode, and a few frames
of a span need only what they refer to: from the key frame before each to the frame itself, other
frames that nothing refers to left out. What comes out are true pictures, which may be compared and
encoded. Only for containers in which packets have true presentation times; damage goes unseen here,
so callers compare what they got with what was asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import av

from clipmill.schemas.records import Probe
from clipmill.stages.media.decode import Decoding, only, open_input
from clipmill.stages.media.h264 import IDR, NotH264, kind, units
from clipmill.stages.media.limits import Limits

_START = -(2**62)


class Unclear(Exception):
    """The packets do not say which frames there are; decode instead."""


@dataclass(frozen=True, slots=True)
class Coded:
    """One packet. `clean` means that nothing behind it refers to anything before it."""

    tick: int
    key: bool
    clean: bool
    hidden: bool  # decoded but not shown, by an edit list
    digest: bytes


def packets(
    container: Any,
    probe: Probe,
    first: int | None,
    end: int | None,
    length_size: int = 0,
    digests: bool = False,
) -> Iterator[tuple[Coded, Any]]:
    """(facts, packet) in decoding order, from a key frame at or before tick `first`.

    `container` is an open input; it may serve several passes one after another. The packets end
    with the first one from which on all are shown at or after `end`. `length_size` is that of
    H.264's units and lets clean points be told from other key frames; 0 takes every key frame for
    clean. Without `digests` those are empty. Raises `Unclear` where a packet has no time, or
    parameter sets change.
    """
    begin = probe.picture.first or 0
    if first is not None and first > begin:
        found = _packets(container, probe, first, end, length_size, digests)
        head = next(found, None)
        if head is not None and head[0].tick <= first:
            yield head
            yield from found
            return
        # Behind the target, or a broken index.
    yield from _packets(container, probe, None, end, length_size, digests)


def _packets(
    container: Any,
    probe: Probe,
    seek: int | None,
    end: int | None,
    length_size: int,
    digests: bool,
) -> Iterator[tuple[Coded, Any]]:
    stream = only(container, container.streams[probe.picture.index])
    try:
        container.seek(_START if seek is None else seek, stream=stream, backward=True)
    except OSError as error:
        if seek is None:
            raise Unclear("a broken index") from error
        return
    try:
        for packet in container.demux(stream):
            if not packet.size:
                continue
            if packet.pts is None or packet.is_corrupt:
                raise Unclear("packets without times")
            if renewed(packet):
                raise Unclear("changing parameter sets")
            if end is not None and packet.dts is not None and packet.dts >= end:
                return
            coded = _coded(packet, length_size, digests)
            if end is not None and coded.clean and coded.tick >= end:
                return
            yield coded, packet
    except NotH264 as error:
        raise Unclear(str(error)) from error
    except av.FFmpegError as error:
        raise Unclear("damaged packets") from error


def renewed(packet: Any) -> bool:
    """Whether a packet brings another decoder configuration along."""
    # PyAV's has_sidedata takes ten times as long for the usual packet, which has none.
    return any(data.data_type == "new_extradata" for data in packet.iter_sidedata())


def again(container: Any, probe: Probe, ticks: list[int]) -> Iterator[Any]:
    """Packets that `index` has listed, once more: a clean point and what follows it without a gap,
    `ticks` in decoding order. Raises `Unclear` where the file holds others now."""
    stream = only(container, container.streams[probe.picture.index])
    for target in (ticks[0], _START):
        with suppress(OSError):  # a broken index
            container.seek(target, stream=stream, backward=True)
        left = iter(ticks)
        due = next(left)
        started = False
        for packet in container.demux(stream):
            if not packet.size or packet.pts is None:
                continue
            if packet.pts != due:
                if started:
                    raise Unclear("packets that were there before")
                if packet.is_keyframe and packet.pts > due:
                    break  # behind the target
                continue
            started = True
            yield packet
            following = next(left, None)
            if following is None:
                return
            due = following
        if started:
            break
    raise Unclear("packets that were there before")


def _coded(packet: Any, length_size: int, digests: bool) -> Coded:
    key = clean = bool(packet.is_keyframe)
    if length_size and key:
        clean = any(kind(unit) == IDR for unit in units(bytes(packet), length_size))
    digest = blake2b(packet, digest_size=16).digest() if digests else b""
    return Coded(packet.pts, key, clean, bool(packet.is_discard), digest)


def index(
    container: Any,
    probe: Probe,
    first: int | None,
    end: int | None,
    length_size: int = 0,
    digests: bool = False,
) -> list[Coded]:
    """The packets' facts as a list that begins with a key frame at or before `first`."""
    found = [coded for coded, _ in packets(container, probe, first, end, length_size, digests)]
    if not found:
        raise Unclear("no packets")
    if len({coded.tick for coded in found}) < len(found):
        raise Unclear("doubled times")
    return found


def shown(found: list[Coded], first: int, end: int) -> list[int]:
    """Ticks of the frames that start in [first, end), in order."""
    return sorted(c.tick for c in found if first <= c.tick < end and not c.hidden)


def pick(
    path: Path,
    probe: Probe,
    found: list[Coded],
    ticks: Iterable[int],
    limits: Limits,
    rough: bool = False,
    container: Any = None,
) -> Iterator[tuple[int, Any]]:
    """(tick, `av.VideoFrame`) of these ticks, in order. Raises `Unclear` where one is missing.

    `found` is an `index` that covers them. `rough` leaves the loop filter off: a third cheaper, and
    such pictures are fit for telling frames apart but for nothing else. `container` may be one that
    `index` or `pick` has read, roughly or not as now: opening costs as much as decoding ten frames.
    """
    wanted = set(ticks)
    if not wanted:
        return
    needed = _needed(found, wanted)
    with open_input(path) if container is None else nullcontext(container) as source:
        stream = only(source, source.streams[probe.picture.index])
        decoding = Decoding(source, stream, limits.max_pixels, rough=rough)
        if container is not None or found[0].tick > (probe.picture.first or 0):
            with suppress(OSError):  # a broken index; then the first packet is still ahead
                source.seek(found[0].tick, stream=stream, backward=True)
        for packet in _only(decoding.demux(stream), found[0].tick, needed):
            skip = packet.size and packet.pts not in wanted
            stream.codec_context.skip_frame = "NONREF" if skip else "DEFAULT"
            for tick, frame in decoding.decode(packet):
                if tick in wanted:
                    wanted.discard(tick)
                    yield tick, frame
            if not wanted:
                return
            if not packet.size:
                stream.codec_context.flush_buffers()
    raise Unclear("frames that do not decode")


def _only(found: Iterator[Any], first: int, needed: set[int]) -> Iterator[Any]:
    """The packets at `needed` ticks from the one at `first` on.

    Wherever some are left out, and at the end, an empty one tells the decoder to give out what it
    holds and start afresh: it takes a hole for damage and may keep the frames behind it to itself.
    """
    started = left_out = False
    for packet in found:
        started = started or packet.pts == first
        if not (started and packet.size):
            continue
        if packet.pts not in needed:
            left_out = True
            continue
        if left_out:
            yield _end(packet.stream)
            left_out = False
        needed.discard(packet.pts)
        yield packet
        if not needed:
            yield _end(packet.stream)
            return


def _end(stream: Any) -> Any:
    packet = av.Packet(0)
    packet.stream = stream
    return packet


def _needed(found: list[Coded], wanted: set[int]) -> set[int]:
    """Ticks of the packets from the key frame before each wanted frame to the frame itself.

    The frame comes out of the decoder when a later clean point or the end of the file goes in.
    """
    needed: set[int] = set()
    place = {coded.tick: number for number, coded in enumerate(found)}
    added = 0
    for tick in sorted(wanted, key=lambda t: place.get(t, 0)):
        if tick not in place:
            raise Unclear("frames that have no packet")
        start = place[tick]
        while start > added and not (found[start].clean and found[start].tick <= tick):
            start -= 1
        needed.update(coded.tick for coded in found[start : place[tick] + 1])
        added = max(added, place[tick] + 1)
    return needed
