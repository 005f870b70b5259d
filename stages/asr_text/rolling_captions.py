"""Rolling captions turned into one stream of speech.

Automatic captions scroll: a cue repeats the line of the cue before it above its new line, and
short settle cues repeat it once more, so that a plain reader gives every word two or three times.
Here the lines a cue carries over from the screen before it are dropped. That also swallows a cue
which truly repeats the last one, so it is done only where a file is seen to roll.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from clipmill.schemas.records import Utterance, Word

ADJACENT_MS = 100  # a screen that went dark for longer starts afresh
ROLLING_SHARE = 0.5
ROLLING_CUES = 3


@dataclass(slots=True)
class Line:
    """A line of a cue: as written, without tags, and its words that carry a time."""

    raw: str
    text: str = ""
    words: list[tuple[int, str]] = field(default_factory=list)


@dataclass(slots=True)
class Cue:
    """What stands on the screen from `start` to `end`, in milliseconds."""

    start: int
    end: int
    lines: list[Line] = field(default_factory=list)

    @property
    def shown(self) -> list[str]:
        return [line.text for line in self.lines if line.text]


def is_rolling(cues: list[Cue]) -> bool:
    """Whether words carry times, or most cues repeat the screen before them and add to it."""
    if any(line.words for cue in cues for line in cue.lines):
        return True
    pairs = [(a, b) for a, b in itertools.pairwise(cues) if a.shown and b.shown]
    carried = sum(_carried(a, b) > 0 for a, b in pairs)
    grown = sum(0 < _carried(a, b) < len(b.shown) for a, b in pairs)
    return carried >= ROLLING_CUES and grown > 0 and carried >= ROLLING_SHARE * len(pairs)


def unrolled(cues: Iterable[Cue]) -> Iterator[Utterance]:
    """Each new line once, as an utterance; its words too where the line marks their times."""
    before: Cue | None = None
    for cue in cues:
        lines = [line for line in cue.lines if line.text]
        for line in lines[_carried(before, cue) if before else 0 :]:
            # A line of one word needs no mark: it begins with its cue.
            timed = line.words or ([(cue.start, line.text)] if " " not in line.text else [])
            words = [Word(text, start, cue.end) for start, text in timed]
            yield Utterance(line.text, cue.start, cue.end, words)
        if cue.shown or (before is not None and cue.start > before.end + ADJACENT_MS):
            before = cue


def _carried(before: Cue, cue: Cue) -> int:
    """How many of the first lines of `cue` are the last lines of `before`."""
    if cue.start > before.end + ADJACENT_MS or cue.start < before.start:
        return 0
    old, new = before.shown, cue.shown
    for count in range(min(len(old), len(new)), 0, -1):
        if old[-count:] == new[:count]:
            return count
    return 0
