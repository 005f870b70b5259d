"""Write a vector per clip, of its frames or of a text about it, once, for every later use.

Search, deduplication, clustering, alignment and the search for topics all read the same vector, so
it does not depend on any query. Frames are pooled by their mean, as the large published sets do; it
loses the order of events, which these uses do not need. A text gives one vector; few words say
little, so those of its neighbours in the layer can be pooled with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from clipmill.schemas.records import Embedding, Part, Segment
from clipmill.stages.models.encoder import Vectors, encoder_name, pool
from clipmill.stages.models.encoder_stage import EncoderStage, EncodeSettings
from clipmill.stages.models.teacher_stage import one_line


class Settings(EncodeSettings):
    layer: str = "shots"
    """Layer whose segments get a vector."""
    name: str = Field(default="clip", pattern=r"^[a-z0-9_]+$")
    """Name of the embedding."""
    frames: int = Field(default=8, ge=1)
    """At most so many frames a clip, spread over it."""
    role: str = ""
    """Role of a text that is embedded in place of frames; of several, the last written."""
    around: int = Field(default=0, ge=0, le=100)
    """Texts: so many segments before and after are pooled with each, by the mean."""


class Embed(EncoderStage[Settings]):
    """Embed clips by their frames, or by a text, under an image-text encoder: one named vector."""

    settings: Settings
    provides = frozenset({"embeddings:{name}"})

    def reads(self) -> frozenset[str]:
        settings = self.settings
        source = f"texts:{settings.role}" if settings.role else "frames"
        return frozenset({f"segments:{settings.layer}", source})

    def process(self, part: Part) -> Part:
        settings = self.settings
        segments = part.video.layer(settings.layer)
        if settings.role:
            vectors = self._texts(segments)
        else:
            vectors = self.pictures(part, segments, settings.frames)
        model = encoder_name(self.encoder.identity)
        for segment, own in zip(segments, vectors, strict=True):
            mean = pool(own)
            if mean is not None:  # what has nothing to embed has no vector, which is no zero one
                segment.embeddings.append(Embedding(settings.name, model, mean.tolist()))
        return part

    def _texts(self, segments: Sequence[Segment]) -> list[Vectors]:
        """Vectors [k, d] of each segment's text and of those around it; k may be 0."""
        said = [segment.texts_of(self.settings.role)[-1:] for segment in segments]
        held = [place for place, texts in enumerate(said) if texts]
        texts = [one_line(said[place][0].text) for place in held]
        vectors = self.encoder.texts(texts) if texts else np.zeros((0, 0), np.float32)
        places, around = np.array(held, int), self.settings.around
        return [vectors[np.abs(places - place) <= around] for place in range(len(segments))]
