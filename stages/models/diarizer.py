"""The one door to models that tell voices apart: sound in, turns of numbered speakers out.

A voice has no name, only likeness to itself, so all of a sound must be heard at once: a diarizer is
the one reader of speech whose memory grows with the sound, 230 MB an hour. Pipelines are those of
pyannote (Bredin, Interspeech 2023), which WhisperX uses and brings along; they live in its
environment. Their checkpoints are pickles, which run what is in them: name weights that you trust.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from clipmill.schemas.errors import MissingExtra, ModelError
from clipmill.stages.models.identity import identify, local_folder
from clipmill.stages.models.vad import RATE, Pcm


@dataclass(frozen=True, slots=True)
class Turn:
    """Milliseconds from the beginning of the sound in which one speaker is the one who is heard."""

    start: int
    end: int
    speaker: str


class Diarizer(Protocol):
    """A model that tells voices apart."""

    model: str
    revision: str

    def turns(self, sound: Pcm, least: int | None, most: int | None) -> Sequence[Turn]:
        """Who speaks when, in order and without overlap, if between `least` and `most` do."""
        ...


class Pyannote:
    """A `Diarizer` for any language."""

    def __init__(self, model: str, *, revision: str = "main", device: str = "auto") -> None:
        os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "false")  # else it reports each use
        try:
            import torch
            from pyannote.audio import Pipeline
        except ImportError as missing:
            raise MissingExtra(
                "pyannote is not installed",
                cure="pip install 'clipmill[whisperx]' in an environment of its own, "
                "and name that environment's interpreter as the stage's env",
                stage="assign_speakers",
            ) from missing
        self.model, self.revision = identify(model, revision)
        folder = local_folder(model)
        try:
            pipeline = Pipeline.from_pretrained(
                str(folder or model), revision=None if folder else revision
            )
        except (OSError, ValueError, KeyError) as failed:
            raise self._refused(str(failed)) from failed
        if pipeline is None:  # its word for weights that are not there or not for everybody
            raise self._refused("it is not there, or its terms were not accepted")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._pipeline: Any = pipeline.to(torch.device(device))

    def turns(self, sound: Pcm, least: int | None, most: int | None) -> list[Turn]:
        import torch

        if not len(sound):
            return []
        wave = torch.from_numpy(sound.astype(np.float32) / np.float32(32768))[None]
        told = self._pipeline(
            {"waveform": wave, "sample_rate": RATE}, min_speakers=least, max_speakers=most
        )
        tracks = told.exclusive_speaker_diarization.itertracks(yield_label=True)
        return [
            Turn(round(span.start * 1000), round(span.end * 1000), str(speaker))
            for span, _, speaker in tracks
        ]

    def _refused(self, why: str) -> ModelError:
        return ModelError(
            f"the pipeline {self.model} cannot be loaded: {why}"[:300],
            cure="accept its terms on the hub and put HF_TOKEN into the workers' environment, "
            "or name a folder that holds it",
            stage="assign_speakers",
        )
