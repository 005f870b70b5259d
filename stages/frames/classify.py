"""Sort clips into named classes by what an image-text encoder finds most like them.

Each class is described by sentences, so a new class costs a line in a recipe and no training
(zero-shot, after CLIP, Radford et al. 2021). A class has the shares of all its sentences, not their
mean vector, so that "everything else" can be many unlike things. Something must always win, so the
classes have to cover what occurs; the winner's share says by how much it won and is no probability
that it is right. A vision-language model asked in words decides finer cases at many times the cost.
"""

from __future__ import annotations

from typing import Annotated, Self

import numpy as np
from pydantic import Field, StringConstraints, model_validator

from clipmill.schemas.records import Part
from clipmill.stages.models.encoder import Vectors, pool
from clipmill.stages.models.encoder_stage import EncoderStage, EncodeSettings

Class = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]
Sentence = Annotated[str, StringConstraints(min_length=1, max_length=300)]


class Settings(EncodeSettings):
    classes: dict[Class, tuple[Sentence, ...]]
    """Each class with sentences that describe a picture of it; two classes at least."""
    layer: str = "shots"
    """Layer whose segments are sorted."""
    name: str = Field(default="class", pattern=r"^[a-z0-9_]+$")
    """Name of the label, and of the score: the share of the winner, 0 to 1."""
    frames: int = Field(default=8, ge=1)
    """At most so many frames a clip, spread over it; their mean is compared."""
    sharpness: float = Field(default=100.0, gt=0)
    """What cosines are multiplied by before they are made shares; CLIP models learn about 100."""

    @model_validator(mode="after")
    def _there_is_a_choice(self) -> Self:
        if len(self.classes) < 2 or not all(self.classes.values()):
            raise ValueError("classes needs two classes at least, each with a sentence")
        return self


class Classify(EncoderStage[Settings]):
    """Label clips with the class whose sentences fit their frames best."""

    needs = frozenset({"frames", "segments:{layer}"})
    provides = frozenset({"labels:{name}", "scores:{name}"})

    def setup(self) -> None:
        super().setup()
        self._sentences = self.encoder.texts(
            [sentence for own in self.settings.classes.values() for sentence in own]
        )

    def process(self, part: Part) -> Part:
        settings = self.settings
        segments = part.video.layer(settings.layer)
        vectors = self.pictures(part, segments, settings.frames)
        names = list(settings.classes)
        firsts = np.cumsum([0, *(len(own) for own in settings.classes.values())])[:-1]
        for segment, own in zip(segments, vectors, strict=True):
            mean = pool(own)
            if mean is None:  # no frames, no class
                continue
            shares = np.add.reduceat(_shares(self._sentences @ mean, settings.sharpness), firsts)
            best = int(np.argmax(shares))
            segment.labels[settings.name] = names[best]
            segment.scores[settings.name] = float(shares[best])
        return part


def _shares(cosines: Vectors, sharpness: float) -> np.ndarray:
    raised = np.exp(sharpness * (cosines.astype(np.float64) - float(cosines.max())))
    shares: np.ndarray = raised / raised.sum()
    return shares
