"""Asks a teacher under a contract: schema, check, one repair, then a counted rejection.

A backend may constrain its decoding to the schema, and the reply is validated all the same:
constrained grammars differ in small ways, and servers ignore what they do not know. What fails is
asked once more with the complaint attached (or, if it got lost, asked again as it was). What fails
twice is rejected under a short reason, never mended by hand or guessed.

A rejected segment gets no text; `mark_rejected` leaves the label `rejected_<role>` with the reason,
e.g. `rejected_caption = truncated`. The stage lists `labels:rejected_<role>` under `provides`, so
that a rejection is stored, counted by grouping a column, usable in a profile, and taken back when
the stage runs again.

What was asked and what it cost goes on the tab of the work going on (see `stages.models.tab`), and
a reply found in its cache is not asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from clipmill.schemas.errors import ReplyMismatch
from clipmill.schemas.records import Segment
from clipmill.stages.models.prompts import load_prompt
from clipmill.stages.models.read_reply import Refused, read
from clipmill.stages.models.replies import match
from clipmill.stages.models.reply_cache import Remembered, ReplyCache, reply_key
from clipmill.stages.models.tab import Bill, afford, current_tab, pay
from clipmill.stages.models.teacher import Reply, Request, Teacher, Usage

Check = Callable[[str, Any], str | None]
"""(request id, value) -> what is wrong with the value beyond its schema, None if nothing."""

REPAIR = "repair.v1"


@dataclass(frozen=True, slots=True)
class Answer:
    """A value that keeps its contract: parsed JSON, or text where no schema was asked for."""

    value: Any
    repaired: bool = False


@dataclass(slots=True)
class Answers:
    """Every request is in exactly one of `found` and `rejected` (id -> reason)."""

    found: dict[str, Answer] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    foreign: int = 0
    usage: Usage = field(default_factory=Usage)


async def ask(
    teacher: Teacher,
    requests: Sequence[Request],
    check: Check | None = None,
    *,
    repair: bool = True,
) -> Answers:
    """Answers by request id. Reasons: lost, doubled, error, truncated, not_json, not_text,
    off_schema, off_contract. Raises ReplyMismatch where two requests share an id.
    """
    match(requests, ())  # two requests of one id are refused before anything is asked
    tab = current_tab()
    visit = _Visit(teacher, check, repair, tab.cache if tab else None)
    groups = [[request] for request in requests] if visit.alone else [list(requests)]
    start = time.monotonic()
    try:
        # All are heard out before an error is raised: what they answered is paid for, and kept.
        ended = await asyncio.gather(*map(visit.serve, groups), return_exceptions=True)
    finally:
        if tab is not None:
            tab.add(visit.bill(time.monotonic() - start))
    for error in ended:
        if isinstance(error, BaseException):
            raise error
    return visit.in_order(requests)


class _Visit:
    """One call of `ask`: its requests in groups that the teacher answers apart."""

    def __init__(
        self, teacher: Teacher, check: Check | None, repair: bool, cache: ReplyCache | None
    ) -> None:
        self.teacher = teacher
        self.alone = bool(getattr(teacher, "one_by_one", False))
        self.check = check
        self.repair = repair
        self.cache = cache
        self.answers = Answers()
        self.cached = self.repaired = self.retries = 0
        self.error = ""
        self.identity = teacher.settings.identity() if cache is not None else {}

    async def serve(self, group: list[Request]) -> None:
        """Recall, ask, repair and remember; every request ends in `answers`."""
        keys = await self._recall(group)
        left = [request for request in group if request.id not in self.answers.found]
        refused = await self._round(left, {}, keys)
        if self.repair and refused:
            originals = {request.id: request for request in left}
            second = {f"{name}~repair": name for name in refused}
            if second.keys() & {request.id for request in group}:
                raise ReplyMismatch("a request's id ends in ~repair", cure="choose other ids")
            repairs = [_repair(originals[n], refused[n], attempt) for attempt, n in second.items()]
            refused = await self._round(repairs, second, keys)
        self.answers.rejected.update((name, found.reason) for name, found in refused.items())

    def bill(self, seconds: float) -> Bill:
        answers, usage = self.answers, self.answers.usage
        return Bill(
            teacher=self.teacher.identity.name,
            requests=len(answers.found) + len(answers.rejected),
            cached=self.cached,
            repaired=self.repaired,
            rejected=len(answers.rejected),
            retries=self.retries,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            seconds=seconds,
            cost=self._cost(usage),
            error=self.error,
        )

    def _cost(self, usage: Usage) -> float:
        if current_tab() is None:
            return 0.0
        return self.teacher.settings.prices.of(usage.prompt_tokens, usage.completion_tokens)

    def in_order(self, requests: Sequence[Request]) -> Answers:
        """The answers in the order of the requests, however they came."""
        found, rejected = self.answers.found, self.answers.rejected
        names = [request.id for request in requests]
        return replace(
            self.answers,
            found={name: found[name] for name in names if name in found},
            rejected={name: rejected[name] for name in names if name in rejected},
        )

    async def _round(
        self, requests: list[Request], originals: dict[str, str], keys: dict[str, str]
    ) -> dict[str, Refused]:
        """Ask once and note what is right; returns what is not. `originals` names the requests
        that others are repairs of.
        """
        if not requests:
            return {}
        if not self.alone:
            await afford()
        matched = match(requests, await self.teacher.ask(requests))
        self.answers.foreign += matched.foreign
        refused: dict[str, Refused] = {}
        for request in requests:
            name = originals.get(request.id, request.id)
            reply = matched.replies.get(request.id)
            if reply is None:
                refused[name] = Refused(matched.rejected[request.id], "")
                continue
            self.answers.usage += reply.usage
            if not self.alone:
                await pay(reply.usage.tokens, self._cost(reply.usage))
            self.retries += reply.tries - 1
            self.error = reply.error or self.error
            try:
                value = self._value(name, reply, request.schema)
            except Refused as refusal:
                refused[name] = refusal
                continue
            repaired = bool(originals)
            self.repaired += repaired
            self.answers.found[name] = Answer(value, repaired)
            if self.cache is not None:
                entry = Remembered(reply.text, repaired, reply.usage).to_bytes()
                await asyncio.to_thread(self.cache.put, keys[name], entry)
        return refused

    async def _recall(self, group: list[Request]) -> dict[str, str]:
        """Take what the cache knows; returns the key of each request."""
        cache = self.cache
        if cache is None:
            return {}
        keys = {request.id: reply_key(self.identity, request) for request in group}
        found = await asyncio.gather(*(asyncio.to_thread(cache.get, k) for k in keys.values()))
        for request, data in zip(group, found, strict=True):
            known = Remembered.from_bytes(data) if data is not None else None
            if known is None:
                continue
            try:
                value = self._value(request.id, Reply(request.id, known.text), request.schema)
            except Refused:
                continue  # the contract has changed since
            self.answers.found[request.id] = Answer(value, known.repaired)
            self.cached += 1
        return keys

    def _value(self, name: str, reply: Reply, schema: dict[str, Any] | None) -> Any:
        value = read(reply, schema)
        complaint = self.check(name, value) if self.check else None
        if complaint:
            raise Refused("off_contract", complaint)
        return value


def mark_rejected(segment: Segment, role: str, reason: str) -> None:
    """Leave the countable mark of a rejection on a segment, see the module's docstring."""
    segment.labels[f"rejected_{role}"] = reason


def _repair(request: Request, refused: Refused, attempt: str) -> Request:
    if not refused.complaint:  # nothing wrong was said, it only did not arrive
        return replace(request, id=attempt)
    prompt = load_prompt(REPAIR).render(request=request.prompt, complaint=refused.complaint)
    return replace(request, id=attempt, prompt=prompt)
