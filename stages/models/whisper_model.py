"""Loads a Whisper model in CTranslate2's form: a hub name, or a folder, which needs no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clipmill.schemas.errors import MissingExtra, RecipeError
from clipmill.stages.models.identity import identify, local_folder


@dataclass(frozen=True, slots=True)
class Whisper:
    """A loaded model and who it is."""

    model: str
    revision: str
    loaded: Any  # faster_whisper.WhisperModel

    def language(self, wanted: str | None) -> str | None:
        """The model's code of a wanted language; RecipeError for one it does not know."""
        if not wanted:
            return None
        known = self.loaded.supported_languages
        code = wanted.lower().split("-")[0]
        if code not in known:
            raise RecipeError(
                f"the model {self.model} does not know the language {wanted!r}",
                key="language",
                cure=f"use one of: {', '.join(sorted(known))}",
                stage="transcribe",
            )
        return code


def load_whisper(model: str, revision: str, device: str, compute_type: str) -> Whisper:
    """`model` as a recipe names it; RecipeError where it names none."""
    if not model:
        raise RecipeError(
            "engine faster_whisper needs a model",
            key="model",
            cure="name a hub model such as large-v3, or the folder of a converted one",
            stage="transcribe",
        )
    try:
        import faster_whisper
    except ImportError as missing:
        raise MissingExtra(
            "the faster_whisper engine is not installed",
            cure="pip install 'clipmill[speech]'",
            stage="transcribe",
        ) from missing
    folder = local_folder(model)
    loaded = faster_whisper.WhisperModel(
        str(folder or model),
        device=device,
        compute_type=compute_type,
        revision=None if folder else revision,
    )
    return Whisper(*identify(model, revision), loaded)
