"""Facts about a media file, found by reading it.

Headers promise and files keep: declared durations of forty hours over one second of picture,
745 frames of which 6 are there, tracks without a sample. So the probe reads every packet and, by
default, decodes every frame of the picture once; that costs one decoding pass and buys exact frame
counts, exact ends and an honest list of damage. `count_frames=False` reads packets only.

Presentation zero is shared by all streams: the earliest start among picture and sound as edit
lists and start times leave them. Sound that starts before zero is codec priming and is not shown.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import atan2, degrees
from pathlib import Path
from statistics import median
from typing import Any

from av.stream import Disposition

from clipmill.schemas.clocks import Clock, Span
from clipmill.schemas.errors import NoVideo, OverLimit, Undecodable, Unreadable
from clipmill.schemas.records import Probe, Stream, Video
from clipmill.stages.media.decode import (
    Decoding,
    Log,
    error_log,
    exact_seek,
    kinds,
    open_input,
)
from clipmill.stages.media.limits import Limits, check_size

DECLARES = frozenset({"mov", "mp4", "matroska", "webm", "avi", "flv", "asf", "pmp"})
"""Containers whose duration is written down; elsewhere FFmpeg estimates it from bit rates."""

_MAX_TAG = 2000  # characters of a tag's value that are kept


def probe(path: Path, limits: Limits | None = None, count_frames: bool = True) -> Probe:
    """Read a file. Raises `Unreadable`, `NoVideo`, `Undecodable` or `OverLimit`.

    A file that decodes in part is returned with `damage` filled. The picture is the first video
    stream that yields a frame; attached pictures and empty tracks do not count.
    """
    limits = limits or Limits()
    size = check_size(path, limits)
    left: list[int] | None = None
    while left is None or left:
        with error_log() as log, open_input(path) as container:
            left = _candidates(container, path, limits) if left is None else left
            reading = _Reading(container, left.pop(0), limits, log, path, count_frames)
            reading.run()
            if reading.frames:
                return reading.result(size)
    raise _undecodable(reading.decoding.error, path)


def _undecodable(last: str, path: Path) -> Undecodable:
    return Undecodable(
        f"not one frame of the picture decodes ({last or 'the track is empty'})",
        cure="leave the file out; it may be encrypted or of an unknown codec",
        input=path.name,
    )


def probed(video: Video) -> Probe:
    """The probe of a video that has one; stages that read media ask here."""
    if video.probe is None:
        raise Unreadable(
            "the video has not been probed", cure="put probe_media before", input=video.id
        )
    return video.probe


def _candidates(container: Any, path: Path, limits: Limits) -> list[int]:
    """Indexes of the video streams that may be the picture."""
    if not container.streams:
        raise Unreadable(
            "the container holds no stream", cure="leave the file out", input=path.name
        )
    if len(container.streams) > limits.max_streams:
        raise OverLimit(
            f"{len(container.streams)} streams, the limit is {limits.max_streams}",
            cure="raise limits.max_streams",
            input=path.name,
        )
    found = [
        stream.index
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None
    ]
    if not found:
        raise NoVideo("there is no picture stream", cure="leave the file out", input=path.name)
    for index in found:
        _check_picture(container.streams[index], limits, path)
    return found


def _check_picture(stream: Any, limits: Limits, path: Path) -> None:
    pixels = (stream.codec_context.width or 0) * (stream.codec_context.height or 0)
    if pixels > limits.max_pixels:
        raise OverLimit(
            f"{stream.codec_context.width}x{stream.codec_context.height} pixels, "
            f"the limit is {limits.max_pixels}",
            cure="raise limits.max_pixels",
            input=path.name,
        )
    rate = stream.average_rate
    if rate and stream.frames > 1 and rate > limits.max_fps:
        raise OverLimit(
            f"{float(rate):g} frames per second, the limit is {limits.max_fps:g}",
            cure="raise limits.max_fps",
            input=path.name,
        )


@dataclass(slots=True)
class _Extent:
    first: int | None = None
    end: int | None = None

    def add(self, tick: int, duration: int) -> None:
        self.first = tick if self.first is None else min(self.first, tick)
        self.end = tick + duration if self.end is None else max(self.end, tick + duration)


class _Reading:
    """One pass over all packets of a file."""

    def __init__(
        self,
        container: Any,
        picture: int,
        limits: Limits,
        log: Log,
        path: Path,
        count_frames: bool,
    ) -> None:
        self.container, self.limits, self.log, self.path = container, limits, log, path
        self.count_frames = count_frames
        self.picture = container.streams[picture]
        # Nobody sees these frames; where all are decoded, what a decoder complains of counts.
        self.decoding = Decoding(container, self.picture, limits.max_pixels, rough=not count_frames)
        self._longest = limits.max_hours * 3600 / float(self.picture.time_base or 1)  # in ticks
        self.streams = [s for s in container.streams if s.type in ("video", "audio")]
        self.packets = {s.index: 0 for s in self.streams}
        self.extents = {s.index: _Extent() for s in self.streams}
        self.frames = 0
        self.turn: tuple[int, bool] = (0, False)
        self._last: tuple[int, int] = (0, 0)  # tick and own duration of the last frame
        self._gaps: deque[int] = deque(maxlen=32)  # between the last frames, in ticks

    def run(self) -> None:
        for packet in self.decoding.demux(*self.streams):
            index = packet.stream.index
            if packet.size:
                self.packets[index] += 1
            if packet.stream is self.picture or index == self.picture.index:
                if self.count_frames or not self.frames:
                    for tick, frame in self.decoding.decode(packet):
                        self._frame(tick, frame)
                elif packet.size:
                    self._undecoded(packet)
                self.log.drain()
            elif packet.pts is not None:
                self.extents[index].add(packet.pts, packet.duration or 0)
        self.log.drain()
        if self.frames:
            self.extents[self.picture.index].add(self._last[0], self._shown())

    def _frame(self, tick: int, frame: Any) -> None:
        if not self.frames:
            self.turn = display_turn(frame)
        else:
            self._gaps.append(tick - self._last[0])
        self.frames += 1
        self._last = (tick, self.decoding.ticker.step(frame))
        extent = self.extents[self.picture.index]
        extent.add(tick, 0)
        self._check_length(extent)

    def _undecoded(self, packet: Any) -> None:
        extent = self.extents[self.picture.index]
        duration = self.decoding.ticker.step(packet)
        if not self.decoding.ticker.timed:
            extent.add(extent.end or 0, duration)
        elif packet.pts is not None and not packet.is_discard:
            extent.add(packet.pts, duration)
        self._check_length(extent)

    def _shown(self) -> int:
        """How long the last frame is shown; containers without durations say 1 tick or so."""
        duration = self._last[1]
        usual = round(median(self._gaps)) if self._gaps else duration
        trusted = "mov" in kinds(self.container)
        return duration if trusted or 2 * duration >= usual else usual

    def _check_length(self, extent: _Extent) -> None:
        ticks = (extent.end or 0) - (extent.first or 0)
        if ticks > self._longest:
            seconds = float(ticks * self.picture.time_base)
            raise OverLimit(
                f"the picture runs {seconds / 3600:.1f} h, the limit is "
                f"{self.limits.max_hours:g} h",
                cure="raise limits.max_hours",
                input=self.path.name,
            )

    def result(self, size: int) -> Probe:
        zero = self._zero()
        counts: dict[str, int] = {}
        streams = []
        for stream in self.container.streams:
            letter = stream.type[0] if stream.type else "x"
            name = f"{letter}{counts.setdefault(letter, 0)}"
            counts[letter] += 1
            streams.append(stream_facts(stream, name, zero))
        for record in streams:
            extent = self.extents.get(record.index, _Extent())
            record.first, record.end = extent.first, extent.end
        number = [s.index for s in streams].index(self.picture.index)
        picture = streams[number]
        picture.rotation, picture.mirrored = self.turn
        ticker = self.decoding.ticker
        picture.seekable = exact_seek(self.container) and ticker.timed and not ticker.invented
        return Probe(
            container=self.container.format.name,
            size=size,
            duration_s=Span(picture.clock, picture.first or 0, picture.end or 0).duration_s,
            video=number,
            streams=streams,
            decoded_frames=self.frames if self.count_frames else None,
            damage=list(self._damage(picture, zero)),
            tags={key: value[:_MAX_TAG] for key, value in self.container.metadata.items()},
        )

    def _zero(self) -> Fraction:
        """Presentation zero on the container's time line, in seconds."""
        starts = []
        for stream in self.streams:
            extent = self.extents[stream.index]
            start = stream.start_time if stream.start_time is not None else extent.first
            if start is None or not self.packets[stream.index]:
                continue
            seconds = start * stream.time_base
            if stream.type == "audio":
                starts.append(max(Fraction(0), seconds))
            elif stream.index == self.picture.index:
                starts.append(min(seconds, (extent.first or 0) * stream.time_base))
        return min(starts, default=Fraction(0))

    def _damage(self, picture: Stream, zero: Fraction) -> Iterator[str]:
        decoding = self.decoding
        if decoding.failed:
            yield f"{decoding.failed} packets do not decode ({decoding.error})"
        elif decoding.error:
            yield f"reading stopped early ({decoding.error})"
        if decoding.corrupt:
            yield f"{decoding.corrupt} packets or frames are flagged corrupt"
        names = kinds(self.container) | {self.container.format.name}
        wanted = names | {self.picture.codec_context.name, self.picture.codec_context.codec.name}
        for name, count in sorted(self.log.counts.items()):
            if name in wanted:
                yield f"{name} reports {count} errors ({self.log.first[name]})"
        if decoding.ticker.invented:
            yield f"{decoding.ticker.invented} frames have no time of their own, or a wrong one"
        yield from self._missing(picture, zero)

    def _missing(self, picture: Stream, zero: Fraction) -> Iterator[str]:
        """Truncation: what is there ends clearly before what is declared."""
        if not kinds(self.container) & DECLARES:
            return
        pairs = []
        if picture.duration and picture.first is not None and picture.end is not None:
            tick = self.picture.time_base
            pairs.append((picture.duration * tick, (picture.end - picture.first) * tick))
        elif self.container.duration:
            ends = [
                extent.end * stream.time_base - zero
                for stream in self.streams
                if (extent := self.extents[stream.index]).end is not None
            ]
            pairs.append((Fraction(self.container.duration, 1_000_000), max(ends)))
        for declared, held in pairs:
            if held < declared - max(Fraction(1, 2), declared / 100):
                yield f"truncated: declares {float(declared):.2f} s, holds {float(held):.2f} s"


