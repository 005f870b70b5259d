"""What workers know of one another: attempts, and when one makes way for those without a place."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clipmill.pipeline.engine.book import BEAT_S, LOST_S, QUIET_S, Book


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def beat_on(book: Book, clock: Clock, seconds: float, busy: Callable[[str], bool]) -> list[str]:
    """Workers a1, a2 and b1 tell what they do for a while; returns who was asked to make way."""
    asked: list[str] = []
    for _ in range(int(seconds / BEAT_S)):
        clock.now += BEAT_S
        for worker, group in (("a1", 0), ("a2", 0), ("b1", 1)):
            if worker not in asked and book.beat(worker, group, busy(worker)):
                asked.append(worker)
    return asked


def lose_one(book: Book) -> None:
    book.beat("lost", 1, False)


def test_attempts_that_never_ended_are_counted() -> None:
    book = Book()
    assert [book.begin("v"), book.begin("v")] == [0, 1]
    book.end("v")
    assert book.begin("v") == 0


def test_idle_workers_stay_while_nobody_is_missing(clock: Clock) -> None:
    assert beat_on(Book(clock), clock, 20 * LOST_S, lambda worker: False) == []


def test_nobody_makes_way_while_one_still_works(clock: Clock) -> None:
    book = Book(clock)
    lose_one(book)
    assert beat_on(book, clock, 20 * LOST_S, lambda worker: worker == "b1") == []


def test_one_of_the_larger_group_makes_way_when_all_wait_for_a_lost_one(clock: Clock) -> None:
    book = Book(clock)
    lose_one(book)
    assert beat_on(book, clock, LOST_S - BEAT_S, lambda worker: False) == []
    assert beat_on(book, clock, QUIET_S, lambda worker: False) == ["a1"]


def test_all_make_way_in_turn_until_work_goes_on(clock: Clock) -> None:
    book = Book(clock)
    lose_one(book)
    asked = beat_on(book, clock, LOST_S + 4 * QUIET_S, lambda worker: False)
    assert sorted(asked) == ["a1", "a2", "b1"]
    book.begin("v")
    book.end("v")
    clock.now += BEAT_S
    assert not book.beat("a1", 0, False)


def test_a_worker_that_is_needed_no_more_is_not_missed(clock: Clock) -> None:
    book = Book(clock)
    lose_one(book)
    book.leave("lost")
    assert beat_on(book, clock, 20 * LOST_S, lambda worker: False) == []
