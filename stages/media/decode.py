"""The one decoder door: open a file, walk its frames, give every frame its tick.

Times come from the container's presentation timestamps, exactly. Three kinds of file need help:
containers without such timestamps (AVI, raw streams) get the decoding timestamps of the frames as
they come out, which are in order and honour dropped frames; missing or unordered timestamps
elsewhere get the previous frame's end; both are counted, never hidden. Damaged packets are skipped
and counted, as players do: what still decodes is still there.

Single-threaded decoding is the default, because concealment of damage may differ between runs
with several threads.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av
import av.logging
from av.stream import Discard

from clipmill.schemas.errors import Unreadable
from clipmill.stages.media import h264
from clipmill.stages.media.limits import SEEKABLE, ffmpeg_url, open_options

UNTIMED = frozenset(
    {"avi", "h264", "hevc", "vvc", "m4v", "mpegvideo", "obu", "vc1", "cavsvideo", "yuv4mpegpipe"}
)
"""Containers that do not say when a frame is shown, only in which order frames are coded."""


LONG = 50_000
"""Frames in an index from which on its size counts."""


def kinds(container: Any) -> set[str]:
    """The names of a container's format, e.g. mov, mp4, m4a ..."""
    return set(container.format.name.split(","))


@contextmanager
def open_input(
    path: Path, sound_only: bool = False, probed: str = "", own: bool = False
) -> Iterator[Any]:
    """An open `av` container; only allow-listed protocols and demuxers. Raises `Unreadable`.

    Opening decodes some frames to find out about the picture; `sound_only` leaves that out, which
    is up to nine tenths of the cost. Such a container must not be asked for pictures. `probed`, the
    picture's codec where its facts are known, leaves it out as well if nothing is lost by it: if
    H.264 says in its header how its frames are reordered, which a decoder would else have to guess.
    `own` also reads nothing behind the header, which says all of an MP4 that Clipmill wrote.
    """
    known = probed == "h264" and not sound_only
    container = _open(path, sound_only or known or own, own)
    if known and not _declares_order(container):
        container.close()
        container = _open(path, False)
    long = sum(stream.frames for stream in container.streams) > LONG
    if long:
        _trim()
    try:
        with container:
            yield container
    finally:
        if long:
            _trim()


