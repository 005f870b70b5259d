"""Make of a video's questions and events a dialogue along its time line: who says what, and when.

For models that watch a stream and must know when to speak. Every question is asked after, at or
before its evidence (`backward`, `now`, `forward`) and answered at the first frame at which the
evidence is over; one that comes too early may be told to wait; events can be told as they end, to
one standing request; at all other frames there is silence, which is written down too. Where each
question goes is drawn by a seed, from moments alone: no model, and no answer that uses what comes
later. Each reply is a sample with its evidence and its turn; the whole is a text, chat messages
with seconds. Whether the questions themselves are right is decided before, by `judge` and others.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.fingerprints import fingerprint
from clipmill.schemas.records import Author, Part, Sample, Segment
from clipmill.stages.interleave.dialogue import Answer, Ask, Line, Mode, Placed, Rules, Timetable
from clipmill.stages.models.teacher_stage import one_line
from clipmill.stages.stage import Stage, StageSettings

_ROUNDING = Fraction(1, 1000)


class Settings(StageSettings):
    layer: str = "whole"
    """Layer whose segments become dialogues."""
    kinds: tuple[str, ...] = ("qa",)
    """Kinds of the samples that are asked. Those of one `thread` (a label) are one question with
    several answers; those with a turn are asked and answered when that says, but never answered
    before their evidence is over."""
    asked_on: tuple[str, ...] = ("whole",)
    """Layers whose segments hold these samples; evidence must lie within the dialogue's segment."""
    narrate: str = ""
    """Role of texts that are told as their segment ends, in reply to one standing request."""
    narrate_layer: str = "shots"
    """Layer of these segments."""
    request_within: float = Field(default=0.0, ge=0, le=1)
    """The request is made at a moment drawn from this first share of the dialogue; what ended
    before it is not told."""
    modes: tuple[Mode, ...] = Field(default=("backward", "now", "forward"), min_length=1)
    """Where a question may come from its evidence: after, at or before it. They take turns."""
    gap_s: float = Field(default=2.0, ge=0)
    """A question of mode backward or forward is at least so far from its evidence."""
    reach_s: float = Field(default=60.0, ge=0)
    """And at most so much farther."""
    not_yet: float = Field(default=0.5, ge=0, le=1)
    """Share of the questions asked too early that are answered at once: not yet."""
    fps: float = Field(default=2.0, gt=0, le=60)
    """Frames in a second at which the reader may speak."""
    most: int = Field(default=40, ge=1)
    """At most so many questions a dialogue, drawn."""
    requests: tuple[str, ...] = Field(
        default=("Tell me what happens, as it happens.", "Describe what you see while you watch."),
        min_length=1,
    )
    """Wordings of the standing request."""
    early: tuple[str, ...] = Field(
        default=("{question} Tell me as soon as you know.", "Watch for this: {question}"),
        min_length=1,
    )
    """Wordings of a question that comes before its evidence."""
    not_yet_said: tuple[str, ...] = Field(
        default=("That cannot be seen yet.", "Not yet; I will tell you."), min_length=1
    )
    """Wordings of the reply that nothing is known yet."""
    role: str = Field(default="dialogue", pattern=r"^[a-z0-9_]+$")
    """Role of the text that is written: one JSON object. Scores: ROLE_turns (replies), ROLE_silence
    (share of frames without one), ROLE_left_out (questions and events without room)."""
    kind: str = Field(default="turn", pattern=r"^[a-z0-9_]+$")
    """Kind of the samples that are written, one a reply; labels mode, reply (answer, not_yet),
    number (of the question) and step (of its answers)."""
    seed: int = 0
    """Another seed draws other moments and wordings."""

    @model_validator(mode="after")
    def _early_ones_ask(self) -> Self:
        if not all("{question}" in wording for wording in self.early):
            raise ValueError("every wording in `early` must hold {question}")
        return self


@dataclass(frozen=True, slots=True)
class Origin:
    """What an answer was made from: its author, and what is kept of its sample."""

    author: Author
    source: str
    options: tuple[str, ...]
    labels: dict[str, str]


@dataclass(frozen=True, slots=True)
class Turn:
    """A placed question in its wording."""

    placed: Placed
    question: str
    not_yet: str


