"""Rules that turn a timeline into questions: what happens, when, how often, in which order.

A rule sees events with their times and what is known of them (a text, the source, its place in the
original order, how it is played) and yields a question only where these decide the answer for
anybody who sees the video. So a text that occurs twice has no single time, fragments that follow
each other as in their source have no visible border, and one fragment has no order. Right options
stand at random places, and no option can be told by its words, length or value from the others.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from clipmill.schemas.clocks import Span, compare

Task = Literal[
    "retrieval",
    "counting",
    "ordering",
    "before",
    "localisation",
    "span_caption",
    "timeline",
    "fragments",
    "consistency",
    "odd_one",
    "disorder",
    "rearrangement",
    "playback",
    "speed",
    "caption_match",
    "captioning",
    "recognition",
]
TASKS: tuple[Task, ...] = get_args(Task)

TimeFormat = Literal["seconds", "clock", "percent", "bins", "placeholder"]

QUESTIONS: dict[Task, tuple[str, ...]] = {
    "retrieval": (
        "Which of these is shown in the video?",
        "One of these can be seen in the video. Which one?",
    ),
    "counting": (
        "How many times is this shown: {text}?",
        "Count how often the following appears: {text}.",
    ),
    "ordering": (
        "In which order do these appear: {texts}?",
        "Bring these into the order in which they are shown: {texts}.",
    ),
    "before": (
        "Is the first shown before the second? First: {one}. Second: {two}.",
        "Does the first come earlier than the second? First: {one}. Second: {two}.",
    ),
    "localisation": (
        "When does this happen: {text}?",
        "Give the time of the following: {text}.",
    ),
    "span_caption": (
        "What happens {span}?",
        "Describe what can be seen {span}.",
    ),
    "timeline": (
        "List everything that happens, with its times.",
        "Describe the events of this video one by one, each with its time.",
    ),
    "fragments": (
        "This video is put together from fragments. How many are there?",
        "How many separate pieces is this video made of?",
    ),
    "consistency": (
        "Do all parts of this video come from one and the same recording?",
        "Is everything here taken from the same video?",
    ),
    "odd_one": (
        "One part comes from another video. When is it shown?",
        "When does a foreign piece interrupt this video?",
    ),
    "disorder": (
        "Are the parts of this video in their right order?",
        "Is this video shown in its original order?",
    ),
    "rearrangement": (
        "This video has {count} parts in a wrong order. List their numbers in the right order.",
        "The {count} parts of this video were shuffled. Which order of their numbers is right?",
    ),
    "playback": (
        "Is the video played forwards or backwards?",
        "In which direction does time run in this video?",
    ),
    "speed": (
        "At which speed is the video played?",
        "How fast does this recording play?",
    ),
    "caption_match": (
        "Which description fits the video?",
        "Which of these texts tells what happens here?",
    ),
    "captioning": (
        "What happens in this video?",
        "Describe the video in the order in which things happen.",
    ),
    "recognition": (
        "What becomes visible when this video is played?",
        "What is hidden in the movement of the noise?",
    ),
}
"""Paraphrases of each task's question; which one is asked is drawn."""

SPEEDS = ("slower than normal", "at normal speed", "faster than normal")
_MOST_OPTIONS = 4
_MOST_EVENTS = 8  # more cannot be held in one answer about order


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


@dataclass(frozen=True, slots=True)
class Scene:
    """A whole clip: its events in time order, and texts that are told apart from its own."""

    span: Span
    events: tuple[Event, ...]
    text: str = ""
    contrast: str = ""
    distractors: tuple[str, ...] = ()
    times: TimeFormat = "seconds"

    @property
    def named(self) -> list[Event]:
        return [event for event in self.events if event.text]

    @property
    def once(self) -> list[Event]:
        """Events whose text is nobody else's."""
        counts = Counter(event.text for event in self.named)
        return [event for event in self.named if counts[event.text] == 1]

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


def asked(task: Task, scene: Scene, rng: random.Random) -> list[Asked]:
    """Every question of a task that the scene decides."""
    return list(_RULES[task](scene, rng))


