"""Deciding: a chain of decisions over one layer, each written as a table beside the records.

    decisions/<name>-<fingerprint>.parquet      one decision's rows
    decisions/verdicts-<fingerprint>.parquet    the chain's outcome for every segment of the layer
    decisions/current.json                      which outcome is current; put last

A decision sees only what those before it kept. So a near-duplicate that a filter dropped cannot
push out its good twin, and every segment has exactly one reason: that of the decision that dropped
it. The price is that the order of the list matters and the fingerprint of a decision covers those
before it. Nothing here changes a record; deciding again is reading columns.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clipmill.pipeline.output.tables import manifest, read_table, to_parquet
from clipmill.pipeline.store.lease import Fence
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import AccountingError, StoreError
from clipmill.schemas.fingerprints import fingerprint, short
from clipmill.stages.decision import DECISION_SCHEMA, Decision

CURRENT = "decisions/current.json"

VERDICT_SCHEMA = DECISION_SCHEMA.append(pa.field("decision", pa.string()))
"""`decision` names what dropped the segment, null where it is kept."""


@dataclass(frozen=True)
class Verdicts:
    """What is kept of a layer, and why the rest is not; one row per segment in `table`."""

    layer: str
    generation: str  # of the tables that were judged
    fingerprint: str
    table: pa.Table

    @property
    def kept(self) -> int:
        return int(pc.sum(self.table["keep"]).as_py() or 0)

    @property
    def reasons(self) -> Counter[tuple[str, str]]:
        """(decision, reason) -> segments dropped for it."""
        dropped = self.table.filter(pc.invert(self.table["keep"]))
        return Counter(
            zip(dropped["decision"].to_pylist(), dropped["reason"].to_pylist(), strict=True)
        )

    def kept_ids(self) -> dict[str, set[str]]:
        """Video -> its kept segments."""
        found: dict[str, set[str]] = {}
        kept = self.table.filter(self.table["keep"])
        for video, segment in zip(
            kept["video"].to_pylist(), kept["segment"].to_pylist(), strict=True
        ):
            found.setdefault(video, set()).add(segment)
        return found


def decide(
    store: Store, decisions: Sequence[Decision[Any]], layer: str, fence: Fence | None = None
) -> Verdicts:
    """Run the chain over a layer of the current tables and make its outcome the current one.

    An empty chain keeps everything. Raises AccountingError where a decision loses, adds or swaps
    rows, or drops without a reason.
    """
    current = manifest(store)
    if current is None:
        raise StoreError(f"{store.uri} has no tables to judge", cure="annotate first: clipmill run")
    segments = read_table(store, "segments")
    segments = segments.filter(pc.equal(segments["layer"], layer))
    count = len(segments)
    keep = [True] * count
    reason: list[str | None] = [None] * count
    by: list[str | None] = [None] * count
    left = list(range(count))
    chain = fingerprint(layer, current.generation)
    for decision in decisions:
        chain = fingerprint(decision.fingerprint(), chain)
        judged = segments.take(pa.array(left, pa.int64()))
        rows = _checked(decision, judged)
        _put(store, f"decisions/{decision.name()}-{short(chain)}.parquet", rows, fence)
        verdicts = zip(left, rows["keep"].to_pylist(), rows["reason"].to_pylist(), strict=True)
        left = []
        for index, kept, why in verdicts:
            if kept:
                left.append(index)
            else:
                keep[index], reason[index], by[index] = False, why, decision.name()
    table = pa.table(
        [segments["video"], segments["segment"], keep, reason, by], schema=VERDICT_SCHEMA
    )
    _put(store, _verdicts_key(chain), table, fence)
    pointer = {"layer": layer, "generation": current.generation, "fingerprint": chain}
    store.put(CURRENT, json.dumps(pointer, sort_keys=True).encode())
    return Verdicts(layer, current.generation, chain, table)


def read_verdicts(store: Store) -> Verdicts | None:
    """The current outcome, None before the first decision."""
    data = store.find(CURRENT)
    if data is None:
        return None
    try:
        pointer = json.loads(data)
        layer, generation, chain = (pointer[k] for k in ("layer", "generation", "fingerprint"))
        table = pq.read_table(BytesIO(store.get(_verdicts_key(chain)))).cast(VERDICT_SCHEMA)
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{store.uri}/{CURRENT} names no outcome", cure="run the recipe again; it is rebuilt"
        ) from error
    return Verdicts(layer, generation, chain, table)


def _checked(decision: Decision[Any], segments: pa.Table) -> pa.Table:
    """The decision's rows, once they are known to answer exactly what was asked."""
    rows = decision.decide(segments)

    def refuse(what: str) -> AccountingError:
        return AccountingError(
            f"the decision {what}", stage=decision.name(), cure="correct its decide()"
        )

    missing = set(DECISION_SCHEMA.names) - set(rows.column_names)
    if missing:
        raise refuse(f"returned no column {', '.join(sorted(missing))}")
    if len(rows) != len(segments):
        raise refuse(f"returned {len(rows)} rows for {len(segments)} segments")
    rows = rows.select(DECISION_SCHEMA.names).cast(DECISION_SCHEMA)
    for column in ("video", "segment"):
        if rows[column].to_pylist() != segments[column].to_pylist():
            raise refuse(f"changed the order of {column}s")
    if rows["keep"].null_count:
        raise refuse("left a segment undecided")
    if not pc.all(pc.equal(rows["keep"], pc.is_null(rows["reason"])), min_count=0).as_py():
        raise refuse("kept with a reason, or dropped without one")
    return rows


def _put(store: Store, key: str, table: pa.Table, fence: Fence | None) -> None:
    if fence is not None:
        fence.check()
    store.put(key, to_parquet(table))


def _verdicts_key(chain: str) -> str:
    return f"decisions/verdicts-{short(chain)}.parquet"
