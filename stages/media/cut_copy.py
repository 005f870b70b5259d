"""Copies of a span's packets; an edit list hides the frames that only a decoder needs.

By far the cheapest way, and exact only for readers that follow edit lists (PyAV, ffmpeg and
browsers do; OpenCV miscounts, decord and torchcodec's approximate mode show hidden frames), which
is why such a clip says `readers: editlist` and why this way has to be asked for. The neighbours'
hidden frames travel along: do not copy where what lies outside a span must not be given away.

A clip is proven by its bytes: decoder, configuration, packets, their times and the picture's turn
are the source's, so it decodes to what the source shows, and nothing is decoded to see that. Only
where a key frame is one because the container says so must the first packet decode by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from clipmill.schemas.errors import Damaged
from clipmill.schemas.records import Probe
from clipmill.stages.media.boxes import hide_after, matrix
from clipmill.stages.media.clip import ClipMedia, Encoding, Wanted, inexact, why
from clipmill.stages.media.clip_check import check_sound, off_time, thumb
from clipmill.stages.media.clip_sound import Packed, sound_of
from clipmill.stages.media.coded import Coded, Unclear, again, index, shown
from clipmill.stages.media.frames import display_size
from clipmill.stages.media.h264 import NotH264, configuration
from clipmill.stages.media.join import Piece, join
from clipmill.stages.media.limits import SEEKABLE, Limits
from clipmill.stages.media.probe import turn
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
        hide_after(path, int((clock.exact(end) - clock.exact(origin)) * scale))
        back = reread(path, limits, thumb, keys=[] if length_size else [0])
        self._compare(back, item, copied, record, matrix(path))
        packed = sound if isinstance(sound, Packed) else None
        check_sound(back, self.source, probe, item, sound is not None, packed)
        return item.media(path, probe, back, "copy", "editlist")

    def _compare(
        self,
        back: Reread,
        item: Wanted,
        copied: list[Coded],
        record: bytes,
        turned: tuple[int, ...],
    ) -> None:
        """Every packet, what decodes them, which frames are visible, when, and turned how."""
        probe, held = self.probe, back.picture.packets
        if [coded.digest for coded in held] != [coded.digest for coded in copied]:
            raise inexact(item, self.source, "other packets than were written")
        if (back.picture.facts.codec, back.record) != (probe.picture.codec, record):
            raise inexact(item, self.source, "another decoder configuration than was written")
        ticks = back.picture.ticks
        if len(ticks) != len(item.ticks):
            raise inexact(item, self.source, f"{len(ticks)} frames instead of {len(item.ticks)}")
        late = off_time(back.picture.facts.clock, ticks, probe.picture.clock, item.ticks)
        if late is not None or ticks[0] != 0:
            raise inexact(item, self.source, f"frame {late or 0} is not at its time")
        if len(turned) != 9 or turn(turned) != (probe.picture.rotation, probe.picture.mirrored):
            raise inexact(item, self.source, "turned in another way")


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