class BuildDialogue(Stage[Settings]):
    """Build a dialogue of timed questions, answers and silence along a video."""

    settings: Settings
    needs: ClassVar = {"segments:{layer}"}
    provides: ClassVar = {
        "texts:{role}", "samples:{kind}", "labels:mode", "labels:reply",
        "scores:{role}_turns", "scores:{role}_silence", "scores:{role}_left_out",
    }  # fmt: skip

    def reads(self) -> frozenset[str]:
        settings = self.settings
        found = super().reads() | {f"samples:{kind}" for kind in settings.kinds}
        if settings.kinds:
            found |= {f"segments:{layer}" for layer in settings.asked_on}
        if settings.narrate:
            found |= {f"segments:{settings.narrate_layer}", f"texts:{settings.narrate}"}
        return found

    def process(self, part: Part) -> Part:
        settings = self.settings
        for segment in part.video.layer(settings.layer):
            span, origins = segment.span, list[Origin]()
            line = Line(
                span.clock.exact(span.start),
                span.clock.exact(span.end),
                Fraction(settings.fps).limit_denominator(1000),
            )
            rng = random.Random(fingerprint(part.video.id, segment.id, settings.seed))
            told = self._told(part, segment, origins)
            asks = self._asks(part, segment, origins)
            table = Timetable(line)
            left_out = self._place(table, told, asks, rng)
            if table.placed:
                self._write(segment, self._worded(table, rng), table, origins)
            silent = sum(until - first for first, until in table.silent())
            segment.scores |= {
                f"{settings.role}_turns": float(len(table.said)),
                f"{settings.role}_silence": silent / line.frames,
                f"{settings.role}_left_out": float(left_out),
            }
        return part

    def _place(
        self, table: Timetable, told: Sequence[Answer], asks: Sequence[Ask], rng: random.Random
    ) -> int:
        """Fill the timetable; how many questions and events found no room."""
        settings = self.settings
        left_out = 0
        if told:
            asked = rng.randint(0, int(settings.request_within * (table.line.frames - 1)))
            request = Ask(rng.choice(settings.requests), tuple(told), standing=True)
            left_out += table.standing(request, asked)
        chosen = rng.sample(asks, min(len(asks), settings.most))
        chosen.sort(key=lambda ask: (ask.asked is None, ask.answers[0].end))
        rules = Rules(Fraction(settings.gap_s), Fraction(settings.reach_s))
        turn = rng.randrange(len(settings.modes))
        for ask in chosen:
            if ask.asked is not None:
                left_out += not table.given(ask)
                continue
            modes = settings.modes[turn:] + settings.modes[:turn]
            if table.drawn(ask, modes, rules, rng):
                used = table.placed[-1].mode
                turn = (settings.modes.index(used) + 1) % len(settings.modes)
            else:
                left_out += 1
        return left_out

    def _told(self, part: Part, segment: Segment, origins: list[Origin]) -> list[Answer]:
        """What is told of the events that lie within a segment."""
        settings = self.settings
        found = []
        for event in part.video.layer(settings.narrate_layer) if settings.narrate else ():
            texts = event.texts_of(settings.narrate)
            span = _within(event.span, segment.span)
            if span is not None and texts and (said := one_line(texts[-1].text)):
                found.append(Answer(said, (span,), len(origins)))
                origin = Origin(texts[-1].author, f"{event.id}/{texts[-1].id}", (), {})
                origins.append(origin)
        return found

    def _asks(self, part: Part, segment: Segment, origins: list[Origin]) -> list[Ask]:
        """The questions whose evidence lies within a segment, those of a thread as one."""
        threads: dict[tuple[str, ...], list[tuple[Sample, Answer]]] = defaultdict(list)
        for layer in self.settings.asked_on:
            for holder in part.video.layer(layer):
                for sample in holder.samples:
                    if sample.kind not in self.settings.kinds:
                        continue
                    evidence = [_within(span, segment.span) for span in sample.evidence]
                    inside = tuple(span for span in evidence if span is not None)
                    if not inside or len(inside) < len(evidence) or not one_line(sample.answer):
                        continue
                    origin = Origin(
                        sample.author,
                        f"{holder.id}/{sample.id}",
                        tuple(sample.options),
                        sample.labels,
                    )
                    turn = sample.turn
                    told = turn.clock.exact(turn.end) if turn else None
                    answer = Answer(one_line(sample.answer), inside, len(origins), told)
                    origins.append(origin)
                    thread = sample.labels.get("thread")
                    key = (thread,) if thread else (holder.id, sample.id)
                    threads[sample.kind, *key].append((sample, answer))
        asks = []
        for own in threads.values():
            own.sort(key=lambda pair: (pair[1].ready, pair[1].source))
            first = own[0][0]
            asked = first.turn.clock.exact(first.turn.start) if first.turn else None
            heard = asked is None or _during(segment.span, asked)
            if heard and one_line(first.question):
                answers = tuple(answer for _, answer in own)
                asks.append(Ask(one_line(first.question), answers, asked))
        return asks

    def _worded(self, table: Timetable, rng: random.Random) -> list[Turn]:
        """The placed questions in the order in which they are asked, as they are put."""
        settings = self.settings
        for number, placed in enumerate(table.placed):
            early = placed.mode == "forward" and not placed.ask.standing
            if early and rng.random() < settings.not_yet:
                table.wait(number)
        turns = []
        for placed in sorted(table.placed, key=lambda placed: placed.asked):
            question = placed.ask.question
            # What somebody asked at a moment of their choice is left in their words.
            chosen = placed.ask.standing or placed.ask.asked is not None
            if placed.mode == "forward" and not chosen:
                question = rng.choice(settings.early).replace("{question}", question)
            turns.append(Turn(placed, question, rng.choice(settings.not_yet_said)))
        return turns

    def _write(
        self, segment: Segment, turns: list[Turn], table: Timetable, origins: list[Origin]
    ) -> None:
        settings, line = self.settings, table.line
        for number, turn in enumerate(turns):
            placed = turn.placed
            asked = _tick(line, placed.asked)
            first = origins[placed.ask.answers[0].source]
            common = {"mode": placed.mode, "number": str(number)}
            if placed.waits:
                segment.add_sample(
                    settings.kind,
                    turn.question,
                    turn.not_yet,
                    self.author(),
                    options=list(first.options),
                    sources=[first.source],
                    labels={**common, "reply": "not_yet", "step": "0"},
                    turn=Span(MILLISECONDS, asked, asked),
                )
            for step, (answer, due) in enumerate(
                zip(placed.ask.answers, placed.due, strict=True), 1
            ):
                origin = origins[answer.source]
                by = origin.author
                segment.add_sample(
                    settings.kind,
                    turn.question,
                    answer.text,
                    self.author(by.model, by.revision, by.prompt),
                    options=list(origin.options),
                    evidence=list(answer.evidence),
                    sources=[origin.source],
                    labels={**origin.labels, **common, "reply": "answer", "step": str(step)},
                    turn=Span(MILLISECONDS, asked, _tick(line, due)),
                )
        document = self._document(segment, turns, table, origins)
        segment.add_text(
            settings.role,
            json.dumps(document, ensure_ascii=False, separators=(",", ":")),
            self.author(),
            sources=list(dict.fromkeys(origins[a.source].source for a in _answers(turns))),
        )

    def _document(
        self, segment: Segment, turns: list[Turn], table: Timetable, origins: list[Origin]
    ) -> dict[str, Any]:
        """Messages in the order of time, and the stretches of silence; seconds from the start."""
        line, zero = table.line, segment.span.on(MILLISECONDS).start

        def second(moment: int) -> float:
            return (_tick(line, moment) - zero) / 1000

        said: list[tuple[int, int, dict[str, Any]]] = []
        for turn in turns:
            placed = turn.placed
            options = origins[placed.ask.answers[0].source].options
            content = "\n".join([turn.question, *(f"- {option}" for option in options)])
            asked = {"role": "user", "time": second(placed.asked), "content": content}
            said.append((placed.asked, 0, asked))
            if placed.waits:
                reply = {"role": "assistant", "time": second(placed.asked), "content": turn.not_yet}
                said.append((placed.asked, 1, reply | {"mode": placed.mode}))
            for answer, due in zip(placed.ask.answers, placed.due, strict=True):
                spans = [span.on(MILLISECONDS) for span in answer.evidence]
                reply = {
                    "role": "assistant",
                    "time": second(due),
                    "content": answer.text,
                    "mode": placed.mode,
                    "evidence": [[(s.start - zero) / 1000, (s.end - zero) / 1000] for s in spans],
                }
                said.append((due, 1, reply))
        return {
            "fps": self.settings.fps,
            "messages": [message for *_, message in sorted(said, key=lambda one: one[:2])],
            "silence": [[second(first), second(until)] for first, until in table.silent()],
        }


def _answers(turns: Sequence[Turn]) -> Iterator[Answer]:
    for turn in turns:
        yield from turn.placed.ask.answers


def _tick(line: Line, moment: int) -> int:
    """A moment in milliseconds, never before it."""
    return ceil(line.moment(moment) * 1000)


def _during(whole: Span, at: Fraction) -> bool:
    return whole.clock.exact(whole.start) <= at <= whole.clock.exact(whole.end)


def _within(span: Span, whole: Span) -> Span | None:
    """A span that lies in another, cut where rounding to milliseconds carried it past an end."""
    start, end = span.clock.exact(span.start), span.clock.exact(span.end)
    first, last = whole.clock.exact(whole.start), whole.clock.exact(whole.end)
    if start < first - _ROUNDING or end > last + _ROUNDING:
        return None
    if first <= start and end <= last:
        return span
    own = span.on(whole.clock)
    start_tick = max(own.start, whole.start)
    return Span(whole.clock, start_tick, max(start_tick, min(own.end, whole.end)))
