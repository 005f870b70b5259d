"""A finished clip as its file holds it: every packet of picture and sound, and single pictures.

A clip is opened as a stranger's file would be, but without letting the library decode frames to
find out what it is, which costs more than all the reading: what a clip is, its packets say. A key
frame decodes by itself, so a picture of every part is had for one packet each. Where that is not
enough `whole` decodes all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path
from typing import Any

import av

from clipmill.schemas.errors import Damaged
from clipmill.schemas.records import Stream
from clipmill.stages.media.coded import Coded
from clipmill.stages.media.decode import error_log, open_input
from clipmill.stages.media.frames import Picture
from clipmill.stages.media.limits import Limits
from clipmill.stages.media.probe import display_turn, stream_facts

Look = Callable[[Any, Stream], Picture]


@dataclass(frozen=True, slots=True)
class Track:
    """A track's packets in decoding order; `ends` says where the last one's display ends."""

    facts: Stream
    packets: list[Coded]
    ends: int

    @property
    def ticks(self) -> list[int]:
        """When its visible packets are shown, in order."""
        return sorted(coded.tick for coded in self.packets if not coded.hidden)


@dataclass(frozen=True, slots=True)
class Reread:
    """What was read: `record` is the decoder configuration, `looks` small pictures by tick."""

    picture: Track
    sound: Track | None
    record: bytes
    looks: dict[int, Picture]


def reread(
    path: Path, limits: Limits, look: Look, keys: Collection[int] = (), whole: bool = False
) -> Reread:
    """Read a clip back. Raises `Damaged` where it does not read or decode without complaint.

    `look` makes the small picture of a decoded frame. `keys` are numbers, in decoding order, of
    key frames to look at; `whole` looks at every frame instead.
    """
    with error_log() as log, open_input(path, own=True) as container:
        picture = container.streams.video[0]
        sound = next(iter(container.streams.audio), None)
        tracks = [stream for stream in (picture, sound) if stream is not None]
        facts = {s.index: stream_facts(s, s.type[0] + "0", Fraction(0)) for s in tracks}
        context = picture.codec_context
        context.thread_count, context.thread_type = 1, "NONE"
        context.options = {"max_pixels": str(limits.max_pixels)}
        if not whole:  # a picture to tell frames apart by needs no loop filter
            context.options = {**context.options, "skip_loop_filter": "all"}
        found: dict[int, list[Coded]] = {stream.index: [] for stream in tracks}
        ends = dict.fromkeys(found, 0)
        looks: dict[int, Picture] = {}
        try:
            for packet in container.demux(*tracks):
                index, held = packet.stream.index, found[packet.stream.index]
                if packet.size:
                    if packet.pts is None or packet.is_corrupt:
                        raise _unfit(path, "a packet without a time")
                    ends[index] = max(ends[index], packet.pts + (packet.duration or 0))
                    held.append(_coded(packet))
                if index != picture.index:
                    continue
                frames: list[Any] = []
                if whole:
                    frames = packet.decode()
                elif packet.size and len(held) - 1 in keys:
                    frames = _alone(context, packet)
                for frame in frames:
                    facts[index].rotation, facts[index].mirrored = display_turn(frame)
                    looks[frame.pts] = look(frame, facts[index])
        except av.FFmpegError as error:
            raise _unfit(path, str(error)) from error
        log.drain()
        if log.first:
            raise _unfit(path, next(iter(log.first.values())))
        read = {n: Track(facts[n], found[n], ends[n]) for n in found}
        heard = None if sound is None else read[sound.index]
        return Reread(read[picture.index], heard, context.extradata or b"", looks)


def _coded(packet: Any) -> Coded:
    digest = blake2b(packet, digest_size=16).digest()
    key = bool(packet.is_keyframe)
    return Coded(packet.pts, key, key, bool(packet.is_discard), digest)


def _alone(context: Any, packet: Any) -> list[Any]:
    """The frame of one packet, also where an edit list hides it."""
    bare = av.Packet(bytes(packet))
    bare.pts = packet.pts
    frames: list[Any] = [*context.decode(bare), *context.decode(None)]
    context.flush_buffers()
    return frames


def _unfit(path: Path, what: str) -> Damaged:
    return Damaged(
        f"the clip does not read back: {what}",
        cure="probe with strict: true to refuse damaged files",
        input=path.name,
    )
