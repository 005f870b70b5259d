"""The same work as a plain loop in this process: for debugging and for tests. No Ray is imported.

A stage can be stepped through with a debugger, and a breakpoint stops everything. What only a
process of its own gives, surviving a crash or a hang outside the media sandbox, is absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from clipmill.pipeline.engine.parcel import Parcel
from clipmill.pipeline.engine.spending import OnePurse
from clipmill.pipeline.engine.worker import Job, Worker

T = TypeVar("T")
R = TypeVar("R")


class InlineEngine:
    """One parcel after the other, through every group."""

    def resources(self) -> dict[str, float]:
        return {}

    def stream(self, job: Job, parcels: list[Parcel]) -> Iterator[Parcel]:
        """Receipts, in input order."""
        workers: list[Worker] = []
        try:
            if parcels:
                purse = OnePurse(job.budget) if job.budget else None
                workers = [
                    Worker(job, number, purse=purse) for number in range(len(job.plan.groups))
                ]
            for parcel in parcels:
                yield from _through(workers, parcel)
        finally:
            for worker in workers:
                worker.close()

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """`function` over items, in order."""
        return map(function, items)

    def close(self) -> None:
        """Nothing is held."""


def _through(workers: list[Worker], parcel: Parcel) -> Iterator[Parcel]:
    if not workers:
        yield parcel
        return
    for step in workers[0].handle(parcel):
        yield from _through(workers[1:], step)
