"""What is known of a clip when it is asked about, and what a question is made of.

A rule of a task sees a scene and yields questions. The rules share how an answer becomes one: right
options stand at random places, and no option can be told by its words, length or value from others.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from clipmill.schemas.clocks import Span, compare
from clipmill.stages.qa.task_wording import Task
from clipmill.stages.qa.times import SECONDS, Times

MOST_OPTIONS = 4
MOST_EVENTS = 8  # more cannot be held in one answer about order


@dataclass(frozen=True, slots=True)
class Event:
    """A stretch of the timeline and what is known of it; unknown facts are empty."""

    span: Span
    text: str = ""
    text_id: str = ""
    role: str = ""  # clip, host, needle
    source: str = ""
    rank: int = 0  # its place in the original order, from 1; 0 is unknown
    speed: float = 0.0
    playback: str = ""
    number: str = ""  # its name among the events of its video
    relation: str = ""  # to the event that `relates_to` names
    relates_to: str = ""
    count: int = 0  # how often it is repeated in its span, as people counted; 0 is unknown
    boxes: tuple[tuple[float, ...], ...] = ()  # second, left, top, right, bottom of its thing


@dataclass(frozen=True, slots=True)
class Rated:
    """A stretch and how well it shows what the text says, on the raters' own scale."""

    span: Span
    text: str
    rating: float


@dataclass(frozen=True, slots=True)
class Given:
    """A question that somebody asked, with its answer and the time it is about."""

    question: str
    answer: str
    options: tuple[str, ...]
    span: Span
    source: str
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """A whole clip: its events in time order, and texts that are told apart from its own."""

    span: Span
    events: tuple[Event, ...]
    text: str = ""
    contrast: str = ""
    distractors: tuple[str, ...] = ()
    times: Times = SECONDS
    rated: tuple[Rated, ...] = ()
    given: tuple[Given, ...] = ()

    def say(self, span: Span) -> str:
        """`from A to B`, counted from the scene's start."""
        return self.times.span(span, self.span)

    @property
    def named(self) -> list[Event]:
        return [event for event in self.events if event.text]

    @property
    def once(self) -> list[Event]:
        """Events whose text is nobody else's."""
        counts = Counter(event.text for event in self.named)
        return [event for event in self.named if counts[event.text] == 1]

    @property
    def by_text(self) -> dict[str, list[Event]]:
        found: dict[str, list[Event]] = {}
        for event in self.named:
            found.setdefault(event.text, []).append(event)
        return found

    @property
    def seen(self) -> list[Event]:
        """Events between visible borders: what goes on as in its source is one piece."""
        pieces: list[Event] = []
        for event in self.events:
            if pieces and _goes_on(pieces[-1], event):
                continue
            pieces.append(event)
        return pieces


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with its one right answer and the events that prove it."""

    task: Task
    values: dict[str, str]  # what the question's template names
    answer: str
    evidence: tuple[Span, ...]
    options: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    asks: tuple[Span, ...] = ()  # times that the question tells, in their order
    tells: tuple[Span, ...] = ()  # times that the answer tells, in their order
    labels: tuple[tuple[str, str], ...] = ()  # of a given question


Rule = Callable[[Scene, random.Random], Iterator[Asked]]
"""Every question of a task that a scene decides."""


def spans(events: Sequence[Event]) -> tuple[Span, ...]:
    return tuple(event.span for event in events)


def text_ids(events: Sequence[Event]) -> tuple[str, ...]:
    return tuple(event.text_id for event in events if event.text_id)


def joined(texts: Sequence[str]) -> str:
    return "; ".join(texts)


def an_open(
    task: Task, answer: str, events: Sequence[Event], values: dict[str, str] | None = None
) -> Asked:
    return Asked(task, values or {}, answer, spans(events), (), text_ids(events))


def a_choice(
    task: Task,
    right: str,
    wrong: Sequence[str],
    events: Sequence[Event],
    rng: random.Random,
    values: dict[str, str] | None = None,
) -> Asked:
    options = tuple(rng.sample([right, *wrong], len(wrong) + 1))
    return Asked(task, values or {}, right, spans(events), options, text_ids(events))


def a_number(
    task: Task, values: dict[str, str], right: int, events: Sequence[Event], rng: random.Random
) -> Asked:
    # Blocks 1-4, 5-8, ...: a window around the answer would stop at 1 and so favour its smallest.
    low = (right - 1) // MOST_OPTIONS * MOST_OPTIONS + 1
    numbers = list(range(low, low + MOST_OPTIONS))
    rng.shuffle(numbers)
    options = tuple(str(number) for number in numbers)
    return Asked(task, values, str(right), spans(events), options, text_ids(events))


def a_yes_no(task: Task, right: bool, events: Sequence[Event], values: dict[str, str]) -> Asked:
    answer = "yes" if right else "no"
    return Asked(task, values, answer, spans(events), ("yes", "no"), text_ids(events))


def _goes_on(one: Event, two: Event) -> bool:
    """Whether the second event continues the first as their source does."""
    return bool(
        one.source
        and one.source == two.source
        and one.rank
        and two.rank == one.rank + 1
        and (one.speed, one.playback) == (two.speed, two.playback)
        and not (one.text or two.text)
        and compare(one.span.clock, one.span.end, two.span.clock, two.span.start) == 0
    )
