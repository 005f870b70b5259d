"""Writes packets of picture and sound into an MP4: the muxing side of smart cuts and copies.

Presentation times are kept as they are; decoding times are made up anew, as late as they can be:
the i-th packet's is the i-th smallest presentation time, less what the reordering of the whole clip
needs. So two encodings with different reordering fit behind each other in one track, at any frame
rate. Bit-exact muxing makes equal input give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from clipmill.stages.media.clip import AAC_CODER
from clipmill.stages.media.clip_sound import FRAME, Packed, Sampled

_BLOCK = 4096  # samples that go to the sound encoder at once


@dataclass(frozen=True, slots=True)
class Piece:
    """One coded picture, its units preceded by lengths of four bytes."""

    tick: int
    data: bytes
    key: bool


def join(
    path: Path,
    template: Any,
    order: list[int],
    pieces: Iterable[Piece],
    origin: int,
    end: int,
    record: bytes,
    sound: Sampled | Packed | None,
    kbps: int,
    scale: int = 1000,
) -> None:
    """Write `path`. `order` holds the ticks of `pieces`, both in decoding order.

    `template` is the source's stream, of an open container. Tick `origin` becomes time zero, where
    the sound starts; pieces before it are decoded and not shown. `end` is where the last picture's
    display ends. `record` is the decoder configuration, `scale` the ticks per second of edit lists.
    """
    ticks = sorted(order)
    ends = dict(zip(ticks, [*ticks[1:], max(end, ticks[-1] + 1)], strict=True))
    delay = max(early - tick for early, tick in zip(ticks, order, strict=True))
    options = {"movflags": "+faststart", "movie_timescale": str(scale)}
    with av.open(str(path), "w", format="mp4", options=options) as out:
        out.flags |= av.container.Flags.bitexact.value
        base: Fraction = template.time_base
        stream = out.add_stream_from_template(template)
        stream.codec_context.extradata = record
        stream.time_base = base
        voice: _Encoded | _Copied | None = None
        if isinstance(sound, Packed):
            voice = _Copied(out, sound)
        elif sound is not None:
            voice = _Encoded(out, sound, kbps)
        rate = sound.rate if sound is not None else 0
        for early, piece in zip(ticks, pieces, strict=True):
            if voice is not None:
                voice.until(-((origin - early) * base.numerator * rate // base.denominator))
            packet = av.Packet(piece.data)
            packet.stream, packet.time_base = stream, base
            packet.pts, packet.dts = piece.tick - origin, early - delay - origin
            packet.duration = ends[early] - early  # of the decoding line, whose last one counts
            packet.is_keyframe = piece.key
            out.mux(packet)
        if voice is not None:
            voice.until(None)


class _Copied:
    """Writes packets of sound in step with the picture; the last one is cut at the clip's end."""

    def __init__(self, out: Any, sound: Packed) -> None:
        self._out, self._sound, self._next = out, sound, 0
        self._stream = out.add_stream_from_template(sound.template)
        self._stream.time_base = Fraction(1, sound.rate)

    def until(self, sample: int | None) -> None:
        """Write the packets that begin before a sample, or all that are left."""
        for tick, data in self._sound.packets[self._next :]:
            if sample is not None and tick >= sample:
                return
            packet = av.Packet(data)
            packet.stream, packet.time_base = self._stream, self._stream.time_base
            packet.pts = packet.dts = tick
            packet.duration = min(FRAME, self._sound.end - tick)
            packet.is_keyframe = True
            self._out.mux(packet)
            self._next += 1


class _Encoded:
    """Encodes the sound in step with the picture, so that little has to be held back."""

    def __init__(self, out: Any, sound: Sampled, kbps: int) -> None:
        layout = "mono" if sound.channels == 1 else "stereo"
        self._out, self._at = out, 0
        self._stream = out.add_stream("aac", rate=sound.rate, layout=layout)
        self._stream.bit_rate = kbps * 1000
        self._stream.options = {"aac_coder": AAC_CODER}
        self._stream.codec_context.flags |= av.codec.context.Flags.bitexact.value
        self._blocks = self._frames(sound)

    def until(self, sample: int | None) -> None:
        """Write the sound up to a sample, or all that is left."""
        while sample is None or self._at < sample:
            frame = next(self._blocks, None)
            if frame is None:
                break
            self._out.mux(self._stream.encode(frame))
        if sample is None:
            self._out.mux(self._stream.encode(None))

    def _frames(self, sound: Sampled) -> Iterator[Any]:
        layout = self._stream.codec_context.layout
        for samples in sound.chunks:
            for start in range(0, len(samples), _BLOCK):
                block = np.ascontiguousarray(samples[start : start + _BLOCK])
                frame: Any = av.AudioFrame.from_ndarray(
                    block.reshape(1, -1), format="s16", layout=layout
                )
                frame.sample_rate, frame.pts = sound.rate, self._at
                frame.time_base = Fraction(1, sound.rate)
                self._at += len(block)
                yield frame
