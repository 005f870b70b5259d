"""The rules on timelines written down here: what they ask, what they leave, and no shortcut."""

from __future__ import annotations

import random

import pytest

from clipmill.pipeline.output.audit_shortcuts import Item, judge
from clipmill.schemas.clocks import Span
from clipmill.stages.compose.cards import card_names
from clipmill.stages.qa.scene import Event, Scene
from clipmill.stages.qa.task_wording import TASKS
from clipmill.stages.qa.tasks import asked
from clipmill.stages.qa.times import TimeFormat, Times

NAMES = card_names("shape")


def scene(events: list[Event], times: TimeFormat = "seconds", **values: object) -> Scene:
    end = max(event.span.end_s for event in events)
    return Scene(Span.of_seconds(0, end), tuple(events), times=Times(times), **values)  # type: ignore[arg-type]


def event(number: int, text: str = "", source: str = "a", rank: int = 0) -> Event:
    span = Span.of_seconds(number * 2.0, number * 2.0 + 2.0)
    return Event(
        span, text, f"caption:{number}", "clip", source, rank or number + 1, 1.0, "forwards"
    )


def needles(rng: random.Random, same: bool) -> Scene:
    """One needle shown one to four times, or two to four needles, as sets of such videos hold."""
    texts = rng.sample(NAMES, rng.randint(2, 4))
    if same:
        texts = [texts[0]] * rng.randint(1, 4)
    wrong = tuple(rng.sample([name for name in NAMES if name not in texts], 6))
    return scene([event(n, t, t) for n, t in enumerate(texts)], distractors=wrong)


@pytest.mark.parametrize("task", ["retrieval", "ordering", "before", "counting"])
def test_texts_alone_do_not_answer(task: str) -> None:
    rng = random.Random(3)
    items = []
    for number in range(400):
        for k, item in enumerate(asked(task, needles(rng, task == "counting"), rng)):  # type: ignore[arg-type]
            # Questions of one video share their events; one of them is enough to judge by.
            if k == 0:
                items.append(Item(str(number), "s", str(k), task, task, item.answer, item.options))
    found = judge(items)
    assert len(items) > 150 and found.ok, found.findings


@pytest.mark.parametrize(
    ("times", "told"),
    [
        ("seconds", "from 2.0 s to 4.0 s"),
        ("clock", "from 00:00:02 to 00:00:04"),
        ("percent", "from 25.0% to 50.0%"),
        ("bins", "from <25> to <50>"),
        ("digits", "from 0002.0 to 0004.0"),
        ("placeholder", "from <time> to <time>"),
    ],
)
def test_times_are_told_in_every_format(times: TimeFormat, told: str) -> None:
    shown = scene([event(n, f"text {n}") for n in range(4)], times)
    assert shown.say(shown.events[1].span) == told
    [item] = [
        i for i in asked("localisation", shown, random.Random(0)) if "text 1" in str(i.values)
    ]
    assert item.answer == told and item.evidence == (shown.events[1].span,)


def test_what_is_shown_twice_has_no_single_time() -> None:
    shown = scene([event(0, "rain"), event(1, "sun"), event(2, "rain")])
    assert [item.answer for item in asked("localisation", shown, random.Random(0))] == [
        "from 2.0 s to 4.0 s"
    ]
    assert not asked("ordering", shown, random.Random(0))
    counts = {i.values["text"]: i.answer for i in asked("counting", shown, random.Random(0))}
    assert counts == {"rain": "2", "sun": "1"}


def test_a_border_that_cannot_be_seen_is_not_counted() -> None:
    """Parts 1, 2 in a row go on as in their source; 3 before them is a cut."""
    shown = scene([event(0, rank=3), event(1, rank=1), event(2, rank=2)])
    [fragments] = asked("fragments", shown, random.Random(0))
    assert fragments.answer == "2"
    assert not asked("rearrangement", shown, random.Random(0))
    [disorder] = asked("disorder", shown, random.Random(0))
    assert disorder.answer == "no"


def test_an_empty_timeline_asks_nothing() -> None:
    empty = Scene(Span.of_seconds(0, 1), ())
    assert not [item for task in TASKS for item in asked(task, empty, random.Random(0))]
