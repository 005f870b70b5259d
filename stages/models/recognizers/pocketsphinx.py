"""PocketSphinx: recognition with no download, because the wheel carries an English model.

Small and quick (several times real time on one core) and far from the accuracy of Whisper, so it
serves quick starts, tests and machines without any weights; production recipes name a Whisper
model. Its words come without confidence: the decoder reports 1.0 for every word of a best path.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Sequence
from typing import Any

from clipmill.schemas.errors import MissingExtra, RecipeError
from clipmill.schemas.records import Utterance, Word
from clipmill.stages.models.recognizer import utterances_of
from clipmill.stages.models.vad import Pcm, SpeechRules

FRAME_MS = 10
_VARIANT = re.compile(r"\(\d+\)$")  # "to(3)" is the third pronunciation of "to"


class PocketSphinx:
    """An `Engine` for English."""

    model = "pocketsphinx/en-us"
    batch = 1

    def __init__(self, threshold: float = 0.5) -> None:
        try:
            from pocketsphinx import Decoder
        except ImportError as missing:
            raise MissingExtra(
                "the pocketsphinx engine is not installed",
                cure="pip install 'clipmill[speech]'",
                stage="transcribe",
            ) from missing
        self.revision = importlib.metadata.version("pocketsphinx")
        self.rules = SpeechRules(threshold=threshold, max_length=20.0)
        self._decoder: Any = Decoder(samprate=16_000, loglevel="FATAL")
        self._fresh: str = self._decoder.get_cmn(False)

    def begin(self, language: str | None) -> None:
        if language is not None and language.lower().split("-")[0] != "en":
            raise RecipeError(
                f"pocketsphinx knows English only, not {language!r}",
                key="language",
                cure="name a Whisper model, or set engine: subtitles",
                stage="transcribe",
            )
        # The running mean of the last stream would colour this one, and results depend on order.
        self._decoder.set_cmn(self._fresh)

    def hear(self, stretches: Sequence[Pcm]) -> list[tuple[str, list[Utterance]]]:
        return [("en", self._hear(pcm)) for pcm in stretches]

    def _hear(self, pcm: Pcm) -> list[Utterance]:
        decoder = self._decoder
        decoder.start_utt()
        decoder.process_raw(pcm.tobytes(), full_utt=True)
        decoder.end_utt()
        words = [
            Word(
                _VARIANT.sub("", piece.word),
                piece.start_frame * FRAME_MS,
                (piece.end_frame + 1) * FRAME_MS,
            )
            for piece in (decoder.seg() or ())
            if piece.word[0] not in "<[+"  # <sil>, [NOISE], ++UH++
        ]
        return utterances_of(words)
