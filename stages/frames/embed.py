"""Write a vector per clip: the mean of its frames' vectors, once, for every later use.

Search, deduplication, clustering and alignment all read the same vector, so it does not depend on
any query. The mean over frames is the pooling that the large published sets use; it loses the
order of events, which these uses do not need.
"""

from __future__ import annotations

from pydantic import Field

from clipmill.schemas.records import Embedding, Part
from clipmill.stages.models.encoder import encoder_name, pool
from clipmill.stages.models.encoder_stage import EncoderStage, EncodeSettings


class Settings(EncodeSettings):
    layer: str = "shots"
    """Layer whose segments get a vector."""
    name: str = Field(default="clip", pattern=r"^[a-z0-9_]+$")
    """Name of the embedding."""
    frames: int = Field(default=8, ge=1)
    """At most so many frames a clip, spread over it."""


class Embed(EncoderStage[Settings]):
    """Embed clips: the mean of their frames under an image-text encoder, as one named vector."""

    needs = frozenset({"frames", "segments:{layer}"})
    provides = frozenset({"embeddings:{name}"})

    def process(self, part: Part) -> Part:
        segments = part.video.layer(self.settings.layer)
        vectors = self.pictures(part, segments, self.settings.frames)
        model = encoder_name(self.encoder.identity)
        for segment, own in zip(segments, vectors, strict=True):
            mean = pool(own)
            if mean is not None:  # a clip without frames has no vector, which is not a zero one
                segment.embeddings.append(Embedding(self.settings.name, model, mean.tolist()))
        return part
