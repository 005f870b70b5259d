"""What a part's questions to teachers cost, who pays, and where replies to them are remembered.

The engine opens a tab around each stage's work on a part, and `contract.ask` writes on it. It is
found through the context of the task and not handed from hand to hand, so that no stage can forget
to pass it on: what is asked is counted, and a reply that was paid for is kept, whoever asks.
Without an engine (a notebook, a test) there is no tab, and nothing is counted or kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from typing import Protocol

from clipmill.schemas.errors import BudgetSpent
from clipmill.stages.models.reply_cache import ReplyCache
from clipmill.stages.models.teacher import Reply, Request, TeacherSettings


@dataclass(frozen=True, slots=True)
class Bill:
    """What one teacher was asked. `cost` is in the currency of the recipe's prices."""

    teacher: str = ""
    requests: int = 0  # questions answered or rejected, however often each had to be sent
    cached: int = 0  # of them answered from the cache, at no cost
    repaired: int = 0  # of them answered at the second asking
    rejected: int = 0  # of them without a reply that keeps its contract
    retries: int = 0  # times a request was sent again because the server failed
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0  # waiting for replies; those who wait side by side count each
    cost: float = 0.0
    error: str = ""  # what the teacher last said of a request that it could not answer

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Bill) -> Bill:
        """The sum of two bills of the same teacher."""
        sums = {
            f.name: getattr(self, f.name) + getattr(other, f.name)
            for f in fields(self)
            if f.name not in ("teacher", "error")
        }
        return replace(self, **sums, error=other.error or self.error)


class Purse(Protocol):
    """What all workers of a run may spend together. Called from several threads at once."""

    def spend(self, tokens: int, cost: float) -> bool:
        """Take from it; whether anything is left."""


@dataclass(slots=True)
class Tab:
    """Bills by teacher, the cache and the purse; shared by all tasks of one part's work."""

    cache: ReplyCache | None = None
    purse: Purse | None = None
    bills: dict[str, Bill] = field(default_factory=dict)

    def add(self, bill: Bill) -> None:
        known = self.bills.get(bill.teacher)
        self.bills[bill.teacher] = known + bill if known else bill


_TAB: ContextVar[Tab | None] = ContextVar("tab", default=None)


@contextmanager
def open_tab(cache: ReplyCache | None = None, purse: Purse | None = None) -> Iterator[Tab]:
    """While the block lasts, what it and its tasks ask of teachers goes on this tab."""
    tab = Tab(cache, purse)
    token = _TAB.set(tab)
    try:
        yield tab
    finally:
        _TAB.reset(token)


def current_tab() -> Tab | None:
    """The tab of the work going on; None where nobody keeps one."""
    return _TAB.get()


async def afford() -> None:
    """Raises BudgetSpent where nothing is left to spend. Asked before every request."""
    tab = _TAB.get()
    if tab is None or tab.purse is None:
        return
    if not await asyncio.to_thread(tab.purse.spend, 0, 0.0):
        raise BudgetSpent("the budget is spent", cure="raise engine.budget")


async def pay(tokens: int, cost: float) -> None:
    """Take what a reply has cost from the purse."""
    tab = _TAB.get()
    if tab is not None and tab.purse is not None:
        await asyncio.to_thread(tab.purse.spend, tokens, cost)


class Turns:
    """So many requests of a teacher at a time, the others in line.

    A turn begins with a look into the purse and is given away when its reply is paid for. So
    whoever may ask has seen the price of all that was answered before, and a budget is passed by
    less than one request for every turn there is, however long the line.
    """

    def __init__(self, most: int, settings: TeacherSettings) -> None:
        self._free = asyncio.Semaphore(most)
        self._prices = settings.prices

    async def take(self, answer: Callable[[Request], Awaitable[Reply]], request: Request) -> Reply:
        """The reply to a request, when its turn has come. Raises BudgetSpent, and what `answer`
        raises."""
        async with self._free:
            await afford()
            reply = await answer(request)
            used = reply.usage
            cost = self._prices.of(used.prompt_tokens, used.completion_tokens)
            await pay(used.tokens, cost)
            return reply
