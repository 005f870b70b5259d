"""Score how alike neighbouring pictures of a clip are, to an image-text encoder.

The mean over neighbours tells a clip that stays with its subject from one that flickers or jumps;
a video generator learns from neither a slide nor a montage, so sets bound it on both sides. The
lowest of them falls where something happens at once, such as a cut that no detector saw. What
counts as a neighbour depends on `sample_frames`: a bound belongs to its pictures per second and to
the encoder.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from clipmill.schemas.records import Part
from clipmill.stages.models.encoder_stage import EncoderStage, EncodeSettings


class Settings(EncodeSettings):
    layer: str = "shots"
    """Layer whose segments are scored."""
    frames: int = Field(default=16, ge=2)
    """At most so many frames a clip, spread over it."""
    name: str = Field(default="consistency", pattern=r"^[a-z0-9_]+$")
    """Name of the score, a mean cosine; NAME_least is the lowest."""


class ScoreConsistency(EncoderStage[Settings]):
    """Score how alike neighbouring frames of a clip are, by an image-text encoder."""

    needs = frozenset({"frames", "segments:{layer}"})
    provides = frozenset({"scores:{name}", "scores:{name}_least"})

    def process(self, part: Part) -> Part:
        settings = self.settings
        segments = part.video.layer(settings.layer)
        vectors = self.pictures(part, segments, settings.frames)
        for segment, each in zip(segments, vectors, strict=True):
            own = each.astype(np.float64)
            if len(own) > 1:  # one picture has no neighbour: not computed
                cosines = (own[1:] * own[:-1]).sum(axis=1)
                segment.scores[settings.name] = float(cosines.mean())
                segment.scores[f"{settings.name}_least"] = float(cosines.min())
        return part
