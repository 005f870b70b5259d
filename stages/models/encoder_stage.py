"""What all stages that hold an image-text encoder share: its identity, packages and life."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np

from clipmill.schemas.errors import ModelError
from clipmill.schemas.records import Part, Segment
from clipmill.stages.models.embedded import EMBEDDED
from clipmill.stages.models.encoder import EncoderSettings, Vectors, encoder_name, open_encoder
from clipmill.stages.models.frame_choice import spread
from clipmill.stages.stage import Stage, StageSettings


class EncodeSettings(StageSettings):
    """What is set of every stage that holds an encoder."""

    encoder: EncoderSettings = EncoderSettings()
    """The model, and how it is run. Vectors of two encoders do not compare."""


S = TypeVar("S", bound=EncodeSettings)


class EncoderStage(Stage[S]):
    """Base of stages that hold an encoder, as `self.encoder`."""

    settings: S
    own_actor: ClassVar[bool] = True
    packages: ClassVar[dict[str, str]] = {"torch": "models", "open_clip": "models"}

    def __init__(self, settings: S) -> None:
        super().__init__(settings)
        if settings.encoder.model == EMBEDDED:  # a few megabytes need no process of their own
            vars(self).update(own_actor=False)

    def identity(self) -> dict[str, Any]:
        own = super().identity()
        own["settings"]["encoder"] = self.settings.encoder.identity()
        return own

    def setup(self) -> None:
        self.encoder = open_encoder(self.settings.encoder)
        self.encoder.setup()

    def close(self) -> None:
        self.encoder.close()

    def pictures(self, part: Part, segments: Sequence[Segment], most: int) -> list[Vectors]:
        """Vectors [k, d] of each clip's frames, at most so many, spread over it; k may be 0.

        All frames of a part are encoded in one stream of full batches, however few each clip has.
        """
        chosen = [spread(part.frames.get(segment.id, []), most) for segment in segments]
        jpegs = [frame.jpeg for frames in chosen for frame in frames]
        vectors = self.encoder.images(jpegs) if jpegs else np.zeros((0, 0), np.float32)
        ends = np.cumsum([len(frames) for frames in chosen], dtype=int)
        return np.split(vectors, ends[:-1]) if chosen else []

    def stored(self, part: Part, segment: Segment, name: str) -> Vectors:
        """A clip's stored vector of this encoder, [1, d], or [0, 0] where it has none.

        Raises ModelError where another model made it: such vectors do not compare.
        """
        model = encoder_name(self.encoder.identity)
        named = [own for own in segment.embeddings if own.name == name]
        if not named:
            return np.zeros((0, 0), np.float32)
        if named[-1].model != model:
            raise ModelError(
                f"embedding {name!r} of {segment.id} was made by {named[-1].model}, this stage has"
                f" {model}",
                cure="give both stages the same encoder",
                input=part.name,
                stage=self.label,
            )
        return np.asarray([named[-1].vector], np.float32)
