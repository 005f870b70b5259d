"""What all stages that hold an image-text encoder share: its identity, packages and life."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from clipmill.stages.models.embedded import EMBEDDED
from clipmill.stages.models.encoder import EncoderSettings, open_encoder
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
