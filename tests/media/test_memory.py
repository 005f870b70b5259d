"""Memory must not follow the length of a film: what is held is a window, never the film."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARK = Path(__file__).parents[2] / "infra" / "benchmarks" / "memory.py"


@pytest.fixture(scope="module")
def memory() -> ModuleType:
    found = importlib.util.spec_from_file_location("memory_benchmark", BENCHMARK)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["memory_benchmark"] = module
    found.loader.exec_module(module)
    return module


@pytest.mark.timeout(180)
def test_a_film_three_times_as_long_needs_at_most_a_tenth_more_memory(
    memory: ModuleType, tmp_path: Path
) -> None:
    minute = tmp_path / "minute.mp4"
    memory.render(minute, 60, 160, 90)
    peaks = {}
    for minutes in (5, 15):
        film = tmp_path / f"{minutes}.mp4"
        memory.repeat(minute, film, minutes)
        peaks[minutes], shots = memory.peak(film, 10 * minutes)
        assert shots >= 12 * minutes
    assert peaks[15] <= 1.1 * peaks[5]
