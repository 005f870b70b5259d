"""What the ways of cutting share: how a clip is made, what it must hold, what came out.

A clip's truth is a list of ticks on its source's picture clock and a few pictures taken from the
source by our own decoding. Every way of cutting is measured against that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av

from clipmill.schemas.errors import Damaged
from clipmill.schemas.records import Probe
from clipmill.stages.media.frames import Picture
from clipmill.stages.media.reread import Reread

Mode = Literal["smart", "encode", "copy"]

AAC_CODER = "fast"
"""FFmpeg's own coder at half the price of its default; at 128 kbit/s it was nearer to the source
(41.7 against 34.5 dB on speech)."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How clips are made."""

    mode: Mode = "encode"
    crf: int = 23
    preset: str = "veryfast"
    height: int | None = None
    fps: float | None = None
    audio: bool = True
    audio_kbps: int = 128
    ffmpeg: str | None = None


@dataclass(frozen=True, slots=True)
class ClipMedia:
    """A clip that has been cut and checked.

    `mode` says how it was made; "encode: REASON" where another way was asked for and not taken.
    """

    path: Path
    frames: int
    fps: float
    width: int
    height: int
    seconds: float
    audio: bool
    mode: str
    readers: str  # who shows exactly these frames: "all", or "editlist" for readers of edit lists


@dataclass(slots=True)
class Wanted:
    """A clip to cut: its frames' ticks, running numbers, and small pictures of some of them."""

    key: str
    first: int  # tick on the picture's clock
    end: int
    ticks: list[int] = field(default_factory=list)
    numbers: tuple[int, int] = (0, 0)  # of the first and last frame in the file; unknown is 0, 0
    thumbs: dict[int, Picture] = field(default_factory=dict)  # by place in `ticks`

    def times(self, probe: Probe) -> tuple[Fraction, Fraction]:
        """Presentation times of the first frame and of the clip's end."""
        clock = probe.picture.clock
        end = min(self.end, probe.picture.end or self.end)
        start = max(self.first, self.ticks[0])
        return clock.exact(start), clock.exact(max(end, start + 1))

    def media(
        self, path: Path, probe: Probe, clip: Reread, mode: str, readers: str = "all"
    ) -> ClipMedia:
        """The facts of the finished clip, as it was read back."""
        start, end = self.times(probe)
        seconds, frames = float(end - start), len(clip.picture.ticks)
        return ClipMedia(
            path=path,
            frames=frames,
            fps=frames / seconds if seconds else 0.0,
            width=clip.picture.facts.width or 0,
            height=clip.picture.facts.height or 0,
            seconds=seconds,
            audio=clip.sound is not None and bool(clip.sound.packets),
            mode=mode,
            readers=readers,
        )


def inexact(item: Wanted, source: Path, what: str) -> Damaged:
    """The error of a clip that is not what its span holds."""
    return Damaged(
        f"clip {item.key} is not what its span holds: {what}",
        cure="the source is damaged or its timestamps are wrong; remux it, or leave it out",
        input=source.name,
    )


def why(mode: Mode, reason: Exception) -> str:
    """What the manifest says of a clip that could not be made in this mode and was encoded."""
    if isinstance(reason, Damaged):
        return f"{mode} failed its check"
    return f"{mode} could not be written" if isinstance(reason, av.FFmpegError) else str(reason)
