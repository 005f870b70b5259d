"""Edits that make an ordered telling false, each by a counted number of steps.

A step is one thing that is no longer so: two events that follow each other told the other way
round, one word replaced by another of its kind, one event replaced by one of another video. Steps
are counted, so that a telling is the more wrong the more there are, and an edit that cannot make
exactly so many yields nothing. Only events that do not overlap have an order to be wrong about.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from clipmill.stages.rewrite.perturb_text import edited


@dataclass(frozen=True, slots=True)
class Step:
    """One event of a telling; times in any unit."""

    text: str
    start: float
    end: float


def reorder(events: Sequence[Step], steps: int, rng: random.Random) -> list[str] | None:
    """The same texts with exactly `steps` pairs told in the wrong order.

    Neighbours in their right order change places, one pair at a time: each adds one wrong pair.
    """
    told = list(range(len(events)))
    for _ in range(steps):
        able = [k for k in range(len(told) - 1) if _before(events, told[k], told[k + 1])]
        if not able:
            return None
        k = rng.choice(able)
        told[k], told[k + 1] = told[k + 1], told[k]
    return [events[place].text for place in told]


def replace(
    texts: Sequence[str],
    words: Sequence[str],
    steps: int,
    rng: random.Random,
    common: Sequence[str] = (),
    taken: Collection[str] = (),
) -> list[str] | None:
    """The texts with one of `words` in each of `steps` of them replaced by another.

    No text comes to say what another of them, or one of `taken`, does. The other word is one of
    `common`, or of `words` where that is empty; what is there twice is drawn twice as often.
    """
    changed = list(texts)
    for place in rng.sample(range(len(texts)), len(texts)):
        if steps == 0:
            break
        made = _one_word(texts[place], words, common or words, {*texts, *taken}, rng)
        if made is not None:
            changed[place] = made
            steps -= 1
    return changed if steps == 0 else None


def partial(
    texts: Sequence[str], foreign: Sequence[str], steps: int, rng: random.Random
) -> list[str] | None:
    """The texts with `steps` of them replaced by foreign ones; at least one stays."""
    able = [text for text in dict.fromkeys(foreign) if text not in texts]
    if steps >= len(texts) or steps > len(able):
        return None
    changed = list(texts)
    places = rng.sample(range(len(texts)), steps)
    for place, text in zip(places, rng.sample(able, steps), strict=True):
        changed[place] = text
    return changed


def edited_span(true: str, false: str) -> tuple[int, int]:
    """The words of `false`, from the first to behind the last, outside which it is as `true`."""
    one, two = true.split(), false.split()
    start = 0
    while start < min(len(one), len(two)) and one[start] == two[start]:
        start += 1
    end = 0
    while end < min(len(one), len(two)) - start and one[-1 - end] == two[-1 - end]:
        end += 1
    return start, len(two) - end


def _before(events: Sequence[Step], one: int, two: int) -> bool:
    """Whether the first comes before the second, does not overlap it and says another thing."""
    a, b = events[one], events[two]
    return one < two and a.end <= b.start and a.text != b.text


def _one_word(
    text: str, words: Sequence[str], others: Sequence[str], taken: set[str], rng: random.Random
) -> str | None:
    there = [word for word in dict.fromkeys(words) if len(places(text, word)) == 1]
    for was in rng.sample(there, len(there)):
        for now in rng.sample(others, len(others)):
            if now.casefold() != was.casefold() and (made := edited(text, was, now)) not in taken:
                return made
    return None


def places(text: str, word: str) -> list[str]:
    """Where a word or a phrase stands in a text, whole."""
    return re.findall(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE)
