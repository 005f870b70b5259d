"""Text tracks inside a container: cues with their times on the presentation time line.

Decoded in the sandbox like everything else that FFmpeg touches. Tracks of pictures (DVD, Blu-ray)
hold no text and are passed over; a cue that does not decode costs that cue only.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import av

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.records import Probe, Stream
from clipmill.stages.media import sandbox
from clipmill.stages.media.decode import open_input

TEXT_CODECS = frozenset(
    {"mov_text", "subrip", "srt", "ass", "ssa", "webvtt", "text", "microdvd", "subviewer", "sami"}
)
MAX_CUES = 100_000
MAX_CUE_BYTES = 40_000

Cues = list[tuple[int, int, str]]


def text_streams(probe: Probe) -> list[Stream]:
    """The text tracks of a file, in its order."""
    return [s for s in probe.streams if s.kind == "subtitle" and s.codec in TEXT_CODECS]


def text_track(
    path: Path, probe: Probe, index: int | None = None, timeout_s: float = 600.0
) -> Cues:
    """Cues (start, end, text) in milliseconds from presentation zero, in file order.

    `index` is a stream of the container, by default its first text track; without one there are no
    cues. Texts are raw: FFmpeg turns every form into SubStation markup, lines parted by `\\N`.
    """
    tracks = [stream for stream in text_streams(probe) if index is None or stream.index == index]
    if not tracks:
        return []
    clock = tracks[0].clock
    found = sandbox.call(_cues, path, tracks[0].index, timeout_s=timeout_s)
    return [
        (MILLISECONDS.tick(clock.exact(start)), MILLISECONDS.tick(clock.exact(end)), text)
        for start, end, text in found
    ]


def _cues(path: Path, index: int) -> Cues:
    """Runs in the sandbox; times in ticks of the stream."""
    with open_input(path) as container:
        stream = container.streams[index]
        return list(islice(_decoded(container, stream), MAX_CUES))


def _decoded(container: Any, stream: Any) -> Any:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            if packet.pts is None or not packet.size:
                continue
            pieces = [_text(rect) for rect in packet.decode()]
        except (av.FFmpegError, ValueError):
            if packet is None or not packet.size:
                return
            continue
        text = "\\N".join(piece for piece in pieces if piece)
        if text:
            yield packet.pts, packet.pts + (packet.duration or 0), text


def _text(rect: Any) -> str:
    # An event: nine fields parted by commas, of which the last is the text and may hold commas.
    event: bytes = getattr(rect, "ass", b"")[:MAX_CUE_BYTES]
    return event.decode("utf-8", "replace").split(",", 8)[-1]
