"""Sound as speech models want it, on the picture's time line.

Sample n of what `audio` yields is heard at presentation time n / rate (plus `start_s`): a track
that starts late begins with silence, what lies before presentation zero is cut off, holes are
filled and overlaps dropped. Without this a transcript is off by the container's delay. Chunks are
yielded as they are decoded, so memory does not grow with the length of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from numpy.typing import NDArray

from clipmill.schemas.records import Probe, Stream
from clipmill.stages.media.decode import Decoding, exact_seek, open_input
from clipmill.stages.media.limits import Limits

Samples = NDArray[np.int16]

_CHUNK_S = 10
_SLACK_S = Fraction(1, 50)  # timestamps of sound jitter; smaller holes and overlaps are not real
_PREROLL_S = 1  # decoded and dropped before a seek's target, so that decoders have settled


def audio(
    path: Path,
    probe: Probe,
    track: int = 0,
    rate: int = 16_000,
    start_s: float | None = None,
    end_s: float | None = None,
    channels: Literal[1, 2] = 1,
    limits: Limits | None = None,
) -> Iterator[Samples]:
    """Chunks of int16 at `rate`, shape (n,) mono or (n, 2) stereo.

    They run from `start_s` (default 0) to `end_s` (default: the track's end), presentation times.

    Channels are mixed down by libswresample's matrix for the track's layout, scaled so that it
    cannot clip. With `end_s` the result always has that length, silence behind the track's end.
    Where there is no such track nothing is yielded; ask `has_audio`. Damaged packets are silence.
    """
    if not has_audio(probe, track):
        return
    begin = round(Fraction(start_s or 0) * rate)
    stop = None if end_s is None else round(Fraction(end_s) * rate)
    held: list[Samples] = []
    length = 0
    for piece in _on_time_line(path, probe.sound[track], rate, begin, stop, channels, limits):
        held.append(piece)
        length += len(piece)
        if length >= rate * _CHUNK_S:
            yield np.concatenate(held)
            held, length = [], 0
    if held:
        yield np.concatenate(held)


def _on_time_line(
    path: Path,
    sound: Stream,
    rate: int,
    begin: int,
    stop: int | None,
    channels: int,
    limits: Limits | None,
) -> Iterator[Samples]:
    """Pieces without hole or overlap, from sample `begin` to `stop`."""
    written = begin  # counted in samples from presentation zero, so rounding never adds up
    for at, samples in _decoded(path, sound, rate, begin, stop, channels, limits):
        if stop is not None and at >= stop:
            break
        if at > written:
            yield from _silence(at - written, rate, channels)
            written = at
        piece = samples[written - at : None if stop is None else stop - at]
        if len(piece):
            yield piece
            written += len(piece)
    if stop is not None:
        yield from _silence(stop - written, rate, channels)


def has_audio(probe: Probe, track: int = 0) -> bool:
    """Whether a sound track is there and holds at least one packet."""
    return 0 <= track < len(probe.sound) and probe.sound[track].first is not None


def _decoded(
    path: Path,
    sound: Stream,
    rate: int,
    begin: int,
    stop: int | None,
    channels: int,
    limits: Limits | None,
) -> Iterator[tuple[int, Samples]]:
    """(position in samples from presentation zero, samples) of every decoded piece."""
    with open_input(path, sound_only=True) as container:
        stream = container.streams[sound.index]
        decoding = Decoding(container, stream, (limits or Limits()).max_pixels)
        if begin > _PREROLL_S * rate and exact_seek(container):
            tick = sound.clock.tick(Fraction(begin, rate) - _PREROLL_S)
            with suppress(OSError):  # a broken index: read from the start
                container.seek(tick, stream=stream, backward=True)
        target = "mono" if channels == 1 else "stereo"
        clock, slack = sound.clock, int(_SLACK_S * rate)
        resampler: Any = None
        layout: tuple[Any, ...] = ()
        at = 0
        for tick, frame in decoding:
            # Whole numbers: fractions cost as much here as decoding does.
            position = 2 * (tick - clock.zero) * clock.num * rate + clock.den
            expected = position // (2 * clock.den)
            shape = (frame.format.name, frame.layout.name, frame.sample_rate)
            if shape != layout:  # a track may change its layout in mid-stream
                resampler = av.AudioResampler(format="s16", layout=target, rate=rate)
                layout, at = shape, expected
            elif abs(expected - at) > slack:
                at = expected
            frame.pts = None
            for piece in resampler.resample(frame):
                yield at, _array(piece, channels)
                at += piece.samples
            if stop is not None and at >= stop:
                return
        if resampler is not None:
            for piece in resampler.resample(None):
                yield at, _array(piece, channels)
                at += piece.samples


def _array(piece: Any, channels: int) -> Samples:
    """The samples of an interleaved frame, not copied."""
    samples = np.frombuffer(piece.planes[0], np.int16)[: piece.samples * channels]
    return samples if channels == 1 else samples.reshape(-1, channels)


def _silence(count: int, rate: int, channels: int) -> Iterator[Samples]:
    while count > 0:
        size = min(count, rate * _CHUNK_S)
        yield np.zeros(size if channels == 1 else (size, channels), np.int16)
        count -= size
