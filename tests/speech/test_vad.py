"""Voice activity: no speech in noise, none lost at joints, and the block size is of no account."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from heard import sound
from hypothesis import given
from hypothesis import strategies as st

from clipmill.stages.models.vad import (
    RATE,
    WINDOW,
    Pcm,
    Speech,
    SpeechRules,
    VoiceActivity,
    stretches,
)

RULES = SpeechRules()


def numbered(scores: list[float]) -> Iterator[tuple[Pcm, float]]:
    """Windows whose every sample is their own number."""
    for number, score in enumerate(scores):
        yield np.full(WINDOW, number, np.int16), score


def windows_of(speech: Speech) -> list[int]:
    return [int(number) for number in speech.pcm[::WINDOW]]


levels = st.lists(
    st.tuples(st.sampled_from([0.02, 0.3, 0.4, 0.55, 0.97]), st.integers(1, 60)), max_size=30
)


@given(levels, st.sampled_from([0.5, 1.0, 30.0]), st.sampled_from([0.0, 0.2, 1.0]))
def test_stretches_never_overlap_nor_outgrow_the_limit(
    runs: list[tuple[float, int]], longest: float, pad: float
) -> None:
    scores = [score for score, length in runs for _ in range(length)]
    rules = SpeechRules(max_length=longest, pad=pad, min_silence=0.3)
    limit = max(longest * RATE / WINDOW, 2 * pad * RATE / WINDOW + 3)
    seen = -1
    for speech in stretches(numbered(scores), rules):
        held = windows_of(speech)
        assert held
        assert held == list(range(held[0], held[0] + len(held)))
        assert speech.start == held[0] * WINDOW
        assert held[0] > seen
        assert len(held) <= limit + 1
        seen = held[-1]


@given(levels)
def test_every_window_with_a_clear_voice_is_in_one_stretch(runs: list[tuple[float, int]]) -> None:
    scores = [score for score, length in runs for _ in range(length)]
    rules = SpeechRules(min_speech=0.0, max_length=2.0)
    held = [w for speech in stretches(numbered(scores), rules) for w in windows_of(speech)]
    assert {n for n, score in enumerate(scores) if score > 0.9} <= set(held)
    assert len(held) == len(set(held))


def test_a_stretch_that_grows_too_long_is_cut_where_the_voice_is_weakest() -> None:
    scores = [0.9] * 200
    scores[70] = 0.55
    pieces = [windows_of(s) for s in stretches(numbered(scores), SpeechRules(max_length=3.2))]
    assert [piece[0] for piece in pieces[:2]] == [0, 70]
    assert [window for piece in pieces for window in piece] == list(range(200))


def test_the_short_rest_after_a_cut_is_still_heard() -> None:
    # Alone, three windows are a click; behind a cut they are the end of a word.
    scores = [0.9] * 70 + [0.55] + [0.9] * 33 + [0.01] * 60
    pieces = [windows_of(s) for s in stretches(numbered(scores), SpeechRules(max_length=3.2))]
    assert len(pieces) == 2
    scores = [0.9] * 99 + [0.55] + [0.9] * 3 + [0.01] * 60
    pieces = [windows_of(s) for s in stretches(numbered(scores), SpeechRules(max_length=3.2))]
    assert [window for piece in pieces for window in piece][:103] == list(range(103))


def test_a_pause_shorter_than_the_rule_does_not_part_a_stretch() -> None:
    scores = [0.9] * 20 + [0.01] * 20 + [0.9] * 20 + [0.01] * 60 + [0.9] * 20
    assert len(list(stretches(numbered(scores), SpeechRules(min_silence=0.5)))) == 3
    assert len(list(stretches(numbered(scores), SpeechRules(min_silence=1.0)))) == 2


def test_sound_that_hovers_about_the_threshold_is_not_speech() -> None:
    assert list(stretches(numbered([0.55] * 50), RULES)) == []
    assert len(list(stretches(numbered([0.55] * 50), SpeechRules(threshold=0.4)))) == 1


def test_silence_noise_and_tones_hold_no_speech(activity: VoiceActivity) -> None:
    time = np.arange(20 * RATE) / RATE
    random = np.random.default_rng(1)
    chord = sum(np.sin(2 * np.pi * tone * time) for tone in (220, 277, 330)) / 3
    for wave in (time * 0, random.normal(0, 0.1, len(time)), chord * 0.5):
        assert list(activity.speech([(wave * 32767).astype(np.int16)], RULES)) == []


def test_no_sound_at_all_is_no_speech(activity: VoiceActivity) -> None:
    assert list(activity.speech([], RULES)) == []
    assert list(activity.speech([np.zeros(0, np.int16), np.zeros(1, np.int16)], RULES)) == []


@pytest.mark.parametrize("name", ["rain", "guitar", "trex_roar"])
def test_rain_music_and_a_roar_hold_no_speech(
    name: str, activity: VoiceActivity, real_media: Path
) -> None:
    pcm = sound(real_media / "speech" / f"nonspeech_{name}.mp3")
    assert list(activity.speech([pcm], RULES)) == []


def test_a_conversation_is_found_and_the_silence_before_it_is_not(
    activity: VoiceActivity, real_media: Path
) -> None:
    turns = [
        (float(line.split()[3]), float(line.split()[3]) + float(line.split()[4]))
        for line in (real_media / "speech" / "two_speakers_30s.rttm").read_text().splitlines()
    ]
    found = list(activity.speech([sound(real_media / "speech" / "two_speakers_30s.wav")], RULES))
    spans = [(s.start / RATE, (s.start + len(s.pcm)) / RATE) for s in found]
    steps = np.arange(0, 30, 0.01)
    said = sum((a <= steps) & (steps < b) for a, b in turns) > 0
    kept = sum((a <= steps) & (steps < b) for a, b in spans) > 0
    assert kept[said].mean() > 0.93
    assert not kept[steps < turns[0][0] - RULES.pad - 0.05].any()


def test_the_size_of_blocks_changes_nothing(activity: VoiceActivity, real_media: Path) -> None:
    pcm = sound(real_media / "speech" / "two_speakers_30s.wav")
    whole = list(activity.speech([pcm], RULES))
    assert whole
    for size in (1000, 16_001):
        blocks = (pcm[at : at + size] for at in range(0, len(pcm), size))
        cut = list(activity.speech(blocks, RULES))
        assert [(s.start, s.pcm.tobytes()) for s in cut] == [
            (s.start, s.pcm.tobytes()) for s in whole
        ]
