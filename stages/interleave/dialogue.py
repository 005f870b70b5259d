"""Place questions on a video's time line, so that nobody has to answer what cannot be known yet.

A reader of a stream sees frames at a steady rate and speaks at frames, or is silent. Between asking
and answering lie three cases, told by where the last of the evidence is when the question comes:
past it (`backward`), at it (`now`), before it (`forward`, where the answer waits for its end).
Moments are exact fractions of a second and an answer stands at the first moment at which its
evidence is over, so causality is a comparison and not a tolerance. One thing is said at a moment;
an answer whose moment is taken comes a little later, never sooner.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Literal

from clipmill.schemas.clocks import Span

Mode = Literal["backward", "now", "forward"]
_DRAWS = 12  # moments tried for a question and mode before the next mode is
_LATE = 3  # frames that an answer may wait for its turn


@dataclass(frozen=True, slots=True)
class Answer:
    """A text that is true once its evidence is over."""

    text: str
    evidence: tuple[Span, ...]
    source: int = 0  # the caller's number for where it comes from
    told: Fraction | None = None  # when it is given, where somebody says so

    @property
    def start(self) -> Fraction:
        """When the last thing that proves it begins: nobody can know it before."""
        last = max(self.evidence, key=lambda span: span.clock.exact(span.end))
        return last.clock.exact(last.start)

    @property
    def end(self) -> Fraction:
        return max(span.clock.exact(span.end) for span in self.evidence)

    @property
    def ready(self) -> Fraction:
        """When it may be given: as somebody says, and never before its evidence is over."""
        return self.end if self.told is None else max(self.end, self.told)


@dataclass(frozen=True, slots=True)
class Ask:
    """A question with its answers; `asked` is the moment of asking where somebody chose it."""

    question: str
    answers: tuple[Answer, ...]
    asked: Fraction | None = None
    standing: bool = False  # a request that every answer meets anew


@dataclass(frozen=True, slots=True)
class Placed:
    """A question at its moment, with the moments of its answers; moments are numbers of frames."""

    ask: Ask
    mode: Mode
    asked: int
    due: tuple[int, ...]  # one per answer
    waits: bool = False  # at the moment of asking it is said that nothing is known yet

    @property
    def said(self) -> set[int]:
        """Moments at which something is replied."""
        return {*self.due, self.asked} if self.waits else set(self.due)


@dataclass(frozen=True, slots=True)
class Line:
    """The moments of a clip: its frames, `1 / fps` apart, and the end behind the last of them.

    The last frame lies at least half a step before the end, so that the two are told apart.
    """

    start: Fraction
    end: Fraction
    fps: Fraction

    @property
    def frames(self) -> int:
        return max(1, ceil((self.end - self.start) * self.fps - Fraction(1, 2)))

    def moment(self, number: int) -> Fraction:
        """Presentation time of a moment, in seconds."""
        return self.end if number >= self.frames else self.start + number / self.fps

    def first(self, at: Fraction) -> int:
        """The first moment at or after a time of the clip."""
        return min(max(0, ceil((at - self.start) * self.fps)), self.frames)

    def last(self, at: Fraction) -> int:
        """The last moment at or before a time; -1 where there is none."""
        if at >= self.end:
            return self.frames
        return min(int((at - self.start) * self.fps // 1), self.frames - 1)


@dataclass(frozen=True, slots=True)
class Rules:
    """How far from its evidence a question may be placed, in seconds: at least, and farther."""

    gap: Fraction
    reach: Fraction


class Timetable:
    """The moments of a clip that are taken, and the questions placed so far."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.placed: list[Placed] = []
        self._taken: set[int] = set()

    def standing(self, ask: Ask, asked: int) -> int:
        """Place a request at a moment, and behind it every answer for which there is room.

        Returns how many answers found none; what ended before the request is not wanted.
        """
        room: dict[int, Answer] = {}
        wanted = [answer for answer in ask.answers if self.line.first(answer.end) > asked]
        for answer in sorted(wanted, key=lambda answer: answer.end):
            due = self._free(self.line.first(answer.end), {asked, *room})
            if due is not None:
                room[due] = answer
        if room:
            kept = replace(ask, answers=tuple(room.values()))
            self._place(Placed(kept, "forward", asked, tuple(room)))
        return len(wanted) - len(room)

    def given(self, ask: Ask) -> bool:
        """Place a question at the moment that was chosen for it; False where that is taken."""
        assert ask.asked is not None
        asked, first = self.line.first(ask.asked), ask.answers[0]
        mode: Mode = "forward" if self.line.moment(asked) < first.start else "now"
        late = asked > self.line.first(first.end)
        return self._fits(ask, asked, "backward" if late else mode)

    def drawn(self, ask: Ask, modes: Sequence[Mode], rules: Rules, rng: random.Random) -> bool:
        """Place a question at a moment drawn in the first of `modes` that has room."""
        for mode in modes:
            low, high = self._range(ask, mode, rules)
            for _ in range(_DRAWS if low <= high else 0):
                if self._fits(ask, rng.randint(low, high), mode):
                    return True
        return False

    def wait(self, number: int) -> None:
        """Have a question's asker told to wait."""
        self.placed[number] = replace(self.placed[number], waits=True)

    def silent(self) -> Iterator[tuple[int, int]]:
        """Runs of frames at which nothing is said, as half-open pairs of moments."""
        spoken = sorted(self.said & set(range(self.line.frames)))
        before = 0
        for moment in [*spoken, self.line.frames]:
            if before < moment:
                yield before, moment
            before = moment + 1

    @property
    def said(self) -> set[int]:
        """Moments at which something is replied."""
        return {moment for placed in self.placed for moment in placed.said}

    def _range(self, ask: Ask, mode: Mode, rules: Rules) -> tuple[int, int]:
        """First and last moment at which a question may be asked; none where first > last.

        What has several answers is not asked behind the first of them.
        """
        first = ask.answers[0]
        due = self.line.first(first.end)
        if mode == "now":
            return self.line.first((first.start + first.end) / 2), due
        if mode == "forward":
            soonest = self.line.first(first.start - rules.gap - rules.reach)
            return soonest, self.line.last(first.start - rules.gap)
        soonest_s = first.end + rules.gap
        if len(ask.answers) > 1 or soonest_s > self.line.end:
            return 1, 0
        soonest = max(self.line.first(soonest_s), due + 1)
        return soonest, self.line.last(soonest_s + rules.reach)

    def _fits(self, ask: Ask, asked: int, mode: Mode) -> bool:
        """Place a question if it and all its answers have room."""
        if asked in self._taken:
            return False
        due: list[int] = []
        for answer in ask.answers:
            ready = self.line.first(answer.ready)
            moment = asked if ready <= asked and not due else self._free(ready, {asked, *due})
            if moment is None or moment < asked:
                return False
            due.append(moment)
        self._place(Placed(ask, mode, asked, tuple(due)))
        return True

    def _free(self, ready: int, own: set[int]) -> int | None:
        """The first moment from `ready` on at which nothing else is said."""
        some = range(ready, min(ready + _LATE, self.line.frames) + 1)
        return next((m for m in some if m not in self._taken and m not in own), None)

    def _place(self, placed: Placed) -> None:
        self._taken |= {placed.asked, *placed.due}
        self.placed.append(placed)
