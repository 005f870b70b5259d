"""The validator of timelines: every planted error is found, nothing else is complained of."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import pytest

from clipmill.stages.ground.check_timeline import Event, Settings, check

STRICT = Settings(
    disorder="reject", overlap="reject", min_coverage=0.95, over="clips", inside=1.0
)  # as the recipe after TEMPURA, and no event may leave its clip
ROUNDS = 250


def timeline(rng: random.Random) -> tuple[list[Event], int]:
    """A right timeline: 3 to 12 events of 2 to 15 s that tile their clip; and its length in ms."""
    borders = [0]
    for _ in range(rng.randint(3, 12)):
        borders.append(borders[-1] + rng.randint(2_000, 15_000))
    events = [Event(a, b, f"event {n}") for n, (a, b) in enumerate(pairwise(borders))]
    return events, borders[-1]


def overlap(events: list[Event], length: int, rng: random.Random) -> None:
    place = rng.randrange(len(events) - 1)
    events[place].end += rng.randint(600, 1_900)


def order(events: list[Event], length: int, rng: random.Random) -> None:
    place = rng.randrange(len(events) - 1)
    events[place], events[place + 1] = events[place + 1], events[place]


def leaves(events: list[Event], length: int, rng: random.Random) -> None:
    event = events[rng.choice((0, -1))]
    if event is events[-1]:
        event.end = length + rng.randint(1_000, 9_000)
    else:
        event.start = -rng.randint(1_000, 9_000)


def backwards(events: list[Event], length: int, rng: random.Random) -> None:
    event = rng.choice(events)
    event.start, event.end = event.end, event.start


def gap(events: list[Event], length: int, rng: random.Random) -> None:
    place = max(range(len(events)), key=lambda n: events[n].end - events[n].start)
    hole = round(0.06 * length)
    if events[place].end - events[place].start > hole + 1_000:
        events[place].end -= hole
    else:
        del events[place]


def found(events: list[Event], length: int) -> bool:
    check(events, (0, length), STRICT, [(0, length)])
    return any(event.rejected or event.repairs for event in events)


@pytest.mark.parametrize("plant", [overlap, order, leaves, backwards, gap])
def test_every_planted_error_is_found(
    plant: Callable[[list[Event], int, random.Random], None],
) -> None:
    rng = random.Random(plant.__name__)
    for number in range(ROUNDS):
        events, length = timeline(rng)
        plant(events, length, rng)
        assert found(events, length), (number, events)


def test_right_timelines_pass_untouched() -> None:
    rng = random.Random("right")
    for _ in range(ROUNDS):
        events, length = timeline(rng)
        assert not found(events, length), events
        assert all(event.rejected is None for event in events)
