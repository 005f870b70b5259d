"""Cuts the clips of a video out of its source, each with exactly its span's frames.

Not a stage: the packer calls it once a segment is kept, so no clip is cut that a decision drops.
All clips come out as H.264, 8 bit, upright, with square pixels, even sizes and AAC in sync. Where
a source already is that, whole groups of pictures and of sound are copied, which costs a tenth of
encoding and loses nothing; all else is encoded. `stages/media/cut.py` says how exactness is reached
and checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from clipmill.schemas.clocks import Span
from clipmill.schemas.fingerprints import fingerprint
from clipmill.schemas.records import Probe
from clipmill.stages.media import cut, sandbox
from clipmill.stages.media.cut import ClipMedia, Encoding
from clipmill.stages.media.limits import Limits
from clipmill.stages.stage import StageSettings

__all__ = ["ClipMedia", "CutClip", "Settings"]


class Settings(StageSettings):
    mode: Literal["smart", "encode", "copy"] = "smart"
    """How clips are made. `smart`: packets are copied, the ends of clips encoded, exact in all
    readers. `encode`: every frame anew, all clips coded alike. `copy`: packets are copied and an
    edit list hides the rest, exact only in readers that follow edit lists. Where a source does not
    allow the way asked for, its clips are encoded and their manifest says "encode: REASON".
    `smart` and `copy` also copy AAC sound where that is exact to the sample."""
    crf: int = Field(default=23, ge=0, le=51)
    """Constant rate factor of x264: lower is better and larger."""
    preset: Literal[
        "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower"
    ] = "veryfast"
    """Speed of x264 where whole clips are encoded: slower is smaller. What `smart` has to encode is
    encoded quickly and no worse."""
    height: int | None = Field(default=None, ge=16, le=4320)
    """Height of clips in pixels; smaller pictures are not enlarged. None keeps the source's."""
    fps: float | None = Field(default=None, gt=0, le=240)
    """Constant frame rate of clips. None keeps the source's frames and their times."""
    audio: bool = True
    """Keep the first sound track."""
    audio_kbps: int = Field(default=128, ge=16, le=512)
    """Bit rate in kbit/s of sound that is encoded."""
    trim: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of a span that is left out at both of its ends."""
    ffmpeg: str | None = None
    """Path of another ffmpeg program; None takes the one that comes with the package."""
    limits: Limits = Limits()
    """Caps on time and memory for one group of clips."""


class CutClip:
    """Cuts spans out of a source; see `cut`."""

    version = 4

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()

    def fingerprint(self) -> str:
        """Digest of everything that decides the bytes of a clip, the ffmpeg version included."""
        identity: dict[str, Any] = {
            "operator": "cut_clip",
            "version": self.version,
            "settings": self.settings.model_dump(mode="json", exclude={"ffmpeg", "limits"}),
            "encoders": cut.version(self.settings.ffmpeg),
        }
        return fingerprint(identity)

    def cut(
        self, source: Path, probe: Probe, spans: dict[str, Span], folder: Path
    ) -> dict[str, ClipMedia]:
        """Write `folder/KEY.mp4` for every span and say what came out, by key.

        A span holds the frames that start inside it. Raises `MediaError` where a clip cannot be
        exact, `DecoderLost` where ffmpeg crashes or passes its limits; some clips of the call may
        then have been written.
        """
        settings = self.settings
        folder.mkdir(parents=True, exist_ok=True)
        encoding = Encoding(
            mode=settings.mode,
            crf=settings.crf,
            preset=settings.preset,
            height=settings.height,
            fps=settings.fps,
            audio=settings.audio,
            audio_kbps=settings.audio_kbps,
            ffmpeg=settings.ffmpeg,
        )
        trimmed = {key: self._trimmed(span) for key, span in spans.items()}
        made: dict[str, ClipMedia] = {}
        for group in cut.groups(probe, trimmed):
            made |= sandbox.call(
                cut.cut_group,
                source,
                probe,
                group,
                folder,
                encoding,
                settings.limits,
                timeout_s=settings.limits.timeout_s * 2,
                memory_gb=settings.limits.memory_gb,
            )
        return {key: made[key] for key in spans}

    def _trimmed(self, span: Span) -> Span:
        off = round((span.end - span.start) * self.settings.trim)
        return Span(span.clock, span.start + off, span.end - off)