def stream_facts(stream: Any, name: str, zero: Fraction) -> Stream:
    """What a stream's header says; `zero` is presentation zero in its container's seconds."""
    base = stream.time_base or Fraction(1, 90_000)
    clock = Clock(name, base.numerator, base.denominator, round(zero / base))
    context = getattr(stream, "codec_context", None)
    record = Stream(
        index=stream.index,
        kind=stream.type or "data",
        codec=context.name if context is not None else "unknown",
        clock=clock,
        duration=stream.duration,
        frames=stream.frames or None,
        language=stream.language,
    )
    if context is None:
        return record
    if stream.type == "video":
        rate = stream.average_rate or stream.guessed_rate
        aspect = stream.sample_aspect_ratio
        record.width, record.height = context.width, context.height
        record.fps_num, record.fps_den = (rate.numerator, rate.denominator) if rate else (None,) * 2
        if aspect and aspect > 0:
            record.sar_num, record.sar_den = aspect.numerator, aspect.denominator
        record.pix_fmt = context.pix_fmt
        record.transfer = _TRANSFERS.get(int(context.color_trc))
    elif stream.type == "audio":
        record.sample_rate, record.channels = context.sample_rate, context.channels
    return record


_TRANSFERS = {1: "bt709", 6: "smpte170m", 13: "iec61966-2-1", 16: "smpte2084", 18: "arib-std-b67"}


def display_turn(frame: Any) -> tuple[int, bool]:
    """(degrees counter-clockwise, mirrored first) from the display matrix of a frame."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            return turn(struct.unpack("9i", bytes(data)[:36]))
    return 0, False


def turn(matrix: tuple[int, ...]) -> tuple[int, bool]:
    """(degrees counter-clockwise, mirrored first) of the nine numbers of a display matrix.

    It sends a pixel (x, y) to (a x + c y, b x + d y), y pointing down, ISO/IEC 14496-12 6.2.2.
    Angles that are not quarter turns are taken to the nearest one.
    """
    a, b, _, c, d, *_ = matrix
    mirrored = a * d - b * c < 0
    angle = -degrees(atan2(-b, -a) if mirrored else atan2(b, a))
    return round(angle / 90) * 90 % 360, mirrored
