"""A cheap pass over a video: tiny luma pictures for finding shots, nothing else.

Three things are left out that a viewer would miss and a shot detector does not: frames no other
frame needs are not decoded, the loop filter is off, and luma is shrunk from a grid of samples
without a colour conversion. That saves up to nine tenths of the decoding. Such pictures drift from
the true ones, so they must never reach a model or an encoder. Where a cut falls between two frames
that were decoded, `between` decodes what was left out there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipmill.schemas.records import Probe
from clipmill.stages.media.decode import Decoding, open_input
from clipmill.stages.media.limits import Limits

WIDTH, HEIGHT = 64, 36
"""Every picture is brought to this size whatever its shape: only likeness matters."""

_LUMA_FIRST = frozenset(
    {"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "gray"}
)
"""Formats whose first plane is 8-bit luma; all others are converted."""

Thumbnail = NDArray[np.uint8]


def thumbnails(
    path: Path, probe: Probe, limits: Limits | None = None
) -> Iterator[tuple[int, bool, Thumbnail]]:
    """(tick, whether it is coded without reference to others, 36 x 64 luma) in order."""
    with open_input(path) as container:
        stream = container.streams[probe.picture.index]
        decoding = _decoding(container, stream, limits)
        if decoding.ticker.timed:  # elsewhere times are counted, and frames must not be missing
            stream.codec_context.skip_frame = "NONREF"
        for tick, frame in decoding:
            yield tick, frame.pict_type == 1, shrink(frame)


def between(
    path: Path, probe: Probe, gaps: Sequence[tuple[int, int]], limits: Limits | None = None
) -> list[list[tuple[int, Thumbnail]]]:
    """For each (tick, later tick): both frames and all that lie between, decoded this time.

    Other frames stay undecoded as far as they can. A gap whose start a seek misses is empty.
    """
    found = []
    with ExitStack() as stack:
        container = None
        for start, end in gaps:
            if container is None or not probe.picture.seekable:
                container = stack.enter_context(open_input(path))
            found.append(_between(container, probe, start, end, limits))
            if not probe.picture.seekable:
                stack.close()
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
                found.append((tick, shrink(frame)))
    return found


def shrink(frame: Any) -> Thumbnail:
    """The luma of an `av.VideoFrame` at 64 x 36."""
    import cv2

    if frame.format.name not in _LUMA_FIRST:
        frame = frame.reformat(2 * WIDTH, 2 * HEIGHT, format="gray")
    plane = frame.planes[0]
    luma = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[
        : frame.height, : frame.width
    ]
    # Averaging sixteen samples is as good as a thousand, and whole ratios have a fast path.
    picked = cv2.resize(luma, (4 * WIDTH, 4 * HEIGHT), interpolation=cv2.INTER_NEAREST)
    small: Thumbnail = cv2.resize(picked, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return small


def _decoding(container: Any, stream: Any, limits: Limits | None) -> Decoding:
    return Decoding(container, stream, (limits or Limits()).max_pixels, rough=True)
