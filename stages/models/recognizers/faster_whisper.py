"""Whisper through CTranslate2: any size of model, on a CPU or a GPU, without torch.

A model is a hub name (`large-v3`, `Systran/faster-whisper-small`) or a folder that holds a
converted one, which needs no network. Its own voice filter stays off, because stretches of speech
arrive here already cut to Whisper's window of 30 s; and no text is handed from one stretch to the
next, which costs a little consistency of names and keeps one wrong sentence from repeating itself
through the rest of a video.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clipmill.schemas.records import Utterance, Word
from clipmill.stages.models.vad import Pcm, SpeechRules
from clipmill.stages.models.whisper_model import load_whisper

SURE = 0.5  # probability of a language above which it is kept for the rest of the stream


class FasterWhisper:
    """An `Engine` for every language its model knows."""

    batch = 1

    def __init__(
        self,
        model: str,
        *,
        revision: str = "main",
        device: str = "auto",
        compute_type: str = "default",
        beam_size: int = 5,
        threshold: float = 0.5,
        each: bool = False,
    ) -> None:
        self._whisper = load_whisper(model, revision, device, compute_type)
        self.model, self.revision = self._whisper.model, self._whisper.revision
        self._model = self._whisper.loaded
        self.rules = SpeechRules(threshold=threshold, min_silence=2.0, max_length=29.5)
        self._beam_size, self._each = beam_size, each
        self._language: str | None = None

    def begin(self, language: str | None) -> None:
        self._language = self._whisper.language(language)

    def hear(self, stretches: Sequence[Pcm]) -> list[tuple[str, list[Utterance]]]:
        return [self._hear(pcm) for pcm in stretches]

    def _hear(self, pcm: Pcm) -> tuple[str, list[Utterance]]:
        segments, info = self._model.transcribe(
            pcm / np.float32(32768),
            language=self._language,
            beam_size=self._beam_size,
            word_timestamps=True,
            condition_on_previous_text=False,
            vad_filter=False,
        )
        if not self._each and self._language is None and info.language_probability >= SURE:
            self._language = info.language
        found = [_utterance(segment) for segment in segments]
        return info.language, [u for u in found if u.text and u.end > u.start]


def _utterance(segment: Any) -> Utterance:
    words = [
        Word(word.word.strip(), _ms(word.start), _ms(word.end), float(word.probability))
        for word in segment.words or ()
        if word.word.strip()
    ]
    return Utterance(segment.text.strip(), _ms(segment.start), _ms(segment.end), words)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
