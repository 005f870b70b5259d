"""Whisper as an aligner: every language its model knows, in the process that recognises with it.

The decoder is given the words in place of its own and asked how likely it finds each, and its
attention tells where they are (dynamic time warping over the alignment heads, as Whisper times its
own words). Times are good to a few tenths of a second; a word is also likely because of those
before it, so one that is wrong but fits the sentence is doubted less than it deserves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clipmill.stages.models.aligner import Aligned
from clipmill.stages.models.vad import Pcm
from clipmill.stages.models.whisper_model import load_whisper


class WhisperAligner:
    """An `Aligner` by a Whisper model that CTranslate2 runs."""

    longest_s = 30.0

    def __init__(self, model: str, *, revision: str, device: str, compute_type: str) -> None:
        self._whisper = load_whisper(model, revision, device, compute_type)
        self.model, self.revision = self._whisper.model, self._whisper.revision
        self._language: str | None = None

    def begin(self, language: str | None) -> bool:
        self._language = language.lower().split("-")[0] if language else None
        return self._language is None or self._language in self._whisper.loaded.supported_languages

    def align(self, pcm: Pcm, words: Sequence[str]) -> list[Aligned | None]:
        from faster_whisper.transcribe import Tokenizer, pad_or_trim

        if not len(pcm) or not words:
            return [None] * len(words)
        loaded = self._whisper.loaded
        features = loaded.feature_extractor(pcm / np.float32(32768))
        padded = pad_or_trim(features)
        language = self._language or loaded.detect_language(features=features)[0]
        tokenizer = Tokenizer(
            loaded.hf_tokenizer, loaded.model.is_multilingual, "transcribe", language
        )
        tokens = tokenizer.encode("".join(f" {word}" for word in words))
        [pieces] = loaded.find_alignment(
            tokenizer, [tokens], loaded.encode(padded), features.shape[-1]
        )
        return _by_word(words, pieces, len(pcm) // 16)


def _by_word(
    words: Sequence[str], pieces: Sequence[dict[str, Any]], length_ms: int
) -> list[Aligned | None]:
    """The model's pieces put together to the words asked for; it parts marks from words."""
    found: list[Aligned | None] = [None] * len(words)
    at = 0
    for number, word in enumerate(words):
        own: list[dict[str, Any]] = []
        text = ""
        while at < len(pieces) and len(text) < len(word):
            own.append(pieces[at])
            text += pieces[at]["word"].strip()
            at += 1
        if text != word:
            return found  # the model writes it otherwise: what follows cannot be told either
        start, end = (round(1000 * float(own[n][key])) for n, key in ((0, "start"), (-1, "end")))
        sure = float(np.mean([piece["probability"] for piece in own]))
        found[number] = Aligned(min(start, length_ms), min(max(start, end), length_ms), sure)
    return found
