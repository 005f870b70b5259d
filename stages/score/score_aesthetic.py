"""Score how good a clip looks, from its vector under an image-text encoder.

With `head`, by a predictor that was learnt from people's ratings, such as LAION's for CLIP
ViT-L/14, whose scale of about 1 to 10 published thresholds speak of. Without one, by two sentences:
the share of the good one against the bad one, between 0 and 1 (CLIP-IQA, Wang et al. 2023). That
needs no further weights and follows ratings less closely, but the best tenth is a tenth under
either; other sentences ask for other looks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from clipmill.schemas.errors import ModelError
from clipmill.schemas.records import Part
from clipmill.stages.models.encoder import Vectors, pool
from clipmill.stages.models.encoder_stage import EncoderStage, EncodeSettings
from clipmill.stages.models.vector_head import head_identity, load_head

SHARPNESS = 100.0
"""What cosines are multiplied by before they become shares, as CLIP models learn it."""


class Settings(EncodeSettings):
    layer: str = "shots"
    """Layer whose segments are scored."""
    frames: int = Field(default=4, ge=1)
    """At most so many frames a clip, spread over it; their mean is scored."""
    embedding: str | None = None
    """Score this stored embedding; none encodes frames."""
    head: str = ""
    """File of a learnt head for this encoder's vectors; empty: the two sentences."""
    relu: bool = False
    """Whether the head has a ReLU between its layers."""
    good: str = Field(default="Good photo.", min_length=1)
    """Sentence that fits a good clip."""
    bad: str = Field(default="Bad photo.", min_length=1)
    """Sentence that fits a bad one."""
    name: str = Field(default="aesthetic", pattern=r"^[a-z0-9_]+$")
    """Name of the score."""

    @field_validator("head")
    @classmethod
    def _the_same_on_every_worker(cls, path: str) -> str:
        return str(Path(path).expanduser().absolute()) if path else path


class ScoreAesthetic(EncoderStage[Settings]):
    """Score the looks of clips, by a learnt head over an encoder's vectors or by two sentences."""

    needs = frozenset({"segments:{layer}"})
    provides = frozenset({"scores:{name}"})

    def reads(self) -> frozenset[str]:
        stored = self.settings.embedding
        return super().reads() | {f"embeddings:{stored}" if stored else "frames"}

    def identity(self) -> dict[str, Any]:
        own = super().identity()
        if self.settings.head:
            own["settings"]["head"] = head_identity(self.settings.head)
        return own

    def setup(self) -> None:
        super().setup()
        settings = self.settings
        poles = self.encoder.texts([settings.good, settings.bad])
        self._poles = poles[0] - poles[1]
        self._head = load_head(settings.head, settings.relu) if settings.head else None
        if self._head and self._head.width != len(self._poles):
            raise ModelError(
                f"the head takes vectors of {self._head.width} numbers, {settings.encoder.model}"
                f" makes {len(self._poles)}",
                cure="name the encoder that the head was learnt on",
                stage=self.label,
            )

    def process(self, part: Part) -> Part:
        settings = self.settings
        segments = part.video.layer(settings.layer)
        if settings.embedding:
            vectors = [self.stored(part, segment, settings.embedding) for segment in segments]
        else:
            vectors = self.pictures(part, segments, settings.frames)
        for segment, own in zip(segments, vectors, strict=True):
            mean = pool(own)
            if mean is not None:  # neither vector nor frames: not computed
                segment.scores[settings.name] = self._score(mean)
        return part

    def _score(self, vector: Vectors) -> float:
        if self._head:
            return float(self._head.scores(vector[None])[0])
        return float(1 / (1 + np.exp(-SHARPNESS * float(self._poles @ vector))))
