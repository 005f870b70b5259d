"""A cheap pass over a video: tiny pictures for finding shots, nothing else.

Three things are left out that a viewer would miss and a shot detector does not: frames no other
frame needs are not decoded, the loop filter is off, and luma is shrunk from a grid of samples
without a colour conversion. That saves up to nine tenths of the decoding. Such pictures drift from
the true ones, so they must never reach a model or an encoder. Where packets say that something
new is shown (surges.py), all frames are decoded; where a cut still falls between two that were,
`between` decodes what was left out there. Frames that others refer to are all decoded: without the
B-frames among them a fifth or more is saved, and pictures drift until false cuts are seen in them.
Where pictures for others are taken in passing (strip.py), the loop filter stays on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipmill.schemas.records import Probe
from clipmill.stages.media.decode import Decoding, open_input
from clipmill.stages.media.limits import Limits
from clipmill.stages.media.surges import Surges

WIDTH, HEIGHT = 64, 36
"""Every picture is brought to this size whatever its shape: only likeness matters."""
COLOUR_WIDTH, COLOUR_HEIGHT = WIDTH // 4, HEIGHT // 4

_PLANAR = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p"})
"""Formats of three planes of 8 bits, luma first; all others are converted."""

Thumbnail = NDArray[np.uint8]


def thumbnails(
    path: Path,
    probe: Probe,
    limits: Limits | None = None,
    container: Any = None,
    see: Callable[[int, Any], None] | None = None,
) -> Iterator[tuple[int, bool, Thumbnail, Thumbnail]]:
    """(tick, whether a change to it happened at it, luma, colour) in order.

    Luma is 36 x 64, colour 2 x 9 x 16, blue and red difference.

    It did where no frame was left out before it, or where it is coded without reference to others,
    which is how encoders begin a shot. `container` is `path`, opened and not read from. `see` gets
    the tick and frame first, at full quality, of every frame that others may refer to.
    """
    with open_input(path) if container is None else nullcontext(container) as source:
        stream = source.streams[probe.picture.index]
        decoding = _decoding(source, stream, limits, rough=see is None)
        context = stream.codec_context
        timed = decoding.ticker.timed
        if timed:  # elsewhere times are counted, and frames must not be missing
            context.skip_frame = "NONREF"
        surges = Surges(context.extradata or b"") if timed and context.name == "h264" else None
        fed: list[int] = []  # a heap: ticks of packets whose turn to be shown has not come
        extra: set[int] = set()  # ticks of frames decoded for detection alone
        for packet in decoding.demux(stream):
            if timed and packet.pts is not None:
                heappush(fed, packet.pts)
            if surges and surges(packet):
                extra.add(packet.pts)
                context.skip_frame = "DEFAULT"
            for tick, frame in decoding.decode(packet):
                left_out = False
                while fed and fed[0] <= tick:
                    left_out |= heappop(fed) < tick
                if tick in extra:
                    extra.remove(tick)
                elif see is not None:
                    see(tick, frame)
                luma, *colours = _planar(frame).planes[:3]
                exact = not left_out or frame.pict_type == 1
                yield tick, exact, _luma(luma), _colour(colours)
            if timed:
                context.skip_frame = "NONREF"


def between(
    path: Path,
    probe: Probe,
    gaps: Sequence[tuple[int, int]],
    limits: Limits | None = None,
    container: Any = None,
) -> list[list[tuple[int, Thumbnail]]]:
    """For each (tick, later tick): both frames and all that lie between, decoded this time.

    Other frames stay undecoded as far as they can. A gap whose start a seek misses is empty.
    `container` is `path`, as `thumbnails` has read it.
    """
    if container is not None and probe.picture.seekable:
        return [_between(container, probe, start, end, limits) for start, end in gaps]
    found = []
    for start, end in gaps:
        with open_input(path) as fresh:
            found.append(_between(fresh, probe, start, end, limits))
    return found


def _between(
    container: Any, probe: Probe, start: int, end: int, limits: Limits | None
) -> list[tuple[int, Thumbnail]]:
    found: list[tuple[int, Thumbnail]] = []
    stream = container.streams[probe.picture.index]
    decoding = _decoding(container, stream, limits)
    if probe.picture.seekable:
        with suppress(OSError):  # a broken index; then the start is still ahead
            container.seek(start, stream=stream, backward=True)
    for packet in decoding.demux(stream):
        wanted = packet.pts is None or start <= packet.pts <= end
        stream.codec_context.skip_frame = "DEFAULT" if wanted else "NONREF"
        for tick, frame in decoding.decode(packet):
            if tick > end:
                return found
            if tick == start or found:
                found.append((tick, _luma(_planar(frame).planes[0])))
    return found


def _planar(frame: Any) -> Any:
    """The `av.VideoFrame` itself if its planes are of 8 bits, else a small one that is."""
    if frame.format.name in _PLANAR:
        return frame
    return frame.reformat(2 * WIDTH, 2 * HEIGHT, format="yuv420p", threads=1)


def _luma(plane: Any) -> Thumbnail:
    return _shrunk(plane, WIDTH, HEIGHT)


def _colour(planes: Sequence[Any]) -> Thumbnail:
    return np.stack([_shrunk(plane, COLOUR_WIDTH, COLOUR_HEIGHT) for plane in planes])


def _shrunk(plane: Any, width: int, height: int) -> Thumbnail:
    """A plane at another size: of each of its cells four samples, which cost a tenth of all and
    differ from their mean by less than two levels on ordinary pictures."""
    import cv2

    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    samples = rows[: plane.height, : plane.width]
    grid = cv2.resize(samples, (2 * width, 2 * height), interpolation=cv2.INTER_NEAREST_EXACT)
    small: Thumbnail = cv2.resize(grid, (width, height), interpolation=cv2.INTER_AREA)
    return small


def _decoding(container: Any, stream: Any, limits: Limits | None, rough: bool = True) -> Decoding:
    return Decoding(container, stream, (limits or Limits()).max_pixels, rough=rough)
