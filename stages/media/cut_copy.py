"""Copies of a span's packets; an edit list hides the frames that only a decoder needs.

By far the cheapest way, and exact only for readers that follow edit lists (PyAV, ffmpeg and
browsers do; OpenCV miscounts, decord and torchcodec's approximate mode show hidden frames), which
is why such a clip says `readers: editlist` and why this way has to be asked for. The neighbours'
hidden frames travel along: do not copy where what lies outside a span must not be given away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import av

from clipmill.schemas.errors import Damaged
from clipmill.schemas.records import Probe
from clipmill.stages.media.clip import ClipMedia, Encoding, Wanted, inexact, why
from clipmill.stages.media.clip_check import alike, check_sound, off_time, thumb
from clipmill.stages.media.clip_sound import Packed, sound_of
from clipmill.stages.media.coded import Coded, Unclear, again, index, pick, shown
from clipmill.stages.media.frames import Picture, display_size
from clipmill.stages.media.h264 import NotH264, configuration
from clipmill.stages.media.join import Piece, join
from clipmill.stages.media.limits import SEEKABLE, Limits
from clipmill.stages.media.reread import Reread, reread

_CODECS = frozenset({"h264", "hevc", "av1", "libdav1d", "vp9"})
"""Codecs that an MP4 written by FFmpeg carries and common readers decode."""


@dataclass(frozen=True, slots=True)
class CopyCutter:
    """Cuts clips of one source; `container` is the open source."""

    container: Any
    source: Path
    probe: Probe
    encoding: Encoding
    limits: Limits

    def cut(self, items: list[Wanted], folder: Path) -> tuple[dict[str, ClipMedia], dict[str, str]]:
        """Write `folder/KEY.mp4`; the clips made, and the reasons why others could not be."""
        made: dict[str, ClipMedia] = {}
        reasons: dict[str, str] = {}
        for item in items:
            try:
                _suitable(self.probe, self.encoding)
                made[item.key] = self._write(item, folder / f"{item.key}.mp4")
            except (Unclear, Damaged, av.FFmpegError) as reason:
                reasons[item.key] = why("copy", reason)
        return made, reasons

    def _write(self, item: Wanted, path: Path) -> ClipMedia:
        container, probe, encoding, limits = self.container, self.probe, self.encoding, self.limits
        template = container.streams[probe.picture.index]
        record = template.codec_context.extradata or b""
        length_size = _length_size(record) if probe.picture.codec == "h264" else 0
        found = index(container, probe, item.first, item.end, length_size, digests=True)
        item.ticks = shown(found, item.first, item.end)
        if not item.ticks:
            raise Unclear("no frame inside the span")
        copied = _stretch(found, item.ticks)
        order = [coded.tick for coded in copied]
        pieces = _pieces(container, probe, copied)
        origin, end = item.ticks[0], min(item.end, probe.picture.end or item.end)
        clock, kbps = probe.picture.clock, encoding.audio_kbps
        scale = clock.den if clock.den < 2**31 else 1000
        sound = sound_of(container, self.source, probe, item, encoding, limits)
        join(path, template, order, pieces, origin, end, record, sound, kbps, scale)
        _hide_after(path, int((clock.exact(end) - clock.exact(origin)) * scale))
        first = pick(self.source, probe, found, order[:1], limits, rough=True, container=container)
        looks = [thumb(frame, probe.picture) for _, frame in first]
        back = reread(path, limits, thumb, keys=[0])
        self._compare(back, item, copied, record, looks[0])
        packed = sound if isinstance(sound, Packed) else None
        check_sound(back, self.source, probe, item, sound is not None, packed)
        return item.media(path, probe, back, "copy", "editlist")

    def _compare(
        self, back: Reread, item: Wanted, copied: list[Coded], record: bytes, look: Picture
    ) -> None:
        """Every packet, which frames are visible and when, and the first packet's picture: that
        proves decoder and turn, and from there on equal packets give equal pictures."""
        probe, held = self.probe, back.picture.packets
        if [coded.digest for coded in held] != [coded.digest for coded in copied]:
            raise inexact(item, self.source, "other packets than were written")
        if back.record != record:
            raise inexact(item, self.source, "another decoder configuration than was written")
        ticks = back.picture.ticks
        if len(ticks) != len(item.ticks):
            raise inexact(item, self.source, f"{len(ticks)} frames instead of {len(item.ticks)}")
        late = off_time(back.picture.facts.clock, ticks, probe.picture.clock, item.ticks)
        if late is not None or ticks[0] != 0:
            raise inexact(item, self.source, f"frame {late or 0} is not at its time")
        shows = back.looks.get(held[0].tick)
        if shows is None or not alike(shows, look, probe):
            raise inexact(item, self.source, "the first packet shows another picture")


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


def _pieces(container: Any, probe: Probe, copied: list[Coded]) -> Iterator[Piece]:
    packets = again(container, probe, [coded.tick for coded in copied])
    for coded, packet in zip(copied, packets, strict=True):
        # Readers begin at the last marked key frame before an edit, so only clean ones are.
        yield Piece(coded.tick, bytes(packet), coded.clean)


def _hide_after(path: Path, duration: int) -> None:
    """Shorten the picture's edit to `duration` movie ticks, ISO/IEC 14496-12 8.6.6."""
    with path.open("r+b") as file:
        data = _head(file)
        for start, end in _boxes(data, 0, len(data), b"moov"):
            for track, track_end in _boxes(data, start, end, b"trak"):
                if b"vide" not in data[track:track_end]:
                    continue
                for edits, edits_end in _boxes(data, track, track_end, b"edts"):
                    for entry, _ in _boxes(data, edits, edits_end, b"elst"):
                        size = 8 if data[entry] == 1 else 4
                        file.seek(entry + 8)
                        file.write(duration.to_bytes(size, "big"))


def _head(file: BinaryIO) -> bytes:
    """A file up to where its media data begins; the movie box stands before it."""
    at = 0
    while len(head := file.read(8)) == 8 and head[4:] != b"mdat":
        at += int.from_bytes(head[:4], "big")
        file.seek(at)
    file.seek(0)
    return file.read(at)


def _boxes(data: bytes, start: int, end: int, name: bytes) -> Iterator[tuple[int, int]]:
    """Bodies of the boxes of this name. The file is our own, so sizes are what they should be."""
    while start + 8 <= end:
        size = int.from_bytes(data[start : start + 4], "big")
        if size == 1:
            size = int.from_bytes(data[start + 8 : start + 16], "big")
        if data[start + 4 : start + 8] == name:
            yield start + 8, start + size
        start += max(8, size)
