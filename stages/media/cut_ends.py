"""Encodes stretches of a source so that they join its own packets in one H.264 track.

What is encoded here is what copying leaves over: the frames between a span's ends and clean points,
and spans without one. It has to be quick and no worse than what stands beside it, not small: x264's
quickest preset with the loop filter, 8x8 transforms and intra blocks put back costs 0.45 of
`veryfast` and is at least its equal in SSIM at the same rate factor (films of five kinds; three of
them coarser without those tools), for one to two times the source's own bits.

Parameter sets get a number that the source does not use; sets of both stand in one decoder
configuration.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import av

from clipmill.schemas.records import Probe, Stream
from clipmill.stages.media import h264
from clipmill.stages.media.clip_check import thumb
from clipmill.stages.media.coded import Unclear
from clipmill.stages.media.frames import Picture
from clipmill.stages.media.h264 import Configuration
from clipmill.stages.media.join import Piece

LENGTH = 4
"""Bytes of the length before every unit of a joined track."""

_PROFILES = {66: "baseline", 77: "main", 100: "high"}
_QUICK = "no-deblock=0:partitions=i4x4,i8x8:8x8dct=1:cabac=1"


class Coder:
    """How the ends of a source's clips are encoded."""

    def __init__(self, probe: Probe, crf: int, found: Configuration) -> None:
        """`found` is the source's decoder configuration. Raises `Unclear` where it cannot be
        joined."""
        if len(found.sps) != 1:
            raise Unclear("several parameter sets")
        sequence = h264.sequence(found.sps[0])
        if sequence.profile not in _PROFILES or sequence.depth != 8 or sequence.chroma != 1:
            raise Unclear(f"profile {sequence.profile}")
        if not sequence.progressive:
            raise Unclear("fields")
        used = {sequence.number, *(h264.picture_set_number(pps) for pps in found.pps)}
        free = [number for number in range(1, 32) if number not in used]
        if not free:
            raise Unclear("all parameter set numbers are taken")
        self._number, self._profile = free[0], _PROFILES[sequence.profile]
        self.picture: Stream = probe.picture
        self._crf = crf

    def open(self, frame: Any) -> Any:
        """An encoder for frames like this one."""
        if frame.interlaced_frame:
            raise Unclear("fields")
        context: Any = av.CodecContext.create("libx264", "w")
        picture = self.picture
        context.width, context.height = frame.width, frame.height
        context.pix_fmt = frame.format.name
        context.time_base = Fraction(picture.clock.num, picture.clock.den)
        if picture.fps_num and picture.fps_den:
            context.framerate = Fraction(picture.fps_num, picture.fps_den)
        context.color_range, context.colorspace = frame.color_range, frame.colorspace
        context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
        context.max_b_frames, context.thread_count = 0, 1
        flags = av.codec.context.Flags
        context.flags |= flags.bitexact.value | flags.global_header.value
        context.options = {
            "crf": str(self._crf),
            "preset": "ultrafast",
            "profile": self._profile,
            "x264-params": f"sps-id={self._number}:{_QUICK}",
        }
        return context


class End:
    """One stretch of a clip that is encoded; `ticks` are its frames, in order."""

    def __init__(self, ticks: list[int]) -> None:
        self.ticks = ticks
        self.pieces: list[Piece] = []
        self.sets: tuple[bytes, ...] = ()
        self.look: Picture | None = None  # of the first frame, to know it again
        self._encoder: Any = None

    def take(self, frame: Any, tick: int, coder: Coder) -> None:
        """Encode the next frame, whose tick is one of `ticks`."""
        if self._encoder is None:
            self._encoder = coder.open(frame)
            self.look = thumb(frame, coder.picture)
        frame.pict_type, frame.pts = 0, tick
        self._keep(self._encoder.encode(frame))
        if tick == self.ticks[-1]:
            self._keep(self._encoder.encode(None))
            self.sets = tuple(h264.split_start_codes(self._encoder.extradata))
            self._encoder = None

    def _keep(self, coded: list[Any]) -> None:
        for packet in coded:
            units = h264.split_start_codes(bytes(packet))
            left = [unit for unit in units if h264.kind(unit) not in (h264.SEI, h264.DELIMITER)]
            self.pieces.append(Piece(packet.pts, framed(left), packet.is_keyframe))


def framed(units: list[bytes]) -> bytes:
    """Units as a packet of a joined track."""
    return b"".join(len(unit).to_bytes(LENGTH, "big") + unit for unit in units)


def joined(found: Configuration, ends: Iterable[End]) -> bytes:
    """A source's decoder configuration with the parameter sets of these ends added."""
    added = {end.sets for end in ends}
    if len(added) > 1:
        raise Unclear("the ends differ in their parameter sets")
    units = [unit for sets in added for unit in sets]
    sps = tuple(unit for unit in units if h264.kind(unit) == h264.SPS)
    pps = tuple(unit for unit in units if h264.kind(unit) == h264.PPS)
    head = found.head[:2] + bytes([max([found.head[2], *(unit[3] for unit in sps)])])
    return Configuration(head, LENGTH, found.sps + sps, found.pps + pps, found.rest).record()
