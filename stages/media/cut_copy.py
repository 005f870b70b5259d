"""Copies of a span's packets; an edit list hides the frames that only a decoder needs.

By far the cheapest way, and exact only for readers that follow edit lists (PyAV, ffmpeg and
browsers do; OpenCV miscounts, decord and torchcodec's approximate mode show hidden frames), which
is why such a clip says `readers: editlist` and why this way has to be asked for. The neighbours'
hidden frames travel along: do not copy where what lies outside a span must not be given away.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clipmill.schemas.records import Probe
from clipmill.stages.media.clip import ClipMedia, Encoding, Wanted, inexact, sound_of
from clipmill.stages.media.clip_check import alike, same_times, thumb
from clipmill.stages.media.coded import Coded, Unclear, index, packets, pick, shown
from clipmill.stages.media.frames import Picture, display_size
from clipmill.stages.media.h264 import NotH264, configuration
from clipmill.stages.media.join import Piece, join
from clipmill.stages.media.limits import SEEKABLE, Limits
from clipmill.stages.media.probe import open_clip

_CODECS = frozenset({"h264", "hevc", "av1", "libdav1d", "vp9"})
"""Codecs that an MP4 written by FFmpeg carries and common readers decode."""


def copy_clip(
    container: Any,
    source: Path,
    probe: Probe,
    item: Wanted,
    path: Path,
    encoding: Encoding,
    limits: Limits,
) -> ClipMedia:
    """Write one clip; `container` is the open source. Raises `Unclear` with the reason where it
    cannot be copied, `Damaged` where the clip does not show what it should."""
    _suitable(probe, encoding)
    template = container.streams[probe.picture.index]
    record = template.codec_context.extradata or b""
    length_size = _length_size(record) if probe.picture.codec == "h264" else 0
    found = index(container, probe, item.first, item.end, length_size, digests=True)
    item.ticks = shown(found, item.first, item.end)
    if not item.ticks:
        raise Unclear("no frame inside the span")
    copied = _stretch(found, item.ticks)
    order = [coded.tick for coded in copied]
    pieces = _pieces(container, probe, item, set(order), length_size)
    origin, end = item.ticks[0], min(item.end, probe.picture.end or item.end)
    sound = sound_of(source, probe, item, encoding, limits)
    clock = probe.picture.clock
    scale = clock.den if clock.den < 2**31 else 1000
    kbps = encoding.audio_kbps
    join(path, template, order, pieces, origin, end, record, sound, kbps, scale)
    _hide_after(path, int((clock.exact(end) - clock.exact(origin)) * scale))
    # One picture proves decoder and times; for the rest, equal packets give equal pictures.
    ((_, frame),) = pick(source, probe, found, [origin], limits, rough=True, container=container)
    return _checked(path, source, probe, item, copied, thumb(frame, probe), length_size, limits)


def _checked(
    path: Path,
    source: Path,
    probe: Probe,
    item: Wanted,
    copied: list[Coded],
    picture: Picture,
    length_size: int,
    limits: Limits,
) -> ClipMedia:
    """Every packet, which frames are visible and when, and the first picture, as read back."""
    with open_clip(path, limits, rough=True) as (container, clip):
        held = index(container, clip, None, None, length_size, digests=True)
        if [coded.digest for coded in held] != [coded.digest for coded in copied]:
            raise inexact(item, source, "other packets than were written")
        ticks = sorted(coded.tick for coded in held if not coded.hidden)
        own, clock = clip.picture.clock, probe.picture.clock
        starts = bool(ticks) and own.exact(ticks[0]) == 0
        if not starts or not same_times(own, ticks, clock, item.ticks):
            raise inexact(item, source, f"{len(ticks)} visible frames, or frames at other times")
        ((_, frame),) = pick(path, clip, held, [ticks[0]], limits, container=container)
        if not alike(thumb(frame, clip), picture, probe):
            raise inexact(item, source, "the first frame differs")
    return item.media(path, probe, clip, len(ticks), "copy", "editlist")


def _suitable(probe: Probe, encoding: Encoding) -> None:
    """Raise `Unclear` with the reason where a source's packets cannot be copied."""
    picture = probe.picture
    shrunk = encoding.height is not None and encoding.height < display_size(picture)[1]
    reasons = {
        picture.codec: picture.codec not in _CODECS,
        "no index": not picture.seekable or not set(probe.container.split(",")) & SEEKABLE,
        "damaged": probe.damaged,
        "another size or rate": shrunk or encoding.fps is not None,
    }
    for reason, holds in reasons.items():
        if holds:
            raise Unclear(reason)


def _length_size(record: bytes) -> int:
    try:
        return configuration(record).length_size
    except NotH264 as error:
        raise Unclear(str(error)) from error


def _stretch(found: list[Coded], ticks: list[int]) -> list[Coded]:
    """Packets from the last clean point at or before the first frame to the last one needed."""
    wanted = set(ticks)
    first = next(n for n, coded in enumerate(found) if coded.tick == ticks[0])
    places = [n for n in range(first + 1) if found[n].clean and found[n].tick <= ticks[0]]
    if not places:
        raise Unclear("open groups of pictures")
    last = max(n for n, coded in enumerate(found) if coded.tick in wanted)
    return found[places[-1] : last + 1]


def _pieces(
    container: Any, probe: Probe, item: Wanted, wanted: set[int], length_size: int
) -> Iterator[Piece]:
    for coded, packet in packets(container, probe, item.first, item.end, length_size):
        if coded.tick in wanted:
            # Readers begin at the last marked key frame before an edit, so only clean ones are.
            yield Piece(coded.tick, bytes(packet), coded.clean)


def _hide_after(path: Path, duration: int) -> None:
    """Shorten the picture's edit to `duration` movie ticks, ISO/IEC 14496-12 8.6.6."""
    data = bytearray(path.read_bytes())
    for start, end in _boxes(data, 0, len(data), b"moov"):
        for track, track_end in _boxes(data, start, end, b"trak"):
            if b"vide" not in data[track:track_end]:
                continue
            for edits, edits_end in _boxes(data, track, track_end, b"edts"):
                for entry, _ in _boxes(data, edits, edits_end, b"elst"):
                    wide = data[entry] == 1
                    size = 8 if wide else 4
                    data[entry + 8 : entry + 8 + size] = duration.to_bytes(size, "big")
    path.write_bytes(data)


def _boxes(data: bytearray, start: int, end: int, name: bytes) -> Iterator[tuple[int, int]]:
    """Bodies of the boxes of this name. The file is our own, so sizes are what they should be."""
    while start + 8 <= end:
        size = int.from_bytes(data[start : start + 4], "big")
        if size == 1:
            size = int.from_bytes(data[start + 8 : start + 16], "big")
        if data[start + 4 : start + 8] == name:
            yield start + 8, start + size
        start += max(8, size)