def _open(path: Path, blind: bool, brief: bool = False) -> Any:
    found = {"probesize": "32"} if brief else {}  # the least that is allowed
    try:
        return av.open(
            ffmpeg_url(path),
            options={"skip_frame": "all"} if blind else {},
            container_options=open_options() | found,
            metadata_errors="replace",
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        raise Unreadable(
            f"no readable container: {getattr(error, 'strerror', None) or error}",
            cure="leave the file out, or remux it to MP4 or Matroska",
            input=path.name,
        ) from error


def _trim() -> None:
    """Give unused memory back: a long file's index takes twice its size while it is built, and
    the C library would keep the difference. A no-op where that library is not glibc."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _declares_order(container: Any) -> bool:
    for stream in container.streams.video:
        context = stream.codec_context
        if context is None or context.name != "h264":
            return False
        try:
            found = h264.configuration(context.extradata or b"")
            if any(h264.sequence(sps).reordered is None for sps in found.sps):
                return False
        except h264.NotH264:
            return False
    return True


def only(container: Any, stream: Any) -> Any:
    """The stream, for a pass over it alone: the demuxer does not even read the others."""
    for other in container.streams:
        other.discard = Discard.default if other.index == stream.index else Discard.all
    return stream


class Log:
    """What FFmpeg's libraries log as an error; they report damage there and carry on."""

    KEPT = 5

    def __init__(self, lines: list[Any]) -> None:
        self._lines = lines
        self.counts: dict[str, int] = {}
        self.first: dict[str, str] = {}

    def drain(self) -> None:
        """Count new lines by component; keeps memory constant on files that err at every byte."""
        for level, name, message in self._lines:
            if level <= av.logging.ERROR:
                self.counts[name] = self.counts.get(name, 0) + 1
                self.first.setdefault(name, message.strip())
        self._lines.clear()


@contextmanager
def error_log() -> Iterator[Log]:
    """Collects the libraries' error lines, of all threads, while open."""
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture(False) as lines:
            yield Log(lines)
    finally:
        av.logging.set_level(None)


class Ticker:
    """Gives frames, in output order, strictly increasing ticks of their stream's time base."""

    def __init__(self, container: Any, stream: Any) -> None:
        self.timed = not (kinds(container) & UNTIMED)
        self.invented = 0  # frames whose time had to be made up in a timed container
        self._start = stream.start_time or 0
        self._base: int | None = None  # decoding timestamp of the first frame, untimed only
        rate, tick = getattr(stream, "average_rate", None), stream.time_base
        self._step = max(1, round(1 / rate / tick)) if rate and rate > 0 else 1
        self._last: int | None = None

    def __call__(self, frame: Any) -> int:
        tick: int | None = frame.pts
        if not self.timed:
            if self._base is None and frame.dts is not None:
                self._base = frame.dts - (
                    self._start if self._last is None else self._last + self._step
                )
            tick = None if frame.dts is None or self._base is None else frame.dts - self._base
        if tick is None or (self._last is not None and tick <= self._last):
            self.invented += self.timed
            tick = self._start if self._last is None else self._last + self.step(frame)
        self._last = tick
        return tick

    def step(self, frame: Any) -> int:
        """How long a frame is shown, in ticks, as far as the frame itself says."""
        return frame.duration if frame.duration and frame.duration > 0 else self._step


class Decoding:
    """One decoding pass over a stream. Iterate for (tick, frame); the counters tell of damage."""

    def __init__(
        self,
        container: Any,
        stream: Any,
        max_pixels: int,
        threads: int = 1,
        rough: bool = False,
    ) -> None:
        """`rough` leaves the loop filter off, in the first pass over a container and all later."""
        self.container, self.stream = container, stream
        self.ticker = Ticker(container, stream)
        self.failed = 0  # packets that the decoder refused
        self.corrupt = 0  # frames or packets flagged as damaged
        self.packets = 0
        self.error = ""  # the first error met
        context = stream.codec_context
        if not context.is_open:  # by an earlier pass over the same container
            context.thread_count = threads
            if threads == 1:
                context.thread_type = "NONE"
            context.options = {"max_pixels": str(max_pixels)}
            if rough:
                context.options = {**context.options, "skip_loop_filter": "all"}

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        for packet in self.demux(self.stream):
            yield from self.decode(packet)

    def demux(self, *streams: Any) -> Iterator[Any]:
        """Packets of these streams; an error in the container ends them and is noted."""
        packets = self.container.demux(*streams)
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as error:
                self._note(error)
                # The decoder still holds frames that came before the damage.
                yield from self._flush()
                return
            if packet is None:
                return
            yield packet

    def decode(self, packet: Any) -> Iterator[tuple[int, Any]]:
        """Frames that a packet of the picture completes."""
        if packet.size:
            self.packets += 1
            self.corrupt += bool(packet.is_corrupt)
        try:
            frames = packet.decode()
        except (av.FFmpegError, OSError, ValueError) as error:
            self.failed += 1
            self._note(error)
            return
        for frame in frames:
            self.corrupt += bool(frame.is_corrupt)
            yield self.ticker(frame), frame

    def _flush(self) -> Iterator[Any]:
        packet = av.Packet(0)
        packet.stream = self.stream
        yield packet

    def _note(self, error: Exception) -> None:
        self.error = self.error or (getattr(error, "strerror", None) or str(error))


def exact_seek(container: Any) -> bool:
    """Whether seeking in this container arrives where it should."""
    return bool(kinds(container) & SEEKABLE)
