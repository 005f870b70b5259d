"""Smart cuts: whole groups of pictures copied, only the ends encoded, exact in every reader.

    source   I b b P b b P | I b b P b b P b b P | I b b P b b P
    span             [-----------------------------------]
    clip             I p p   I b b P b b P b b P   I b b P I       (p, last I: encoded by us)

From the span's start to its first clean point (an IDR picture) frames are encoded without
reordering; then packets are copied, as many as show a gapless run of frames; the few frames left
over at the end are encoded again as a group of their own. A span without a clean point is all
start. Ours use parameter sets with a number the source does not use, all of them in one decoder
configuration, so that every reader sees one ordinary track without an edit that cuts pictures off.
Neighbouring clips share one decode, as the tail of one and the head of the next do a group.

A clip is proven by its bytes: its file gives back, at the right times, the very packets that the
source and our encoder gave, and the decoder configuration that both need. A copied run begins at an
IDR picture and lacks none of the packets that were decoded before its last frame, so it decodes to
what the source shows; decoding it on both sides would compute the same thing twice. Of what we
encoded the first picture is decoded and compared with the source's besides.

What is not proven is left to `encode`, with the reason: other codecs, open groups, changing
parameter sets, fields, turned or oblong pixels, damage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import av

from clipmill.schemas.errors import Damaged
from clipmill.schemas.records import Probe
from clipmill.stages.media import h264
from clipmill.stages.media.clip import ClipMedia, Encoding, Wanted, inexact, why
from clipmill.stages.media.clip_check import alike, check_sound, off_time, thumb
from clipmill.stages.media.clip_sound import Packed, sound_of
from clipmill.stages.media.coded import Coded, Unclear, again, index, pick, shown
from clipmill.stages.media.cut_ends import Coder, End, framed, joined
from clipmill.stages.media.frames import display_size
from clipmill.stages.media.h264 import Configuration, NotH264
from clipmill.stages.media.join import Piece, join
from clipmill.stages.media.limits import SEEKABLE, Limits
from clipmill.stages.media.reread import reread

NO_CLEAN_POINT = "no clean point inside the span"


@dataclass(frozen=True, slots=True)
class Plan:
    """Ticks of the three parts of a clip; `copied` is in decoding order, the others in time."""

    head: list[int]
    copied: list[int]
    tail: list[int]

    @property
    def order(self) -> list[int]:
        """All ticks in decoding order."""
        return [*self.head, *self.copied, *self.tail]


class _Clip:
    """A clip in the making."""

    def __init__(self, item: Wanted, plan: Plan) -> None:
        self.item, self.plan = item, plan
        self.head, self.tail = End(plan.head), End(plan.tail)
        starts = {0: self.head, len(plan.head) + len(plan.copied): self.tail}
        self.ends = {start: end for start, end in starts.items() if end.ticks}
        """By number, in decoding order, of their first packets."""

    @property
    def mode(self) -> str:
        return "smart" if self.plan.copied else f"encode: {NO_CLEAN_POINT}"


@dataclass(frozen=True, slots=True)
class SmartCutter:
    """Cuts clips of one source; `container` is the open source."""

    container: Any
    source: Path
    probe: Probe
    encoding: Encoding
    limits: Limits

    def cut(self, items: list[Wanted], folder: Path) -> tuple[dict[str, ClipMedia], dict[str, str]]:
        """Write `folder/KEY.mp4`; the clips made, and the reasons why others could not be."""
        try:
            suitable(self.probe, self.encoding)
            found = self._configuration()
            clips, reasons = self._decoded(items, found)
        except (Unclear, NotH264, av.FFmpegError) as reason:
            if len(items) == 1:
                return {}, {items[0].key: why("smart", reason)}
            parts = [self.cut([item], folder) for item in items]  # one must not spoil the others
            made = {key: clip for part, _ in parts for key, clip in part.items()}
            return made, {key: said for _, part in parts for key, said in part.items()}
        made = {}
        for clip in clips:
            try:
                made[clip.item.key] = self._write(clip, found, folder / f"{clip.item.key}.mp4")
            except (Unclear, NotH264, Damaged, av.FFmpegError) as reason:
                reasons[clip.item.key] = why("smart", reason)
        return made, reasons

    def _configuration(self) -> Configuration:
        template = self.container.streams[self.probe.picture.index]
        return h264.configuration(template.codec_context.extradata or b"")

    def _decoded(
        self, items: list[Wanted], found: Configuration
    ) -> tuple[list[_Clip], dict[str, str]]:
        """Clips with their ends encoded, from one decode, and the reasons against others."""
        coder = Coder(self.probe, self.encoding.crf, found)
        reordered = h264.sequence(found.sps[0]).reordered
        first, end = min(item.first for item in items), max(item.end for item in items)
        coded = index(self.container, self.probe, first, end, found.length_size)
        clips, reasons = [], {}
        for item in items:
            try:
                plan = planned(coded, item.first, item.end)
                if reordered is None and plan.copied != sorted(plan.copied):
                    raise Unclear("reordering that is not declared")
            except Unclear as reason:
                reasons[item.key] = str(reason)
                continue
            item.ticks = sorted(plan.order)
            clips.append(_Clip(item, plan))
        ends: dict[int, list[End]] = {}
        for clip in clips:
            for part in clip.ends.values():
                for tick in part.ticks:
                    ends.setdefault(tick, []).append(part)
        pictures = pick(self.source, self.probe, coded, ends, self.limits, container=self.container)
        for tick, frame in pictures:
            for part in ends[tick]:
                part.take(frame, tick, coder)
        return clips, reasons

    def _write(self, clip: _Clip, found: Configuration, path: Path) -> ClipMedia:
        item, plan, kbps = clip.item, clip.plan, self.encoding.audio_kbps
        record = joined(found, clip.ends.values())
        sound = sound_of(self.container, self.source, self.probe, item, self.encoding, self.limits)
        digests: list[bytes] = []
        pieces = self._pieces(clip, found, digests)
        template = self.container.streams[self.probe.picture.index]
        end = min(item.end, self.probe.picture.end or item.end)
        join(path, template, plan.order, pieces, item.ticks[0], end, record, sound, kbps)
        back = reread(path, self.limits, thumb, keys=clip.ends)
        if back.record != record:
            raise inexact(item, self.source, "another decoder configuration than was written")
        if [coded.digest for coded in back.picture.packets] != digests:
            raise inexact(item, self.source, "other packets than were written")
        ticks = [coded.tick for coded in back.picture.packets]
        own, clock = back.picture.facts.clock, self.probe.picture.clock
        late = off_time(own, ticks, clock, plan.order)
        if late is not None or back.picture.ticks != sorted(ticks) or ticks[0] != 0:
            raise inexact(item, self.source, f"packet {late or 0} is not at its time")
        for number, part in clip.ends.items():
            look = back.looks.get(ticks[number])
            if look is None or part.look is None or not alike(look, part.look, self.probe):
                raise inexact(item, self.source, f"frame {number} differs")
        packed = sound if isinstance(sound, Packed) else None
        check_sound(back, self.source, self.probe, item, sound is not None, packed)
        return item.media(path, self.probe, back, clip.mode)

    def _pieces(self, clip: _Clip, found: Configuration, digests: list[bytes]) -> Iterator[Piece]:
        """All pictures of a clip in decoding order; `digests` gets theirs."""

        def noted(piece: Piece) -> Piece:
            digests.append(blake2b(piece.data, digest_size=16).digest())
            return piece

        yield from map(noted, clip.head.pieces)
        if clip.plan.copied:
            yield from map(noted, self._copied(clip, found))
        yield from map(noted, clip.tail.pieces)

    def _copied(self, clip: _Clip, found: Configuration) -> Iterator[Piece]:
        for packet in again(self.container, self.probe, clip.plan.copied):
            units = list(h264.units(bytes(packet), found.length_size))
            if any(h264.kind(u) in (h264.SPS, h264.PPS) and not found.holds(u) for u in units):
                raise Unclear("changing parameter sets")
            clean = any(h264.kind(unit) == h264.IDR for unit in units)
            yield Piece(packet.pts, framed(units), clean)


def suitable(probe: Probe, encoding: Encoding) -> None:
    """Raise `Unclear` with the reason where a source's packets cannot be copied."""
    picture = probe.picture
    width, height = picture.width or 0, picture.height or 0
    shrunk = encoding.height is not None and encoding.height < display_size(picture)[1]
    reasons = {
        picture.codec: picture.codec != "h264",
        "no index": not picture.seekable or not set(probe.container.split(",")) & SEEKABLE,
        "damaged": probe.damaged,
        "turned": bool(picture.rotation) or picture.mirrored,
        "oblong pixels": picture.sar_num != picture.sar_den,
        "odd size": bool(width % 2 or height % 2) or not width or not height,
        "another size or rate": shrunk or encoding.fps is not None,
        str(picture.pix_fmt): picture.pix_fmt not in ("yuv420p", "yuvj420p"),
    }
    for reason, holds in reasons.items():
        if holds:
            raise Unclear(reason)


def planned(found: list[Coded], first: int, end: int) -> Plan:
    """Which frames of [first, end) are copied and which encoded. Raises `Unclear`."""
    ticks = shown(found, first, end)
    if not ticks:
        raise Unclear("no frame inside the span")
    starts = [n for n, c in enumerate(found) if c.clean and first <= c.tick < end and not c.hidden]
    start = starts[0] if starts else len(found)
    head = [tick for tick in ticks if start == len(found) or tick < found[start].tick]
    if head and not any(c.clean and c.tick <= head[0] for c in found[:start]):
        raise Unclear("open groups of pictures")
    middle = ticks[len(head) :]
    taken: list[int] = []
    whole, latest = 0, -(2**63)
    for coded in found[start:]:
        if coded.hidden or coded.tick >= end:
            break
        taken.append(coded.tick)
        latest = max(latest, coded.tick)
        if latest == middle[len(taken) - 1]:  # no frame is missing among them
            whole = len(taken)
    return Plan(head, taken[:whole], middle[whole:])
