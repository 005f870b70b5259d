"""The offset of two recordings of one sound: planted, with a voice on top, and unrelated."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from clipmill.stages.asr_text.sound_offset import RATE, Onsets, offset_of, onsets

SECONDS = 200
OFFSETS = [round(float(x), 2) for x in np.random.default_rng(3).uniform(-120, 120, 20)]


def film(seed: int, seconds: int = SECONDS) -> NDArray[np.float64]:
    """Sound with irregular onsets in changing bands, as steps, doors and music have."""
    rng = np.random.default_rng(seed)
    sound = rng.normal(0, 30, seconds * RATE)
    at = 0.0
    while (at := at + float(rng.exponential(0.7))) < seconds - 1:
        length = int(rng.uniform(0.1, 0.6) * RATE)
        tone = np.sin(2 * np.pi * rng.uniform(150, 5000) * np.arange(length) / RATE)
        start = int(at * RATE)
        sound[start : start + length] += 2500 * tone * np.exp(-np.arange(length) / RATE * 6)
    return sound


def heard(sound: NDArray[np.float64]) -> Onsets:
    whole = np.clip(sound, -32768, 32767).astype(np.int16)
    return onsets(np.array_split(whole, 7))


@pytest.fixture(scope="module")
def reference() -> tuple[NDArray[np.float64], Onsets]:
    sound = film(1)
    return sound, heard(sound)


def late(sound: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    shift = round(abs(seconds) * RATE)
    if seconds >= 0:
        return np.concatenate([np.zeros(shift), sound])
    return sound[shift:]


def test_a_planted_offset_is_recovered_under_a_voice(
    reference: tuple[NDArray[np.float64], Onsets],
) -> None:
    """The family's bar: within 0.1 s in at least 95 % of cases, offsets up to two minutes."""
    sound, own = reference
    right = 0
    for number, seconds in enumerate(OFFSETS):
        copy = 0.5 * late(sound, seconds)
        voice = film(100 + number % 4, SECONDS // 4)
        begin = len(copy) // 3
        copy[begin : begin + len(voice)] += 1.5 * voice[: len(copy) - begin]
        found = offset_of(own, heard(copy), 120)
        right += found is not None and abs(found.seconds - seconds) <= 0.1
    assert right >= 0.95 * len(OFFSETS)


def test_unrelated_recordings_and_silence_give_no_confident_offset(
    reference: tuple[NDArray[np.float64], Onsets],
) -> None:
    sound, own = reference
    for seed in (7, 8, 9):
        found = offset_of(own, heard(film(seed)), 120)
        assert found is not None and found.confidence < 1.5
    same = offset_of(own, heard(0.3 * late(sound, 12.34)), 120)
    assert same is not None and same.confidence > 9
    assert same.seconds == pytest.approx(12.34, abs=0.02)
    assert offset_of(own, heard(np.zeros(60 * RATE)), 120) is None
    assert offset_of(own, onsets([]), 120) is None


def test_blocks_of_any_length_give_the_same_onsets() -> None:
    whole = np.clip(film(5, 4), -32768, 32767).astype(np.int16)
    once = onsets([whole])
    pieces = onsets([whole[:100], whole[100:101], whole[101:7000], whole[7000:]])
    assert np.allclose(once, pieces) and len(once) == (len(whole) - 512) // 160 + 1
