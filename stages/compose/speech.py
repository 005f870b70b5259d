"""The narrator: sentences joined from shipped phrases, with exact word times.

Speech synthesis would need a system package at run time, so every phrase of the small grammar is
recorded once (infra/phrase_bank) and joined here over 5 ms. Joins are heard by a careful ear; a
recogniser reads them as well as whole sentences.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipmill.stages.media.shipped import read_shipped_sound

RATE = 16_000
_BANK = Path(__file__).parent / "phrases"
_JOIN = RATE // 200


@dataclass(frozen=True, slots=True)
class Sentence:
    """Sound at 16 kHz and, per word, its text and half-open extent in samples."""

    text: str
    pcm: NDArray[np.int16]
    words: tuple[tuple[str, int, int], ...]

    @property
    def seconds(self) -> float:
        return len(self.pcm) / RATE


def say(phrases: list[str]) -> Sentence:
    """The phrases as one sentence; KeyError for a phrase that the bank does not hold."""
    bank = _bank()
    parts = []
    for number, phrase in enumerate(phrases):
        final = number == len(phrases) - 1
        parts.append(bank[phrase, final])
    sound = parts[0].pcm.astype(np.float64)
    words = list(parts[0].words)
    ramp = np.linspace(0, 1, _JOIN)
    for part in parts[1:]:
        start = len(sound) - _JOIN
        sound[start:] = sound[start:] * (1 - ramp) + part.pcm[:_JOIN] * ramp
        sound = np.concatenate([sound, part.pcm[_JOIN:]])
        words += [(word, first + start, last + start) for word, first, last in part.words]
    return Sentence(" ".join(phrases), np.round(sound).astype(np.int16), tuple(words))


@cache
def _bank() -> dict[tuple[str, bool], Sentence]:
    """Phrases by text and by whether they end a sentence."""
    table = json.loads((_BANK / "bank.json").read_text(encoding="utf-8"))
    sound = read_shipped_sound(_BANK / "bank.opus", RATE)
    return {
        (row["text"], row["role"].endswith(".")): Sentence(
            row["text"],
            sound[row["start"] : row["end"]],
            tuple((word, first, last) for word, first, last in row["words"]),
        )
        for row in table["phrases"]
    }
