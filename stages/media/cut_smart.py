"""Smart cuts: whole groups of pictures copied, only the ends encoded, exact in every reader.

    source   I b b P b b P | I b b P b b P b b P | I b b P b b P
    span             [-----------------------------------]
    clip             I p p   I b b P b b P b b P   I b b P I       (p, last I: encoded by us)

From the span's start to its first clean point (an IDR picture) frames are encoded without
reordering; then packets are copied, as many as show a gapless run of frames; the few frames left
over at the end are encoded again as a group of their own. Ours use parameter sets with a number
the source does not use, all of them in one decoder configuration, so that every reader sees one
ordinary track without an edit that cuts pictures off.

Copied packets are compared byte by byte with the source's, and pictures are compared around both
joints, so no full decode is needed. What is not proven is left to `encode`, with the reason:
other codecs, open groups, changing parameter sets, fields, turned or oblong pixels, damage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path
from typing import Any

import av

from clipmill.schemas.records import Probe
from clipmill.stages.media import h264
from clipmill.stages.media.clip import ClipMedia, Encoding, Wanted, inexact, sound_of
from clipmill.stages.media.clip_check import alike, same_times, thumb
from clipmill.stages.media.coded import Coded, Unclear, index, packets, pick, shown
from clipmill.stages.media.frames import Picture, display_size
from clipmill.stages.media.h264 import Configuration, NotH264
from clipmill.stages.media.join import Piece, join
from clipmill.stages.media.limits import SEEKABLE, Limits
from clipmill.stages.media.probe import open_clip

_PROFILES = {66: "baseline", 77: "main", 100: "high"}
_LEAST = Fraction(1, 4)  # of a clip's frames that must be copied; two encoders are not worth less
_LENGTH = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """Ticks of the three parts of a clip; `copied` is in decoding order, the others in time."""

    head: list[int]
    copied: list[int]
    tail: list[int]

    @property
    def order(self) -> list[int]:
        return [*self.head, *self.copied, *self.tail]


def smart_clip(
    container: Any,
    source: Path,
    probe: Probe,
    item: Wanted,
    path: Path,
    encoding: Encoding,
    limits: Limits,
) -> ClipMedia:
    """Write one clip; `container` is the open source. Raises `Unclear` with the reason where it is
    not proven, `Damaged` where the clip does not hold what it should."""
    suitable(probe, encoding)
    template = container.streams[probe.picture.index]
    try:
        found_in = _configuration(template.codec_context.extradata or b"")
        ours = h264.sequence(found_in.sps[0])
        found = index(container, probe, item.first, item.end, found_in.length_size)
        plan = planned(found, item.first, item.end)
        if ours.reordered is None and plan.copied != sorted(plan.copied):
            raise Unclear("reordering that is not declared")
        item.ticks = sorted(plan.order)
        ends = _Ends(probe, encoding, found_in, ours.profile)
        pictures = ends.encode(container, source, probe, found, plan, limits)
        record = ends.record(found_in)
        digests: list[bytes] = []
        pieces = _pieces(container, probe, item, plan, found_in, ends, digests)
        end = min(item.end, probe.picture.end or item.end)
        sound = sound_of(source, probe, item, encoding, limits)
        kbps = encoding.audio_kbps
        join(path, template, plan.order, pieces, item.ticks[0], end, record, sound, kbps)
    except NotH264 as error:
        raise Unclear(str(error)) from error
    return _checked(path, source, probe, item, plan, digests, pictures, limits)


def suitable(probe: Probe, encoding: Encoding) -> None:
    """Raise `Unclear` with the reason where a source's packets cannot be copied."""
    picture = probe.picture
    width, height = picture.width or 0, picture.height or 0
    shrunk = encoding.height is not None and encoding.height < display_size(picture)[1]
    reasons = {
        picture.codec: picture.codec != "h264",
        "no index": not picture.seekable or not set(probe.container.split(",")) & SEEKABLE,
        "damaged": probe.damaged,
        "turned": bool(picture.rotation) or picture.mirrored,
        "oblong pixels": picture.sar_num != picture.sar_den,
        "odd size": bool(width % 2 or height % 2) or not width or not height,
        "another size or rate": shrunk or encoding.fps is not None,
        str(picture.pix_fmt): picture.pix_fmt not in ("yuv420p", "yuvj420p"),
    }
    for reason, holds in reasons.items():
        if holds:
            raise Unclear(reason)


