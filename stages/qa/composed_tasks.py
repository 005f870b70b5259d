"""Rules for videos that were put together: their pieces, order, sources and way of playing.

A rule asks only what a viewer can see: fragments that follow each other as in their source have no
visible border, and one fragment has no order.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from clipmill.stages.qa.scene import (
    MOST_EVENTS,
    MOST_OPTIONS,
    Asked,
    Rule,
    Scene,
    a_choice,
    a_number,
    a_yes_no,
    an_open,
)
from clipmill.stages.qa.task_wording import Task

SPEEDS = ("slower than normal", "at normal speed", "faster than normal")


def _fragments(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    if len(scene.seen) > 1:
        yield a_number("fragments", {}, len(scene.seen), scene.seen, rng)


def _consistency(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    sources = {event.source for event in scene.events}
    if "" not in sources and len(scene.events) > 1:
        yield a_yes_no("consistency", len(sources) == 1, scene.events, {})


def _odd_one(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    counts = Counter(event.source for event in scene.events)
    odd = [event for event in scene.events if counts[event.source] == 1]
    if len(counts) == 2 and len(odd) == 1 and "" not in counts:
        item = an_open("odd_one", scene.say(odd[0].span), odd)
        yield replace(item, tells=(odd[0].span,))


def _disorder(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    ranks = _ranks(scene)
    if ranks:
        yield a_yes_no("disorder", ranks == sorted(ranks), scene.events, {})


def _rearrangement(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    ranks = _ranks(scene)
    # Where two shown neighbours go on as in their source nobody can tell that they are two.
    if ranks and ranks != sorted(ranks) and len(scene.seen) == len(ranks) <= MOST_EVENTS:
        right = sorted(range(len(ranks)), key=ranks.__getitem__)
        answer = ", ".join(str(number + 1) for number in right)
        yield an_open("rearrangement", answer, scene.events, {"count": str(len(ranks))})


def _playback(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    if len(scene.events) == 1 and scene.events[0].playback:
        ways = ["forwards", "backwards"]
        ways.remove(scene.events[0].playback)
        yield a_choice("playback", scene.events[0].playback, ways, scene.events, rng)


def _speed(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    if len(scene.events) == 1 and scene.events[0].speed:
        speed = scene.events[0].speed
        right = SPEEDS[1 + (speed > 1) - (speed < 1)]
        wrong = [name for name in SPEEDS if name != right]
        yield a_choice("speed", right, wrong, scene.events, rng)


def _caption_match(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    if not scene.text:
        return
    wrong = [scene.contrast] if scene.contrast else []
    if len(scene.once) == len(scene.events) == 2:
        one, two = (event.text for event in scene.events)
        wrong.append(scene.text.replace(one, "\0").replace(two, one).replace("\0", two))
    wrong = [text for text in dict.fromkeys(wrong) if text != scene.text]
    if wrong:
        yield a_choice("caption_match", scene.text, wrong, scene.events, rng)


def _captioning(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    if scene.text:
        yield an_open("captioning", scene.text, scene.events)


def _recognition(scene: Scene, rng: random.Random) -> Iterator[Asked]:
    if len(scene.events) == 1 and scene.named and scene.distractors:
        wrong = rng.sample(scene.distractors, min(len(scene.distractors), MOST_OPTIONS - 1))
        yield a_choice("recognition", scene.events[0].text, wrong, scene.events, rng)


def _ranks(scene: Scene) -> list[int]:
    """The original places of the events of one source; empty where they have no order."""
    ranks = [event.rank for event in scene.events]
    sources = {event.source for event in scene.events}
    fits = len(ranks) > 1 and len(set(ranks)) == len(ranks) and all(ranks)
    return ranks if fits and len(sources) == 1 and "" not in sources else []


RULES: dict[Task, Rule] = {
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
