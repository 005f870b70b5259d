"""The one door to image-text encoders: pictures and texts to unit vectors of one space.

Vectors of one encoder compare by dot product. Those of two encoders do not, so an encoder's
identity travels with every vector it made and is compared before vectors are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from clipmill.stages.models.embedded import EMBEDDED, resolved
from clipmill.stages.models.identity import ModelIdentity, anchored, identify
from clipmill.stages.stage import StageSettings

Vectors = npt.NDArray[np.float32]
"""float32 [n, d], rows of unit length."""


class Encoder(Protocol):
    """A loaded encoder. `setup` once; row i of a result depends on item i alone."""

    @property
    def identity(self) -> ModelIdentity: ...

    def setup(self) -> None: ...

    def images(self, pictures: Sequence[bytes]) -> Vectors: ...

    def texts(self, texts: Sequence[str]) -> Vectors: ...

    def close(self) -> None: ...


class EncoderSettings(StageSettings):
    """An image-text encoder and how it is run."""

    backend: Literal["open_clip"] = "open_clip"
    """What runs the model."""
    model: str = "ViT-B-32"
    """An open_clip architecture, `hf-hub:owner/name`, a local folder with
    `open_clip_config.json` and weights, or `embedded`: the small one that ships with Clipmill and
    knows rendered scenes only."""
    pretrained: str = "laion2b_s34b_b79k"
    """Tag of the weights of a built-in architecture; without meaning for hub and folder."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Number format of the weights; the half formats are for GPUs."""
    device: str = "auto"
    """`auto` is the first CUDA device if there is one, else the CPU."""
    batch_size: int = Field(default=64, ge=1)
    """Pictures or texts encoded together."""

    @field_validator("model")
    @classmethod
    def _means_the_same_on_every_worker(cls, model: str) -> str:
        return model if model == EMBEDDED else anchored(model)

    @property
    def source(self) -> str:
        """The model as it is loaded here: a name or a folder."""
        return resolved(self.model, "encoder")

    def model_identity(self) -> ModelIdentity:
        return identify(self.source, "" if self.model.startswith("hf-hub:") else self.pretrained)

    def identity(self) -> dict[str, Any]:
        """What a vector depends on: not the place of a folder, the device or the batch size."""
        name, revision = self.model_identity()
        return {
            "backend": self.backend,
            "model": name,
            "revision": revision,
            "precision": self.precision,
        }


def encoder_name(identity: ModelIdentity) -> str:
    """An encoder's identity as one string, as embeddings carry it."""
    return f"{identity.name}@{identity.revision}" if identity.revision else identity.name


def open_encoder(settings: EncoderSettings) -> Encoder:
    """The encoder a recipe asks for, not yet set up."""
    from clipmill.stages.models.open_clip_encoder import OpenClipEncoder

    return OpenClipEncoder(settings)


def pool(vectors: Vectors) -> Vectors | None:
    """The unit mean of unit vectors [n, d] -> [d]; None where they cancel out or are none."""
    if not len(vectors):
        return None
    mean = vectors.mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(mean))
    # Below this the direction is rounding noise of the sum.
    return (mean / length).astype(np.float32) if length > 1e-6 else None
