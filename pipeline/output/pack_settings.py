"""What is packed, and how: the `pack` section of a recipe."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from clipmill.stages.clip.cut_clip import Settings as CutSettings
from clipmill.stages.stage import StageSettings


class PackSettings(StageSettings):
    """How kept segments become shards."""

    layer: str = "shots"
    """Layer whose kept segments become clips."""
    name: str = Field(default="clips", pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$")
    """Beginning of the shards' file names."""
    max_clips: int = Field(default=1000, ge=1)
    """Clips in one shard at most."""
    max_bytes: int = Field(default=512 * 2**20, ge=1)
    """Bytes of one shard at most; a single larger clip gets a shard of its own."""
    seed: int = 0
    """Seed of the order in which clips are spread over shards."""
    text: list[str] = Field(default_factory=lambda: ["caption", "dense", "brief", "asr"])
    """Roles of the one text to train on, best first; the newest text of the first role a clip has
    becomes KEY.txt."""
    media: bool = True
    """Cut the clips. Without, a clip is its KEY.json and KEY.txt, which name its video and span:
    for annotations whose media is elsewhere, or not there at all."""
    thumbnail: bool = False
    """Add the middle frame as KEY.jpg."""
    embedding: str | None = None
    """Name of an embedding to add as KEY.npy (float32)."""
    wav: bool = False
    """Add 16 kHz mono sound as KEY.wav."""
    cut: CutSettings = CutSettings()
    """How clips are cut."""

    @model_validator(mode="after")
    def _pictures_and_sound_need_media(self) -> Self:
        if not self.media and (self.thumbnail or self.wav):
            raise ValueError("thumbnail and wav are made from media; remove them, or media: false")
        return self
