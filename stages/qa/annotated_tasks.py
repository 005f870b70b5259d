"""Rules for what people added to a timeline: ratings, relations, boxes, questions of their own.

Nothing is asked here that the annotation does not hold. Ratings stay on the scale they were given
in, and the options of a question are the published ones at other places: sets have habits of where
the right one stands.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace

from clipmill.schemas import within
from clipmill.schemas.clocks import Span
from clipmill.stages.qa.scene import (
    MOST_OPTIONS,
    Asked,
    Event,
    Given,
    Rated,
    Rule,
    Scene,
    a_choice,
    an_open,
    joined,
)
from clipmill.stages.qa.task_wording import Task

SUMMARY_SHARE = 0.15
"""Most of a clip that its summary may take, as customary since SumMe."""

RELATIONS = {
    "causes": "the first causes the second",
    "enables": "the first makes the second possible",
    "reaction to": "the second is a reaction to the first",
    "norel": "they have nothing to do with each other",
}
"""What VidSitu calls the relation of two events in their order, and how it is said."""


def _highlight(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    for text, clips in _rated(scene).items():
        told = [f"{scene.say(clip.span)} ({clip.rating:.1f})" for clip in clips]
        spans = tuple(clip.span for clip in clips)
        yield Asked("highlight", {"text": text}, joined(told), spans, tells=spans)


def _summary(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    for text, clips in _rated(scene).items():
        left = SUMMARY_SHARE * scene.span.duration_s
        chosen: list[Span] = []
        for clip in sorted(clips, key=lambda clip: (-clip.rating, clip.span.start_s)):
            if clip.span.duration_s <= left:
                chosen.append(clip.span)
                left -= clip.span.duration_s
        if chosen:
            parts = tuple(within.joined(chosen))
            answer = joined([scene.say(part) for part in parts])
            yield Asked("summary", {"text": text}, answer, parts, tells=parts)


def _relation(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    by_number = {event.number: event for event in scene.named if event.number}
    for event in by_number.values():
        other = by_number.get(event.relates_to)
        said = RELATIONS.get(event.relation.casefold())
        if other is None or said is None or other is event:
            continue
        pair = sorted([event, other], key=lambda one: one.span.start_s)
        values = {"one": pair[0].text, "two": pair[1].text}
        wrong = [text for text in RELATIONS.values() if text != said]
        yield a_choice("relation", said, wrong, pair, rng, values)


def _repetition(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    """TGIF-QA (Jang et al. 2017): how often, answered by a number."""
    for event in scene.once:
        if event.count > 1:
            yield an_open("repetition", str(event.count), [event], {"text": event.text})


def _repeated(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    """What is repeated so often; no other event of the clip may be, for it would be right too."""
    for event in scene.once:
        others = [other for other in scene.named if other.text != event.text]
        if event.count < 2 or any(other.count == event.count for other in others):
            continue
        wrong = list(dict.fromkeys([*(other.text for other in others), *scene.distractors]))
        if wrong:
            chosen = rng.sample(wrong, min(len(wrong), MOST_OPTIONS - 1))
            values = {"count": str(event.count)}
            yield a_choice("repeated", event.text, chosen, [event], rng, values)


def _transition(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    """What comes right before or after an event that is told once, by the next one in time."""
    events = scene.named
    for first, second in itertools.pairwise(events):
        if second.span.overlap_s(first.span) or second.text == first.text:
            continue
        for side, told, right in (("after", first, second), ("before", second, first)):
            elsewhere = [e.text for e in events if e.text not in (told.text, right.text)]
            wrong = list(dict.fromkeys([*elsewhere, *scene.distractors]))
            if wrong and sum(event.text == told.text for event in events) == 1:
                chosen = rng.sample(wrong, min(len(wrong), MOST_OPTIONS - 1))
                values = {"side": side, "text": told.text}
                yield a_choice("transition", right.text, chosen, [first, second], rng, values)


def _tube(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    for event, boxes in _boxed(scene):
        answer = f"{scene.say(event.span)}; {boxes}"
        yield Asked("tube", {"text": event.text}, answer, (event.span,), (), (event.text_id,))


def _where(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    for event, boxes in _boxed(scene):
        values = {"text": event.text, "span": scene.say(event.span)}
        yield Asked("where", values, boxes, (event.span,), (), (event.text_id,))


def _boxed(scene: Scene) -> Iterator[tuple[Event, str]]:
    """Events of one place each, with their boxes; placeholders have no array for boxes."""
    for event in scene.once if scene.times.form != "placeholder" else ():
        if event.boxes:
            told = [
                f"at {scene.times.moment(at, scene.span)} {scene.times.box(sides)}"
                for at, *sides in event.boxes
            ]
            yield event, joined(told)


def _question(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    for given in scene.given:
        yield _again("question", given, rng)


def _grounded_question(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    for given in scene.given:
        if given.span.duration_s < scene.span.duration_s:  # else its time says nothing
            item = _again("grounded_question", given, rng)
            answer = f"{given.answer}, {scene.say(given.span)}"
            # The answer tells more than an option does, so it is asked as an open question.
            yield replace(item, answer=answer, options=(), tells=(given.span,))


def _again(task: Task, given: Given, rng: random.Random) -> Asked:
    options = tuple(rng.sample(given.options, len(given.options)))
    values = {"question": given.question}
    return Asked(
        task, values, given.answer, (given.span,), options, (given.source,), labels=given.labels
    )


def _rated(scene: Scene) -> dict[str, list[Rated]]:
    found: dict[str, list[Rated]] = {}
    for clip in scene.rated:
        found.setdefault(clip.text, []).append(clip)
    return found


RULES: dict[Task, Rule] = {
    "highlight": _highlight,
    "summary": _summary,
    "relation": _relation,
    "repetition": _repetition,
    "repeated": _repeated,
    "transition": _transition,
    "question": _question,
    "grounded_question": _grounded_question,
    "tube": _tube,
    "where": _where,
}
