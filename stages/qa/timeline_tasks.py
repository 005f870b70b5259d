"""Rules for what is told on a timeline: what happens, when, how often, in which order.

A rule yields a question only where the events decide the answer for anybody who sees the video. So
a text that occurs twice has no single time, and what happens at the same time as what is asked for
is no wrong option.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace

from clipmill.stages.qa.scene import (
    MOST_EVENTS,
    MOST_OPTIONS,
    Asked,
    Event,
    Rule,
    Scene,
    a_choice,
    a_number,
    a_yes_no,
    an_open,
    joined,
    spans,
    text_ids,
)
from clipmill.stages.qa.task_wording import Task

NOT_SHOWN = "This is not shown in the video."


def _retrieval(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    if scene.named and scene.distractors:
        event = rng.choice(scene.named)
        wrong = rng.sample(scene.distractors, min(len(scene.distractors), MOST_OPTIONS - 1))
        yield a_choice("retrieval", event.text, wrong, scene.by_text[event.text], rng)


def _counting(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    for text, shown in scene.by_text.items():
        yield a_number("counting", {"text": text}, len(shown), shown, rng)


def _ordering(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    events = scene.once
    if not 2 <= len(events) <= MOST_EVENTS or len(events) != len(scene.named):
        return
    texts = [event.text for event in events]
    wrong: list[str] = []
    while len(wrong) < min(MOST_OPTIONS - 1, _orders(len(texts)) - 1):
        order = joined(rng.sample(texts, len(texts)))
        if order != joined(texts) and order not in wrong:
            wrong.append(order)
    item = a_choice("ordering", joined(texts), wrong, events, rng)
    yield replace(item, values={"texts": joined(rng.sample(texts, len(texts)))})


def _before(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    if len(scene.once) < 2:
        return
    first, second = sorted(rng.sample(range(len(scene.once)), 2))
    pair = [scene.once[first], scene.once[second]]
    told = pair if rng.random() < 0.5 else pair[::-1]
    values = {"one": told[0].text, "two": told[1].text}
    yield a_yes_no("before", told[0] is pair[0], pair, values)


def _localisation(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    for event in scene.once:
        yield _when("localisation", scene, [event], {"text": event.text})


def _unanswerable(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    if scene.named:  # of a clip that nothing is told of, nothing can be ruled out
        for text in scene.distractors:
            # Who would say that something is not shown must see all.
            yield Asked("unanswerable", {"text": text}, NOT_SHOWN, (scene.span,))


def _occurrences(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    for text, shown in scene.by_text.items():
        yield _when("occurrences", scene, shown, {"text": text})


def _matching(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    for shown in scene.by_text.values():
        if len(shown) > 1:
            known = rng.choice(shown)
            others = [event for event in shown if event is not known]
            item = _when("matching", scene, others, {"span": scene.say(known.span)})
            yield replace(item, asks=(known.span,))


def _span_caption(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    for event in scene.named:
        item = an_open("span_caption", event.text, [event], {"span": scene.say(event.span)})
        yield replace(item, asks=(event.span,))


def _span_choice(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    for event in scene.named:
        others = [other for other in scene.named if not event.span.overlap_s(other.span)]
        true = {o.text for o in scene.named if event.span.overlap_s(o.span)} | {event.text}
        wrong = [text for text in dict.fromkeys(o.text for o in others) if text not in true]
        chosen = rng.sample(wrong, min(len(wrong), MOST_OPTIONS - 1))
        missing = MOST_OPTIONS - 1 - len(chosen)
        chosen += rng.sample(scene.distractors, min(len(scene.distractors), missing))
        if chosen:
            values = {"span": scene.say(event.span)}
            item = a_choice("span_choice", event.text, chosen, [event], rng, values)
            yield replace(item, asks=(event.span,))


def _timeline(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    yield from _listed("timeline", scene)


def _steps(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    yield from _listed("steps", scene)


def _listed(task: Task, scene: Scene) -> Iterator[Asked]:
    if scene.named:
        lines = [f"{scene.say(event.span)}: {event.text}" for event in scene.named]
        yield replace(an_open(task, joined(lines), scene.named), tells=spans(scene.named))


def _when(task: Task, scene: Scene, events: list[Event], values: dict[str, str]) -> Asked:
    answer = joined([scene.say(event.span) for event in events])
    told = spans(events)
    return Asked(task, values, answer, told, (), text_ids(events), tells=told)


def _orders(count: int) -> int:
    return sum(1 for _ in itertools.islice(itertools.permutations(range(count)), MOST_OPTIONS))


RULES: dict[Task, Rule] = {
    "retrieval": _retrieval,
    "counting": _counting,
    "ordering": _ordering,
    "before": _before,
    "localisation": _localisation,
    "unanswerable": _unanswerable,
    "occurrences": _occurrences,
    "matching": _matching,
    "span_caption": _span_caption,
    "span_choice": _span_choice,
    "timeline": _timeline,
    "steps": _steps,
}