def _configuration(record: bytes) -> Configuration:
    """The decoder configuration of a source, where it is one that can be joined."""
    found = h264.configuration(record)
    if len(found.sps) != 1:
        raise Unclear("several parameter sets")
    sequence = h264.sequence(found.sps[0])
    if sequence.profile not in _PROFILES or sequence.depth != 8 or sequence.chroma != 1:
        raise Unclear(f"profile {sequence.profile}")
    if not sequence.progressive:
        raise Unclear("fields")
    return found


def planned(found: list[Coded], first: int, end: int) -> Plan:
    """Which frames of [first, end) are copied and which encoded. Raises `Unclear`."""
    ticks = shown(found, first, end)
    starts = [n for n, c in enumerate(found) if c.clean and first <= c.tick < end and not c.hidden]
    if not starts:
        raise Unclear("no clean point inside the span" if ticks else "no frame inside the span")
    start = starts[0]
    head = [tick for tick in ticks if tick < found[start].tick]
    if head and not any(c.clean and c.tick <= head[0] for c in found[:start]):
        raise Unclear("open groups of pictures")
    middle = ticks[len(head) :]
    copied: list[int] = []
    taken: list[int] = []
    for coded in found[start:]:
        if coded.hidden or coded.tick >= end:
            break
        taken.append(coded.tick)
        if max(taken) == middle[len(taken) - 1]:  # no frame is missing among them
            copied = list(taken)
    if len(copied) < _LEAST * len(ticks):
        raise Unclear("few whole groups of pictures")
    return Plan(head, copied, middle[len(copied) :])


class _Ends:
    """Encodes the ends of clips with parameter sets that a source does not use."""

    def __init__(
        self, probe: Probe, encoding: Encoding, found: Configuration, profile: int
    ) -> None:
        used = {h264.sequence(sps).number for sps in found.sps}
        used |= {h264.picture_set_number(pps) for pps in found.pps}
        free = [number for number in range(1, 32) if number not in used]
        if not free:
            raise Unclear("all parameter set numbers are taken")
        self._probe, self._encoding = probe, encoding
        self._number, self._profile = free[0], _PROFILES[profile]
        self._sets: set[tuple[bytes, ...]] = set()
        self.pieces: dict[int, Piece] = {}

    def encode(
        self,
        container: Any,
        source: Path,
        probe: Probe,
        found: list[Coded],
        plan: Plan,
        limits: Limits,
    ) -> dict[int, Picture]:
        """Encode both ends; small pictures of the frames around the joints come back."""
        head, tail = set(plan.head), set(plan.tail)
        wanted = _joints(plan)
        pictures: dict[int, Picture] = {}
        encoders: dict[bool, Any] = {}  # of the tail, or not
        ticks = {*head, *tail, *wanted}
        for tick, frame in pick(source, probe, found, ticks, limits, container=container):
            if tick in wanted:
                pictures[tick] = thumb(frame, probe)
            if tick in head or tick in tail:
                if frame.interlaced_frame:
                    raise Unclear("fields")
                last = tick in tail
                if last not in encoders:
                    encoders[last] = self._encoder(frame)
                frame.pict_type, frame.pts = 0, tick
                self._take(encoders[last].encode(frame))
        for encoder in encoders.values():
            self._take(encoder.encode(None))
            self._sets.add(tuple(h264.split_start_codes(encoder.extradata)))
        if set(self.pieces) != head | tail:
            raise Unclear("frames that do not decode")
        return pictures

    def record(self, found: Configuration) -> bytes:
        """The source's decoder configuration with our parameter sets added."""
        if len(self._sets) > 1:
            raise Unclear("the ends differ in their parameter sets")
        units = [unit for sets in self._sets for unit in sets]
        sps = tuple(unit for unit in units if h264.kind(unit) == h264.SPS)
        pps = tuple(unit for unit in units if h264.kind(unit) == h264.PPS)
        head = found.head[:2] + bytes([max([found.head[2], *(unit[3] for unit in sps)])])
        whole = Configuration(head, _LENGTH, found.sps + sps, found.pps + pps, found.rest)
        return whole.record()

    def _encoder(self, frame: Any) -> Any:
        context: Any = av.CodecContext.create("libx264", "w")
        context.width, context.height = frame.width, frame.height
        context.pix_fmt = frame.format.name
        context.time_base = Fraction(self._probe.picture.clock.num, self._probe.picture.clock.den)
        picture = self._probe.picture
        if picture.fps_num and picture.fps_den:
            context.framerate = Fraction(picture.fps_num, picture.fps_den)
        context.color_range, context.colorspace = frame.color_range, frame.colorspace
        context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
        context.max_b_frames, context.thread_count = 0, 1
        flags = av.codec.context.Flags
        context.flags |= flags.bitexact.value | flags.global_header.value
        context.options = {
            "crf": str(self._encoding.crf),
            "preset": self._encoding.preset,
            "profile": self._profile,
            "mbtree": "0",  # not repeatable, see `write`
            "x264-params": f"sps-id={self._number}",
        }
        return context

    def _take(self, coded: list[Any]) -> None:
        for packet in coded:
            units = h264.split_start_codes(bytes(packet))
            left = [unit for unit in units if h264.kind(unit) not in (h264.SEI, h264.DELIMITER)]
            self.pieces[packet.pts] = Piece(packet.pts, _framed(left), packet.is_keyframe)


