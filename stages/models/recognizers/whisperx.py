"""WhisperX: many stretches through Whisper at once, then each word placed by a phoneme model.

Whisper alone times words by its attention, up to a second off; WhisperX aligns its text with the
sound by a wav2vec2 of the language (Bain et al., Interspeech 2023) and reads a batch in one pass,
which is what makes it the recogniser of production. It pins a torch of its own, so it runs in an
environment of its own. Its voice filter is replaced by the stretches that arrive here, so that all
recognisers hear the same; the cost is that a language without an alignment model, of which
WhisperX knows about forty, keeps the times of whole stretches.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from clipmill.schemas.errors import MissingExtra, ModelError, RecipeError
from clipmill.schemas.records import Utterance, Word
from clipmill.stages.models.identity import identify, local_folder
from clipmill.stages.models.vad import RATE, Pcm, SpeechRules

TABLES = ("abbrev_types.txt", "collocations.tab", "ortho_context.tab", "sent_starters.txt")


class WhisperX:
    """An `Engine` for every language its model knows."""

    def __init__(
        self,
        model: str,
        *,
        revision: str = "main",
        align_model: str = "",
        device: str = "auto",
        compute_type: str = "default",
        beam_size: int = 5,
        batch: int = 16,
        threshold: float = 0.5,
    ) -> None:
        if not model:
            raise RecipeError(
                "engine whisperx needs a model",
                key="model",
                cure="name a hub model such as large-v3, or the folder of a converted one",
                stage="transcribe",
            )
        try:
            import torch
            from whisperx.asr import WhisperModel, load_model
            from whisperx.log_utils import setup_logging
        except ImportError as missing:
            raise MissingExtra(
                "the whisperx engine is not installed",
                cure="pip install 'clipmill[whisperx]' in an environment of its own, "
                "and name that environment's interpreter as the stage's env",
                stage="transcribe",
            ) from missing
        setup_logging("error")  # else it prints settings, and what was said, to the output
        self.model, self.revision = identify(model, revision)
        self.batch = batch
        self.rules = SpeechRules(threshold=threshold, min_silence=2.0, max_length=29.5)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if compute_type == "default":
            compute_type = "float16" if device == "cuda" else "float32"
        folder = local_folder(model)
        self._language: str | None = None
        self._align_model, self._device = align_model, device
        self._aligner = lru_cache(maxsize=2)(self._load_aligner)  # a gigabyte each
        self._tables = _sentence_tables()
        self._whisper: Any = WhisperModel(
            str(folder or model),
            device=device,
            compute_type=compute_type,
            revision=None if folder else revision,
        )
        with redirect_stdout(io.StringIO()):  # it prints that it was given a voice filter
            self._pipeline: Any = load_model(
                self.model,
                device,
                model=self._whisper,
                vad_model=_given_stretches(),
                asr_options={"beam_size": beam_size},
            )

    def begin(self, language: str | None) -> None:
        known = self._whisper.supported_languages
        self._language = language.lower().split("-")[0] if language else None
        if self._language is not None and self._language not in known:
            raise RecipeError(
                f"the model {self.model} does not know the language {language!r}",
                key="language",
                cure=f"use one of: {', '.join(sorted(known))}",
                stage="transcribe",
            )

    def hear(self, stretches: Sequence[Pcm]) -> list[tuple[str, list[Utterance]]]:
        sounds = [pcm.astype(np.float32) / np.float32(32768) for pcm in stretches]
        self._pipeline.vad_model.stretches = [len(sound) for sound in sounds]
        # A batch of one takes another way through WhisperX, for which it has a special case.
        found = self._pipeline.transcribe(
            np.concatenate(sounds), batch_size=max(len(sounds), 2), language=self._language
        )
        # As WhisperX does with a file, the first batch decides for the rest of the stream.
        self._language = language = found["language"]
        texts = [segment["text"].strip() for segment in found["segments"]]
        return [
            (language, self._timed(text, sound, language) if text else [])
            for text, sound in zip(texts, sounds, strict=True)
        ]

    def _timed(self, text: str, sound: npt.NDArray[np.float32], language: str) -> list[Utterance]:
        """A stretch's text as utterances whose words have times, where they can be had."""
        from whisperx.alignment import align

        length = len(sound) / RATE
        whole = {"text": text, "start": 0.0, "end": length}
        aligner = self._aligner(language)
        if aligner is None:
            return [Utterance(text, 0, round(length * 1000))]
        model, metadata = aligner
        segments = align([whole], model, metadata, sound, self._device)["segments"]
        return [_utterance(segment) for segment in segments if segment["text"].strip()]

    def _load_aligner(self, language: str) -> tuple[Any, dict[str, Any]] | None:
        """The alignment model of a language and its letters; None where WhisperX knows none."""
        from whisperx import alignment

        named = self._align_model or alignment.DEFAULT_ALIGN_MODELS_TORCH.get(
            language, alignment.DEFAULT_ALIGN_MODELS_HF.get(language)
        )
        if named is None:
            return None
        folder = local_folder(named)
        try:
            model, metadata = alignment.load_align_model(
                language, self._device, model_name=str(folder or named)
            )
        except (OSError, ValueError) as failed:
            raise ModelError(
                f"the alignment model {named} for {language!r} cannot be loaded: {failed}",
                cure="name a wav2vec2 model with letters, or its folder, as align_model",
                stage="transcribe",
            ) from failed
        return model, metadata


def _utterance(segment: dict[str, Any]) -> Utterance:
    words = [
        Word(word["word"], _ms(word["start"]), _ms(word["end"]), _share(word.get("score")))
        for word in segment["words"]
        if "start" in word and "end" in word
    ]
    start, end = _ms(segment["start"]), _ms(segment["end"])
    return Utterance(segment["text"].strip(), start, end, words)


def _share(score: float | None) -> float | None:
    return None if score is None else min(max(float(score), 0.0), 1.0)


def _ms(seconds: float) -> int:
    return round(float(seconds) * 1000)


def _given_stretches() -> Any:
    """A voice filter that finds the stretches it was told, laid end to end."""
    from whisperx.vads import Vad

    class GivenStretches(Vad):  # type: ignore[misc]
        stretches: Sequence[int] = ()  # samples

        def __call__(self, sound: object) -> list[tuple[float, float]]:
            ends = np.cumsum([0, *self.stretches]) / RATE
            return list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))

        @staticmethod
        def merge_chunks(
            found: list[tuple[float, float]], *_: object, **__: object
        ) -> list[dict[str, Any]]:
            return [{"start": a, "end": b, "segments": [(a, b)]} for a, b in found]

    return GivenStretches(vad_onset=0.5)


def _sentence_tables() -> TemporaryDirectory[str]:
    """Empty tables for the sentence splitter, in place of those it would fetch from the network.

    What WhisperX takes for a sentence only groups words here; `restore_sentences` cuts sentences.
    """
    import nltk
    from whisperx.utils import PUNKT_LANGUAGES

    folder: TemporaryDirectory[str] = TemporaryDirectory(prefix="clipmill-sentences-")
    for language in {"english", *PUNKT_LANGUAGES.values()}:
        place = Path(folder.name) / "tokenizers" / "punkt_tab" / language
        place.mkdir(parents=True)
        for table in TABLES:
            (place / table).touch()
    nltk.data.path.append(folder.name)  # last: installed tables are better
    return folder
