from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipmill.schemas.clocks import MILLISECONDS, Clock, Span, compare
from tests.unit.schemas.record_strategies import clocks, spans

ticks = st.integers(-(2**50), 2**50)


@given(clocks, ticks, clocks, ticks)
def test_comparison_agrees_with_fractions(a: Clock, i: int, b: Clock, j: int) -> None:
    left = Fraction(a.num, a.den) * (i - a.zero)
    right = Fraction(b.num, b.den) * (j - b.zero)
    assert compare(a, i, b, j) == (left > right) - (left < right)
    assert compare(b, j, a, i) == -compare(a, i, b, j)


@given(clocks, ticks)
def test_a_tick_comes_back_from_its_exact_time_under_every_rounding(clock: Clock, i: int) -> None:
    for rounding in ("nearest", "floor", "ceil"):
        assert clock.tick(clock.exact(i), rounding) == i


@given(clocks, st.fractions())
def test_floor_and_ceil_enclose_the_time_within_one_tick(clock: Clock, time: Fraction) -> None:
    below, above = clock.tick(time, "floor"), clock.tick(time, "ceil")
    assert clock.exact(below) <= time <= clock.exact(above)
    assert 0 <= above - below <= 1
    assert clock.tick(time) in (below, above)


@given(spans(), clocks, ticks)
def test_a_span_contains_its_start_and_not_its_end(span: Span, clock: Clock, i: int) -> None:
    assert span.contains(span.clock, span.start) == (span.start < span.end)
    assert not span.contains(span.clock, span.end)
    inside = span.clock.exact(span.start) <= clock.exact(i) < span.clock.exact(span.end)
    assert span.contains(clock, i) == inside


@given(clocks, st.lists(ticks, min_size=3, max_size=3), clocks)
def test_neighbours_still_touch_on_another_clock(
    clock: Clock, cuts: list[int], other: Clock
) -> None:
    a, b, c = sorted(cuts)
    left, right = Span(clock, a, b).on(other), Span(clock, b, c).on(other)
    assert left.end == right.start


@given(spans(), spans())
def test_overlap_is_symmetric_and_never_longer_than_either(a: Span, b: Span) -> None:
    assert a.overlap_s(b) == b.overlap_s(a)
    assert 0 <= a.overlap_s(b) <= min(a.duration_s, b.duration_s)
    assert 0 <= a.iou(b) <= 1


def test_ntsc_frames_do_not_drift_in_two_hours() -> None:
    film = Clock("v0", 1001, 30000)
    assert film.exact(215784) == Fraction(215784 * 1001, 30000)
    assert compare(film, 30000, MILLISECONDS, 1001 * 1000) == 0


def test_a_span_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ValueError, match="ends before"):
        Span(MILLISECONDS, 2, 1)


def test_a_clock_that_stands_still_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        Clock("v0", 0, 1)
