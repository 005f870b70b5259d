"""Judging samples, within the chain of decisions: which questions are kept, and what that costs.

The state of one chain over the samples of a layer. A decision about samples sees those of segments
kept so far that no earlier one refused, so every sample has one reason, as segments have.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from clipmill.pipeline.output.tables import read_table
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import AccountingError
from clipmill.stages.sample_decision import SAMPLE_SCHEMA, SampleDecision

SAMPLE_VERDICT_SCHEMA = SAMPLE_SCHEMA.append(pa.field("decision", pa.string()))
"""`decision` names what dropped the sample, null where it is kept."""

Owner = tuple[str, str]
"""Video and segment."""


@dataclass
class SampleChain:
    """Samples under judgement. `table` is all of the output's, `reason` and `by` one per row."""

    store: Store
    table: pa.Table | None = None
    owners: list[Owner] = field(default_factory=list)
    reason: list[str | None] = field(default_factory=list)
    by: list[str | None] = field(default_factory=list)
    judged: set[int] = field(default_factory=set)

    def judge(self, decision: SampleDecision[Any], kept: Collection[Owner]) -> pa.Table:
        """The decision's rows over the samples of the kept segments, which it is held to."""
        if self.table is None:
            self.table = read_table(self.store, "samples")
            self.owners = _owners(self.table)
            self.reason = [None] * len(self.owners)
            self.by = [None] * len(self.owners)
        left = [
            row
            for row, owner in enumerate(self.owners)
            if owner in kept and self.reason[row] is None
        ]
        shown = self.table.take(pa.array(left, pa.int64()))
        rows = checked(decision, shown)
        self.judged.update(left)
        for row, why in zip(left, rows["reason"].to_pylist(), strict=True):
            if why is not None:
                self.reason[row], self.by[row] = why, decision.name()
        return rows

    def bare(self, kept: Collection[Owner]) -> set[Owner]:
        """The segments among these that have no sample left."""
        alive = {o for o, why in zip(self.owners, self.reason, strict=True) if why is None}
        return set(kept) - alive

    def verdicts(self) -> pa.Table:
        """One row for every sample that was judged."""
        if self.table is None:
            return SAMPLE_VERDICT_SCHEMA.empty_table()
        rows = sorted(self.judged)
        own = self.table.select(["video", "segment", "id"]).take(pa.array(rows, pa.int64()))
        reason = [self.reason[row] for row in rows]
        keep = [why is None for why in reason]
        by = [self.by[row] for row in rows]
        return pa.table([*own.columns, keep, reason, by], schema=SAMPLE_VERDICT_SCHEMA)


def checked(decision: SampleDecision[Any], samples: pa.Table) -> pa.Table:
    """The decision's rows, once they are known to answer exactly what was asked."""
    rows = decision.decide(samples)

    def refuse(what: str) -> AccountingError:
        return AccountingError(
            f"the decision {what}", stage=decision.name(), cure="correct its decide()"
        )

    missing = set(SAMPLE_SCHEMA.names) - set(rows.column_names)
    if missing:
        raise refuse(f"returned no column {', '.join(sorted(missing))}")
    rows = rows.select(SAMPLE_SCHEMA.names).cast(SAMPLE_SCHEMA)
    if rows.select(["video", "segment", "sample"]).rename_columns(["video", "segment", "id"]) != (
        samples.select(["video", "segment", "id"])
    ):
        raise refuse(f"answered other samples than the {len(samples)} it was shown")
    keeps, reasons = rows["keep"].to_pylist(), rows["reason"].to_pylist()
    if any(keep is None for keep in keeps):
        raise refuse("left a sample undecided")
    if any(keep != (why is None) for keep, why in zip(keeps, reasons, strict=True)):
        raise refuse("kept with a reason, or dropped without one")
    return rows


def refused(verdicts: pa.Table) -> dict[Owner, set[str]]:
    """(video, segment) -> ids of its samples that are not kept."""
    found: dict[Owner, set[str]] = {}
    dropped = verdicts.filter(pc.invert(verdicts["keep"]))
    for owner, sample in zip(_owners(dropped), dropped["sample"].to_pylist(), strict=True):
        found.setdefault(owner, set()).add(sample)
    return found


def _owners(table: pa.Table) -> list[Owner]:
    return list(zip(table["video"].to_pylist(), table["segment"].to_pylist(), strict=True))
