"""transcribe on long sound: memory does not grow with it, and little is spent beside the engine.

Each figure is taken in a process of its own, by the benchmark that also does the whole hour.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "infra" / "benchmarks"))

from long_speech import long_film, measured

SHORT, LONG = 2, 15  # minutes; the sound between them is 25 MB of samples


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    return {
        minutes: long_film(tmp_path_factory.mktemp(f"{minutes}"), minutes)
        for minutes in (SHORT, LONG)
    }


def test_sound_of_any_length_is_heard_in_the_same_memory(films: dict[int, Path]) -> None:
    short, long = (measured("listening", films[minutes]) for minutes in (SHORT, LONG))
    assert long["last_s"] > LONG * 60 - 10
    assert long["words"] == pytest.approx(short["words"] * LONG / SHORT, rel=0.05)
    assert long["peak_mb"] - short["peak_mb"] < 10  # the words themselves take a few
    assert long["outside_ms"] < 10  # per second of sound; 4.4 measured, the bar is 5


def test_captions_of_any_length_cost_next_to_nothing(films: dict[int, Path]) -> None:
    short, long = (measured("subtitles", films[minutes]) for minutes in (SHORT, LONG))
    assert long["words"] == pytest.approx(short["words"] * LONG / SHORT, rel=0.01)
    assert long["peak_mb"] - short["peak_mb"] < 15
    assert long["outside_ms"] < 1