def say_time(at: float, scene: Scene) -> str:
    """A moment (presentation seconds) in the scene's time format, counted from the scene's start.

    `bins` are hundredths of the scene; a placeholder stands for the numbers of the evidence.
    """
    seconds = at - scene.span.start_s
    share = seconds / scene.span.duration_s if scene.span.duration_s else 0.0
    if scene.times == "seconds":
        return f"{seconds:.1f} s"
    if scene.times == "clock":
        whole = round(seconds)
        return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
    if scene.times == "percent":
        return f"{share:.1%}"
    if scene.times == "bins":
        return f"<{min(99, int(share * 100)):02d}>"
    return "<time>"


def say_span(span: Span, scene: Scene) -> str:
    """`from A to B`."""
    first, last = (say_time(at, scene) for at in (span.start_s, span.end_s))
    return f"from {first} to {last}"


def _retrieval(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    if scene.named and scene.distractors:
        event = rng.choice(scene.named)
        wrong = rng.sample(scene.distractors, min(len(scene.distractors), _MOST_OPTIONS - 1))
        same = [other for other in scene.named if other.text == event.text]
        yield _choice("retrieval", event.text, wrong, same, rng)


def _counting(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    for text, count in Counter(event.text for event in scene.named).items():
        shown = [event for event in scene.named if event.text == text]
        yield _number("counting", {"text": text}, count, shown, rng)


def _ordering(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    events = scene.once
    if not 2 <= len(events) <= _MOST_EVENTS or len(events) != len(scene.named):
        return
    texts = [event.text for event in events]
    wrong: list[str] = []
    while len(wrong) < min(_MOST_OPTIONS - 1, _orders(len(texts)) - 1):
        order = _joined(rng.sample(texts, len(texts)))
        if order != _joined(texts) and order not in wrong:
            wrong.append(order)
    item = _choice("ordering", _joined(texts), wrong, events, rng)
    listed = _joined(rng.sample(texts, len(texts)))
    yield _with(item, {"texts": listed})


def _before(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    if len(scene.once) < 2:
        return
    first, second = sorted(rng.sample(range(len(scene.once)), 2))
    pair = [scene.once[first], scene.once[second]]
    told = pair if rng.random() < 0.5 else pair[::-1]
    values = {"one": told[0].text, "two": told[1].text}
    yield _yes_no("before", told[0] is pair[0], pair, values)


def _localisation(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    for event in scene.once:
        answer = say_span(event.span, scene)
        yield Asked(
            "localisation", {"text": event.text}, answer, (event.span,), (), (event.text_id,)
        )


def _span_caption(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    if scene.times == "placeholder":
        return  # the question would not say which time it means
    for event in scene.named:
        values = {"span": say_span(event.span, scene)}
        yield Asked("span_caption", values, event.text, (event.span,), (), (event.text_id,))


def _timeline(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    if scene.named:
        lines = [f"{say_span(event.span, scene)}: {event.text}" for event in scene.named]
        yield _open("timeline", "; ".join(lines), scene.named)


def _fragments(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    if len(scene.seen) > 1:
        yield _number("fragments", {}, len(scene.seen), scene.seen, rng)


def _consistency(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    sources = {event.source for event in scene.events}
    if "" not in sources and len(scene.events) > 1:
        yield _yes_no("consistency", len(sources) == 1, scene.events, {})


def _odd_one(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    counts = Counter(event.source for event in scene.events)
    odd = [event for event in scene.events if counts[event.source] == 1]
    if len(counts) == 2 and len(odd) == 1 and "" not in counts:
        yield _open("odd_one", say_span(odd[0].span, scene), odd)


def _disorder(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    ranks = _ranks(scene)
    if ranks:
        yield _yes_no("disorder", ranks == sorted(ranks), scene.events, {})


def _rearrangement(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    ranks = _ranks(scene)
    # Where two shown neighbours go on as in their source nobody can tell that they are two.
    if ranks and ranks != sorted(ranks) and len(scene.seen) == len(ranks) <= _MOST_EVENTS:
        right = sorted(range(len(ranks)), key=ranks.__getitem__)
        answer = ", ".join(str(number + 1) for number in right)
        yield _with(_open("rearrangement", answer, scene.events), {"count": str(len(ranks))})


def _playback(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    if len(scene.events) == 1 and scene.events[0].playback:
        ways = ["forwards", "backwards"]
        ways.remove(scene.events[0].playback)
        yield _choice("playback", scene.events[0].playback, ways, scene.events, rng)


def _speed(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    if len(scene.events) == 1 and scene.events[0].speed:
        speed = scene.events[0].speed
        right = SPEEDS[1 + (speed > 1) - (speed < 1)]
        wrong = [name for name in SPEEDS if name != right]
        yield _choice("speed", right, wrong, scene.events, rng)


def _caption_match(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    if not scene.text:
        return
    wrong = [scene.contrast] if scene.contrast else []
    if len(scene.once) == len(scene.events) == 2:
        one, two = (event.text for event in scene.events)
        wrong.append(scene.text.replace(one, "\0").replace(two, one).replace("\0", two))
    wrong = [text for text in dict.fromkeys(wrong) if text != scene.text]
    if wrong:
        yield _choice("caption_match", scene.text, wrong, scene.events, rng)


def _captioning(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    if scene.text:
        yield _open("captioning", scene.text, scene.events)


def _recognition(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    if len(scene.events) == 1 and scene.named and scene.distractors:
        wrong = rng.sample(scene.distractors, min(len(scene.distractors), _MOST_OPTIONS - 1))
        yield _choice("recognition", scene.events[0].text, wrong, scene.events, rng)


_RULES: dict[Task, Callable[[Scene, random.Random], Iterator[Asked]]] = {
    "retrieval": _retrieval,
    "counting": _counting,
    "ordering": _ordering,
    "before": _before,
    "localisation": _localisation,
    "span_caption": _span_caption,
    "timeline": _timeline,
    "fragments": _fragments,
    "consistency": _consistency,
    "odd_one": _odd_one,
    "disorder": _disorder,
    "rearrangement": _rearrangement,
    "playback": _playback,
    "speed": _speed,
    "caption_match": _caption_match,
    "captioning": _captioning,
    "recognition": _recognition,
}


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


def _ranks(scene: Scene) -> list[int]:
    """The original places of the events of one source; empty where they have no order."""
    ranks = [event.rank for event in scene.events]
    sources = {event.source for event in scene.events}
    fits = len(ranks) > 1 and len(set(ranks)) == len(ranks) and all(ranks)
    return ranks if fits and len(sources) == 1 and "" not in sources else []


def _orders(count: int) -> int:
    return sum(1 for _ in itertools.islice(itertools.permutations(range(count)), _MOST_OPTIONS))


def _joined(texts: Sequence[str]) -> str:
    return "; ".join(texts)


def _spans(events: Sequence[Event]) -> tuple[Span, ...]:
    return tuple(event.span for event in events)


def _texts(events: Sequence[Event]) -> tuple[str, ...]:
    return tuple(event.text_id for event in events if event.text_id)


def _open(task: Task, answer: str, events: Sequence[Event]) -> Asked:
    return Asked(task, {}, answer, _spans(events), (), _texts(events))


def _choice(
    task: Task, right: str, wrong: Sequence[str], events: Sequence[Event], rng: random.Random
) -> Asked:
    options = tuple(rng.sample([right, *wrong], len(wrong) + 1))
    return Asked(task, {}, right, _spans(events), options, _texts(events))


def _number(
    task: Task, values: dict[str, str], right: int, events: Sequence[Event], rng: random.Random
) -> Asked:
    # Blocks 1-4, 5-8, ...: a window around the answer would stop at 1 and so favour its smallest.
    low = (right - 1) // _MOST_OPTIONS * _MOST_OPTIONS + 1
    numbers = list(range(low, low + _MOST_OPTIONS))
    rng.shuffle(numbers)
    options = tuple(str(number) for number in numbers)
    return Asked(task, values, str(right), _spans(events), options, _texts(events))


def _yes_no(task: Task, right: bool, events: Sequence[Event], values: dict[str, str]) -> Asked:
    answer = "yes" if right else "no"
    return Asked(task, values, answer, _spans(events), ("yes", "no"), _texts(events))


def _with(item: Asked, values: dict[str, str]) -> Asked:
    return Asked(item.task, values, item.answer, item.evidence, item.options, item.sources)
