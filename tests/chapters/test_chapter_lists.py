"""Chapter lists as uploaders write them, half of them broken: taken exactly, or not at all."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.stages.source import parse_metadata
from clipmill.stages.source.parse_metadata import chapters

Listed = list[tuple[int, str]]
OPENING = ["{at} {title}", "{at} - {title}", "[{at}] {title}", "({at}) {title}",
           "{n}. {at} {title}", "\u25ba {at} | {title}", "{at} \u2013 {title}"]  # fmt: skip
CLOSING = ["{title} {at}", "{title} - {at}"]
WORDS = (
    "the",
    "old",
    "mill",
    "river",
    "bread",
    "oven",
    "flour",
    "wheel",
    "stones",
    "how",
    "why",
    "we",
    "build",
)
OTHER = [
    "\u7b2c\u4e00\u7ae0 \u6c34",
    "\u041c\u0443\u043a\u0430 \u0438 \u0445\u043b\u0435\u0431",
    "\u00dcber M\u00fchlen",
    "Caf\u00e9 \u2014 part one",
    "Q&A!",
]
PROSE = [
    "Thanks to everybody who helped.", "", "Music by the Millers, #bread #oven",
    "My shop: https://example.org/a/12:30", "Watch this again: https://example.org/v?t=1:20",
    "We met at 10:30 and left at 11:45 in the evening", "Price: 12 Euro", "\U0001f44d follow me",
]  # fmt: skip


def titles(rng: random.Random, count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        title = " ".join(rng.sample(WORDS, rng.randint(1, 4))).capitalize()
        if rng.random() < 0.15:
            title = rng.choice(OTHER)
        if title not in found:
            found.append(title)
    return found


def right(rng: random.Random) -> tuple[Listed, int]:
    """Chapters and how long the video lasts, in seconds."""
    count = rng.randint(2, 12)
    longest = rng.choice([600, 3000, 9000])
    starts = sorted(rng.sample(range(1, longest), count))
    if rng.random() < 0.8:
        starts[0] = 0
    return list(zip(starts, titles(rng, count), strict=True)), longest + rng.randint(1, 100)


def clock(second: int, hours: bool) -> str:
    if hours or second >= 3600:
        return f"{second // 3600}:{second // 60 % 60:02d}:{second % 60:02d}"
    return f"{second // 60}:{second % 60:02d}"


def written(listed: Listed, rng: random.Random, first: bool = False) -> str:
    """A description in one of the forms that people use, with other lines around the list.

    With `first` times stand before titles, and one stands at the end of another line.
    """
    hours = rng.random() < 0.2
    form = rng.choice(OPENING if first else [*OPENING, *CLOSING])
    lines = [
        form.format(at=clock(second, hours), title=title, n=n)
        for n, (second, title) in enumerate(listed, 1)
    ]
    before = rng.sample(PROSE, rng.randint(0, 3))
    after = rng.sample(PROSE, rng.randint(0, 3))
    if first:
        after += ["", rng.choice(["Live every Friday at 18:00", "Next on 9:30", "Stream (0:45)"])]
    return rng.choice(["\n", "\r\n"]).join([*before, *lines, *after])


def fine(listed: Listed, seconds: int, rng: random.Random) -> tuple[Listed, int]:
    return listed, seconds


def stray(listed: Listed, seconds: int, rng: random.Random) -> tuple[Listed, int]:
    return listed, seconds  # times open the list's lines, and one closes another line below


def one_time(listed: Listed, seconds: int, rng: random.Random) -> tuple[Listed, int]:
    return [rng.choice(listed)], seconds


def decreasing(listed: Listed, seconds: int, rng: random.Random) -> tuple[Listed, int]:
    place = rng.randrange(len(listed) - 1)
    listed[place], listed[place + 1] = listed[place + 1], listed[place]
    return listed, seconds


def twice(listed: Listed, seconds: int, rng: random.Random) -> tuple[Listed, int]:
    place = rng.randrange(1, len(listed))
    listed[place] = (listed[place - 1][0], listed[place][1])
    return listed, seconds


def beyond(listed: Listed, seconds: int, rng: random.Random) -> tuple[Listed, int]:
    return listed, rng.randint(1, listed[-1][0])


def untitled(listed: Listed, seconds: int, rng: random.Random) -> tuple[Listed, int]:
    place = rng.randrange(len(listed))
    listed[place] = (listed[place][0], rng.choice(["", "-", str(place), f"Part {place}"]))
    return listed, seconds


def all_alike(listed: Listed, seconds: int, rng: random.Random) -> tuple[Listed, int]:
    return [(second, listed[0][1]) for second, _ in listed], seconds


def none_at_all(listed: Listed, seconds: int, rng: random.Random) -> tuple[Listed, int]:
    return [], seconds


Spoil = Callable[[Listed, int, random.Random], tuple[Listed, int]]
BROKEN: list[Spoil] = [one_time, decreasing, twice, beyond, untitled, all_alike, none_at_all]


def cases() -> list[tuple[str, int, Listed, str]]:
    """(description, seconds, chapters that are meant, kind): 500, half of them broken."""
    rng = random.Random("chapters")
    found = []
    for number in range(500):
        spoil = BROKEN[number % 10] if number % 10 < len(BROKEN) else fine
        if number % 50 < 6:
            spoil = fine if number % 2 else stray
        listed, seconds = spoil(*right(rng), rng)
        meant = listed if spoil in (fine, stray) else []
        text = written(listed, rng, first=spoil is stray)
        found.append((text, seconds, meant, spoil.__name__))
    return found


def exact(description: str, seconds: int, meant: Listed) -> bool:
    ends = [*(start for start, _ in meant[1:]), *([seconds] if meant else [])]
    wanted = [
        (Span(MILLISECONDS, start * 1000, end * 1000), title)
        for (start, title), end in zip(meant, ends, strict=True)
    ]
    return parse_metadata.chapters(description, float(seconds)) == wanted


def test_five_hundred_descriptions_are_taken_exactly_or_not_at_all() -> None:
    wrong = Counter(
        kind for description, seconds, meant, kind in cases()
        if not exact(description, seconds, meant)
    )  # fmt: skip
    kinds = Counter(kind for *_, kind in cases())
    print(dict(kinds), "wrong:", dict(wrong))
    assert kinds.total() == 500 and len(kinds) == 9 and kinds["fine"] >= 150
    assert wrong.total() <= 5


@pytest.mark.parametrize("gone", ["all", "nothing"])
def test_the_check_notices_a_parser_without_rules(
    gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def every(description: str, seconds: float) -> list[tuple[Span, str]]:
        entries = filter(None, map(parse_metadata._entry, description.splitlines()))
        return [(Span(MILLISECONDS, e.start, e.start), e.title) for e in entries]

    monkeypatch.setattr(parse_metadata, "chapters", every if gone == "all" else lambda *_: [])
    assert sum(exact(*case[:3]) for case in cases()) < 0.7 * 500
    assert chapters is not parse_metadata.chapters
