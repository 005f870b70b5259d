"""The sound of a clip: the source's own packets where they can be exact, else samples to encode.

An AAC packet holds 1024 samples and spans begin anywhere, so packets alone are up to 23 ms off. But
every AAC track in MP4 begins with samples that its edit list leaves out, the encoder's run-in; a
copied track begins with the packet before the span's first sample, without which that one does not
decode, and leaves out what comes before the span. So the copy is exact to the sample for all who
skip an encoder's run-in, loses nothing, and costs a hundredth of encoding. The price: who ignores
edit lists hears it up to 46 ms late, against 23 ms for encoded sound.

Copied is only what is proven: AAC-LC without extensions in an MP4 whose clock counts samples, in
one unbroken run from before the span to behind its end. Whatever else is encoded, from samples on
the picture's time line with holes filled.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av

from clipmill.schemas.records import Probe, Stream
from clipmill.stages.media.audio import Samples, audio, has_audio
from clipmill.stages.media.clip import Encoding, Wanted
from clipmill.stages.media.coded import renewed
from clipmill.stages.media.decode import only
from clipmill.stages.media.limits import Limits

FRAME = 1024  # samples of an AAC-LC packet

_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_LONGEST_S = 600  # packets are held as a list; of longer clips the sound is encoded as it comes
_LOW_COMPLEXITY = 2  # audio object type, ISO/IEC 14496-3 table 1.17
_SYNC_EXTENSION = 0x2B7  # announces spectral band replication, 14496-3 1.6.5


@dataclass(frozen=True, slots=True)
class Sampled:
    """Sound to encode, int16 of shape (n,) or (n, 2), from a clip's first frame to its end."""

    rate: int
    channels: Literal[1, 2]
    chunks: Iterator[Samples]


@dataclass(frozen=True, slots=True)
class Packed:
    """Packets of the source: (sample, bytes), clip time zero being sample 0, and the end."""

    rate: int
    template: Any  # the stream of the open source
    packets: list[tuple[int, bytes]]
    end: int


def sampled(
    source: Path, probe: Probe, item: Wanted, encoding: Encoding, limits: Limits
) -> Sampled | None:
    """The samples of a clip's sound, the first track; None where it gets none."""
    if not encoding.audio or not has_audio(probe):
        return None
    track = probe.sound[0]
    rate = track.sample_rate if track.sample_rate in _RATES else 48_000
    channels: Literal[1, 2] = 2 if (track.channels or 1) > 1 else 1
    start, end = item.times(probe)
    chunks = audio(
        source,
        probe,
        rate=rate or 48_000,
        start_s=float(start),
        end_s=float(end),
        channels=channels,
        limits=limits,
    )
    return Sampled(rate or 48_000, channels, chunks)


def sound_of(
    container: Any, source: Path, probe: Probe, item: Wanted, encoding: Encoding, limits: Limits
) -> Sampled | Packed | None:
    """The sound of a clip whose picture is copied; `container` is the open source."""
    if not encoding.audio or not has_audio(probe):
        return None
    return packed(container, probe, item) or sampled(source, probe, item, encoding, limits)


def packed(container: Any, probe: Probe, item: Wanted) -> Packed | None:
    """The packets of a clip's sound; None where they cannot be exact."""
    track = probe.sound[0]
    stream = container.streams[track.index]
    if not _plain(stream, track):
        return None
    rate = stream.codec_context.sample_rate
    first, last = (round(time * rate) + track.clock.zero for time in item.times(probe))
    if last - first > _LONGEST_S * rate:
        return None
    run = _run(container, stream, first, last)
    if not run or run[-1][0] + FRAME < last:
        return None
    if run[0][0] + FRAME > first and not run[0][0] == track.first <= first:
        return None  # nothing to run in with, and not the track's own beginning
    return Packed(rate, stream, [(tick - first, data) for tick, data in run], last - first)


def _run(container: Any, stream: Any, first: int, last: int) -> list[tuple[int, bytes]]:
    """The unbroken run of packets from the one before sample `first` to the one at `last`."""
    held: list[tuple[int, bytes]] = []
    with suppress(av.FFmpegError):
        container.seek(first - 2 * FRAME, stream=stream, backward=True)
        for packet in container.demux(only(container, stream)):
            if not packet.size:
                continue
            tick = packet.pts
            if tick is None or packet.is_corrupt or renewed(packet):
                return []
            if tick >= last:
                break
            if held and tick != held[-1][0] + FRAME:
                if tick > first:
                    return []  # a hole in what is wanted
                held.clear()
            held.append((tick, bytes(packet)))
            if len(held) > 2 and held[1][0] + FRAME <= first:
                held.pop(0)
    return held


def _plain(stream: Any, track: Stream) -> bool:
    """Whether packets decode to 1024 samples each, counted by the stream's own clock."""
    rate = stream.codec_context.sample_rate
    return bool(
        track.codec == "aac"
        and rate in _RATES
        and stream.time_base == Fraction(1, rate)
        and low_complexity(stream.codec_context.extradata or b"")
    )


def low_complexity(config: bytes) -> bool:
    """Whether an AudioSpecificConfig is AAC-LC, mono or stereo, with nothing on top."""
    if len(config) < 2:
        return False
    bits = int.from_bytes(config[:2], "big")
    kind, frequency, channels, rest = bits >> 11, bits >> 7 & 15, bits >> 3 & 15, bits & 7
    # `rest`: packets of 960 samples, a core coder, an extension; all of them absent.
    plain = kind == _LOW_COMPLEXITY and frequency < 13 and channels in (1, 2) and not rest
    if not plain or len(config) < 5:
        return plain
    tail = int.from_bytes(config[2:5], "big")
    return not (tail >> 13 == _SYNC_EXTENSION and tail >> 7 & 1)
