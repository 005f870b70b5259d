"""The models that ship with Clipmill: `model: embedded` in a recipe.

A vision-language teacher and an image-text encoder of a few million parameters, trained on the
rendered world of `stages/compose` and knowing nothing else. They are folders like any other, loaded
by the code that loads published models. The name is resolved where a model is loaded and not in
the recipe, because workers may be installed in another place than the driver.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from clipmill.schemas.errors import ModelError

EMBEDDED = "embedded"

_FOLDERS = {"teacher": "clipmill-world-vl", "encoder": "clipmill-world-clip"}


def resolved(model: str, kind: Literal["teacher", "encoder"]) -> str:
    """A model setting with the name `embedded` replaced by the shipped folder of that kind."""
    return str(embedded_folder(kind)) if model == EMBEDDED else model


def embedded_folder(kind: Literal["teacher", "encoder"]) -> Path:
    """The shipped folder. Raises ModelError where the installation lacks it."""
    folder = Path(__file__).parent / "weights" / _FOLDERS[kind]
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"the embedded {kind} is missing from {folder}",
            cure="reinstall clipmill, or train it: infra/embedded_models/README.md",
        )
    return folder
