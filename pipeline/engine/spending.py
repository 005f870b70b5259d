"""What a run uses (time by stage; tokens and money by teacher) and the budget that ends it.

The budget is taken from reply by reply, by all workers from one purse, so a run stops with less
than one request on top for every request that may be under way at a time (in a model of the actor's
own: for every part). It counts one run: the next run of the
same command has the budget again and begins where this one stopped, and replies that were paid for
are in the cache. The ledger of each run stays in the output as `usage/<run>.json`, written as the
run goes on, so that a run that was killed is on the account too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from threading import Lock
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from clipmill.pipeline.engine.parcel import Lap
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import BudgetSpent
from clipmill.stages.models.tab import Bill


class Budget(BaseModel):
    """What the teachers of one run may use; nothing written is no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    tokens: int | None = Field(default=None, ge=1)
    """Tokens read and written, all teachers together."""
    cost: float | None = Field(default=None, gt=0)
    """Money, in the currency of the teachers' `prices`."""

    @property
    def limited(self) -> bool:
        return self.tokens is not None or self.cost is not None

    def spent(self, tokens: int, cost: float) -> bool:
        return (self.tokens is not None and tokens >= self.tokens) or (
            self.cost is not None and cost >= self.cost
        )


class OnePurse:
    """A purse for workers of one process."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.tokens = 0
        self.cost = 0.0
        self._lock = Lock()

    def spend(self, tokens: int, cost: float) -> bool:
        with self._lock:
            self.tokens += tokens
            self.cost += cost
            return not self.budget.spent(self.tokens, self.cost)


@dataclass(frozen=True, slots=True)
class Work:
    """What one stage has done. Seconds are those of its workers; side by side they count each."""

    parts: int = 0
    segments: int = 0
    seconds: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.parts + other.parts, self.segments + other.segments, self.seconds + other.seconds
        )


@dataclass(slots=True)
class Spending:
    """The work of a run so far by stage, and its bills by stage and teacher."""

    work: dict[str, Work] = field(default_factory=dict)
    bills: dict[tuple[str, str], Bill] = field(default_factory=dict)

    @staticmethod
    def of(store: Store) -> Spending:
        """What all runs into an output have used together."""
        found = Spending()
        for item in store.list("usage/"):
            kept = json.loads(store.get(item.key))
            if isinstance(kept, list):  # as written before work was counted: bills alone
                kept = {"work": {}, "teachers": kept}
            for stage, done in kept["work"].items():
                found._did(stage, Work(**done))
            for row in kept["teachers"]:
                found._asked(row.pop("stage"), Bill(**row))
        return found

    def add(self, laps: Iterable[Lap]) -> None:
        for lap in laps:
            self._did(lap.stage, Work(1, lap.segments, lap.end - lap.start))
            for bill in lap.bills:
                self._asked(lap.stage, bill)

    def _did(self, stage: str, done: Work) -> None:
        self.work[stage] = self.work.get(stage, Work()) + done

    def _asked(self, stage: str, bill: Bill) -> None:
        key = (stage, bill.teacher)
        self.bills[key] = self.bills[key] + bill if key in self.bills else bill

    @property
    def tokens(self) -> int:
        return sum(bill.tokens for bill in self.bills.values())

    @property
    def cost(self) -> float:
        return sum(bill.cost for bill in self.bills.values())

    def rows(self) -> list[dict[str, str | int | float]]:
        """One row per stage and teacher, for summaries and files."""
        return [{"stage": stage, **asdict(bill)} for (stage, _), bill in sorted(self.bills.items())]

    def keep(self, store: Store, run: str) -> None:
        """Write the ledger of this run, over what was written of it before."""
        if self.work:
            work = {stage: asdict(done) for stage, done in self.work.items()}
            kept = json.dumps({"work": work, "teachers": self.rows()}, indent=1)
            store.put(f"usage/{run}.json", kept.encode())

    def exhausted(self, budget: Budget, done: int, total: int) -> BudgetSpent:
        limits = [f"{budget.tokens:,} tokens"] if budget.tokens is not None else []
        limits += [f"{budget.cost:g} in money"] if budget.cost is not None else []
        return BudgetSpent(
            f"the budget of {' or '.join(limits)} is spent; "
            f"{done} of {total} inputs are done, and nothing is packed",
            cure="run the same command again to go on with a fresh budget, or raise engine.budget",
        )


def in_words(row: Mapping[str, Any]) -> list[str]:
    """A bill for people to read; what is nothing is left out."""
    named = ("cached", "repaired", "rejected", "retries")
    parts = [f"{row['requests']} requests", *(f"{row[name]} {name}" for name in named if row[name])]
    parts.append(f"{row['prompt_tokens']} + {row['completion_tokens']} tokens")
    if row["cost"]:
        parts.append(f"cost {row['cost']:.4g}")
    return parts