def _framed(units: list[bytes]) -> bytes:
    return b"".join(len(unit).to_bytes(_LENGTH, "big") + unit for unit in units)


def _joints(plan: Plan) -> set[int]:
    """The frames on both sides of every joint, and the clip's first and last where encoded."""
    wanted = {plan.copied[0]}
    if plan.head:
        wanted |= {plan.head[0], plan.head[-1]}
    if plan.tail:
        wanted |= {max(plan.copied), plan.tail[0], plan.tail[-1]}
    return wanted


def _pieces(
    container: Any,
    probe: Probe,
    item: Wanted,
    plan: Plan,
    found: Configuration,
    ends: _Ends,
    digests: list[bytes],
) -> Iterator[Piece]:
    """All pictures of a clip in decoding order; `digests` gets theirs."""

    def noted(piece: Piece) -> Piece:
        digests.append(blake2b(piece.data, digest_size=16).digest())
        return piece

    for tick in plan.head:
        yield noted(ends.pieces[tick])
    left = iter(plan.copied)
    due = next(left)
    for coded, packet in packets(container, probe, item.first, item.end, found.length_size):
        if coded.tick != due:
            continue
        units = list(h264.units(bytes(packet), found.length_size))
        if any(h264.kind(u) in (h264.SPS, h264.PPS) and not found.holds(u) for u in units):
            raise Unclear("changing parameter sets")
        yield noted(Piece(coded.tick, _framed(units), coded.clean))
        due = next(left, -(2**63))
    for tick in plan.tail:
        yield noted(ends.pieces[tick])


def _checked(
    path: Path,
    source: Path,
    probe: Probe,
    item: Wanted,
    plan: Plan,
    digests: list[bytes],
    pictures: dict[int, Picture],
    limits: Limits,
) -> ClipMedia:
    """Every packet and its time, and the pictures around the joints, as they are read back."""
    with open_clip(path, limits, rough=False) as (container, clip):
        if clip.damaged:
            raise inexact(item, source, clip.damage[0])
        own, clock = clip.picture.clock, probe.picture.clock
        held = index(container, clip, None, None, _LENGTH, digests=True)
        if [coded.digest for coded in held] != digests:
            raise inexact(item, source, "other packets than were written")
        ticks = [coded.tick for coded in held]
        if not same_times(own, ticks, clock, plan.order):
            raise inexact(item, source, "packets at other times")
        place = dict(zip((coded.tick for coded in held), plan.order, strict=True))
        joints = [coded.tick for coded in held if place[coded.tick] in pictures]
        for tick, frame in pick(path, clip, held, joints, limits, container=container):
            if not alike(thumb(frame, clip), pictures[place[tick]], probe):
                raise inexact(item, source, f"a frame at {float(own.exact(tick)):.3f} s differs")
    return item.media(path, probe, clip, len(held), "smart")
