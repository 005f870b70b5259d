"""Searching a table of similarities: against brute force, and where the methods must differ."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from clipmill.stages.ground.search import (
    dtw,
    extent,
    joint,
    offset,
    reachable,
    smoothed,
    suppressed,
)

TIMES = np.arange(12) + 0.5


def table(*rows: str) -> np.ndarray:
    """Rows of digits as similarities in tenths."""
    return np.array([[int(digit) / 10 for digit in row] for row in rows])


def test_a_window_is_the_mean_of_its_frames_and_shorter_at_the_ends() -> None:
    smooth = smoothed(table("000080000000"), TIMES, 4.0)
    assert smooth[0, 5] == pytest.approx(0.2)  # frames at 3.5, 4.5, 5.5, 6.5
    assert smooth[0, 3] == pytest.approx(0.2) and smooth[0, 2] == 0 and smooth[0, 7] == 0
    assert smoothed(table("800000000000"), TIMES, 4.0)[0, 0] == pytest.approx(0.4)
    assert smoothed(table("800000000000"), TIMES, 0.1)[0, 0] == pytest.approx(0.8)


def test_only_places_within_reach_are_found() -> None:
    sims = table("900000000002")
    assert offset(reachable(sims, TIMES, [8.0], 4.0))[0].index == 11  # type: ignore[union-attr]
    assert offset(reachable(sims, TIMES, [8.0], 8.0))[0].index == 0  # type: ignore[union-attr]
    assert offset(reachable(sims, TIMES, [40.0], 4.0)) == [None]


def test_order_tells_two_alike_moments_apart() -> None:
    # The first text fits late and a little better; it was said before the second.
    sims = table("080000000900", "000007000000")
    assert [place.index for place in offset(sims) if place] == [9, 5]
    assert [place.index for place in dtw(sims) if place] == [1, 5]


def test_texts_that_compete_leave_a_frame_to_the_one_that_fits_it_better() -> None:
    # The first fits two places alike; the second fits only one of them, and better.
    sims = table("007000070000", "009000010000")
    assert [place.index for place in joint(sims, 0.1) if place] == [7, 2]
    assert [place.index for place in offset(sims) if place] == [2, 2]


def test_where_order_and_reach_contradict_each_other_the_text_keeps_its_own_place() -> None:
    sims = reachable(table("000000000090", "090000000000", "000000000099"), TIMES, [10, 1, 11], 2)
    assert [place.index for place in dtw(sims) if place] == [10, 1, 10]


@given(arrays.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 6)),
                     elements=st.floats(-1, 1)))  # fmt: skip
def test_the_monotone_path_is_the_best_of_all(sims: np.ndarray) -> None:
    texts, places = sims.shape
    paths = itertools.combinations_with_replacement(range(places), texts)
    best = max(sum(sims[n, p] for n, p in enumerate(path)) for path in paths)
    found = [place.index for place in dtw(sims) if place]
    assert len(found) == texts and found == sorted(found)
    assert sum(sims[n, p] for n, p in enumerate(found)) == pytest.approx(best)


@given(arrays.arrays(np.float64, st.tuples(st.integers(0, 5), st.integers(1, 9)),
                     elements=st.floats(-1, 1)), st.floats(0.1, 6))  # fmt: skip
def test_every_method_answers_every_text_within_reach(sims: np.ndarray, reach: float) -> None:
    times = np.arange(sims.shape[1]) + 0.5
    wanted = [1.7 * n for n in range(len(sims))]
    held = reachable(sims, times, wanted, reach)
    for places in (offset(held), dtw(held), joint(held, 0.05)):
        assert len(places) == len(sims)
        for row, place in enumerate(places):
            assert (place is None) == (not np.isfinite(held[row]).any())
            if place is not None:
                assert abs(times[place.index] - wanted[row]) <= reach
                assert place.score == sims[row, place.index]


def test_a_span_grows_over_frames_that_fit_nearly_as_well() -> None:
    row = table("001788710000")[0]
    assert extent(row, 4, 0.5) == (3, 6)
    assert extent(row, 4, 1.0) == (4, 5)
    assert extent(table("5555")[0], 2, 0.5) == (0, 3)


def test_of_two_events_that_say_the_same_at_once_the_better_one_stays() -> None:
    spans = [(0.0, 8.0), (1.0, 9.0), (1.0, 9.0), (20.0, 28.0)]
    alike = np.array([[1, 1, 0.2, 1], [1, 1, 0.2, 1], [0.2, 0.2, 1, 0.2], [1, 1, 0.2, 1]])
    assert suppressed(spans, [0.3, 0.4, 0.1, 0.2], alike, 0.5, 0.95) == [True, False, False, False]
