"""Deciding: a chain of decisions over one layer, each written as a table beside the records.

    decisions/<name>-<fingerprint>.parquet      one decision's rows
    decisions/verdicts-<fingerprint>.parquet    the chain's outcome for every segment of the layer
    decisions/samples-<fingerprint>.parquet     likewise for samples, where any were judged
    decisions/current.json                      which outcome is current; put last

A decision sees only what those before it kept. So a near-duplicate that a filter dropped cannot
push out its good twin, and every segment has exactly one reason: that of the decision that dropped
it. The price is that the order of the list matters and the fingerprint of a decision covers those
before it. Nothing here changes a record; deciding again is reading columns.

Labels that a decision gives (topics found over all clips) are columns of its own table and of what
later decisions see. They belong to this outcome and not to the clip: with more clips there are
other topics.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clipmill.pipeline.output.decide_samples import SAMPLE_VERDICT_SCHEMA, SampleChain, refused
from clipmill.pipeline.output.tables import manifest, read_table, to_parquet
from clipmill.pipeline.store.lease import Fence
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import AccountingError, ModelError, StoreError
from clipmill.schemas.fingerprints import fingerprint, short
from clipmill.stages.decision import DECISION_SCHEMA, Decision
from clipmill.stages.sample_decision import BARE, SampleDecision

CURRENT = "decisions/current.json"

VERDICT_SCHEMA = DECISION_SCHEMA.append(pa.field("decision", pa.string()))
"""`decision` names what dropped the segment, null where it is kept."""


@dataclass(frozen=True)
class Verdicts:
    """What is kept of a layer, and why the rest is not; one row per segment in `table`.

    `samples` has a row for every sample that a decision judged; all others are kept.
    """

    layer: str
    generation: str  # of the tables that were judged
    fingerprint: str
    table: pa.Table
    samples: pa.Table = field(default_factory=SAMPLE_VERDICT_SCHEMA.empty_table)

    @property
    def kept(self) -> int:
        return int(pc.sum(self.table["keep"]).as_py() or 0)

    @property
    def reasons(self) -> Counter[tuple[str, str]]:
        """(decision, reason) -> segments dropped for it."""
        return _reasons(self.table)

    @property
    def sample_reasons(self) -> Counter[tuple[str, str]]:
        """(decision, reason) -> samples dropped for it."""
        return _reasons(self.samples)

    def refused_samples(self) -> dict[tuple[str, str], set[str]]:
        """(video, segment) -> ids of its samples that are not kept."""
        return refused(self.samples)

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
    samples = SampleChain(store)
    for decision in decisions:
        chain = fingerprint(decision.fingerprint(), chain)
        if isinstance(decision, SampleDecision):
            owners = _pairs(segments, left)
            rows = samples.judge(decision, owners.keys())
            _put(store, f"decisions/{decision.name()}-{short(chain)}.parquet", rows, fence)
            for owner in samples.bare(owners.keys()) if decision.settings.bare == "drop" else ():
                index = owners.pop(owner)
                keep[index], reason[index], by[index] = False, BARE, decision.name()
            left = sorted(owners.values())
            continue
        judged = _with_vectors(store, segments.take(pa.array(left, pa.int64())), decision)
        rows = _checked(decision, judged)
        _put(store, f"decisions/{decision.name()}-{short(chain)}.parquet", rows, fence)
        for name in rows.column_names[len(DECISION_SCHEMA) :]:
            given = dict(zip(left, rows[name].to_pylist(), strict=True))
            values = pa.array([given.get(index) for index in range(count)], pa.string())
            segments = segments.append_column(name, values)
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
    judged_samples = samples.verdicts()
    if len(judged_samples):
        _put(store, _samples_key(chain), judged_samples, fence)
    pointer = {"layer": layer, "generation": current.generation, "fingerprint": chain}
    store.put(CURRENT, json.dumps(pointer, sort_keys=True).encode())
    return Verdicts(layer, current.generation, chain, table, judged_samples)


def read_verdicts(store: Store) -> Verdicts | None:
    """The current outcome, None before the first decision."""
    data = store.find(CURRENT)
    if data is None:
        return None
    try:
        pointer = json.loads(data)
        layer, generation, chain = (pointer[k] for k in ("layer", "generation", "fingerprint"))
        table = pq.read_table(BytesIO(store.get(_verdicts_key(chain)))).cast(VERDICT_SCHEMA)
        samples = read_sample_verdicts(store, chain)
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{store.uri}/{CURRENT} names no outcome", cure="run the recipe again; it is rebuilt"
        ) from error
    return Verdicts(layer, generation, chain, table, samples)


def read_sample_verdicts(store: Store, chain: str) -> pa.Table:
    """What an outcome says about samples, no rows where it judged none."""
    data = store.find(_samples_key(chain))
    if data is None:
        return SAMPLE_VERDICT_SCHEMA.empty_table()
    return pq.read_table(BytesIO(data)).cast(SAMPLE_VERDICT_SCHEMA)


def _with_vectors(store: Store, segments: pa.Table, decision: Decision[Any]) -> pa.Table:
    """The segments with a column `embedding_<name>` for every embedding that a decision reads."""
    for token in sorted(decision.reads()):
        family, _, name = token.partition(":")
        if family != "embeddings":
            continue
        table = read_table(store, "embeddings")
        table = table.filter(pc.equal(table["name"], name)).sort_by("place")
        models = table["model"].unique().to_pylist()
        lengths = pc.list_value_length(table["vector"]).unique().to_pylist()
        if len(models) > 1 or len(lengths) > 1:
            raise ModelError(
                f"embedding {name!r} was made by {', '.join(map(repr, sorted(models)))}: vectors of"
                " several models or lengths do not compare",
                cure="run again with one encoder for all inputs",
                stage=decision.name(),
            )
        owners = zip(table["video"].to_pylist(), table["segment"].to_pylist(), strict=True)
        place = {owner: row for row, owner in enumerate(owners)}  # the last written counts
        own = zip(segments["video"].to_pylist(), segments["segment"].to_pylist(), strict=True)
        rows = pa.array([place.get(owner) for owner in own], pa.int64())
        kind = pa.list_(pa.float32(), *lengths)
        field = pa.field(f"embedding_{name}", kind, metadata={"model": "".join(models)})
        segments = segments.append_column(field, table["vector"].cast(kind).take(rows))
    return segments


def _checked(decision: Decision[Any], segments: pa.Table) -> pa.Table:
    """The decision's rows, once they are known to answer exactly what was asked."""
    rows = decision.decide(segments)

    def refuse(what: str) -> AccountingError:
        return AccountingError(
            f"the decision {what}", stage=decision.name(), cure="correct its decide()"
        )

    labels = [f"label_{token.partition(':')[2]}" for token in sorted(decision.adds())]
    missing = {*DECISION_SCHEMA.names, *labels} - set(rows.column_names)
    if missing:
        raise refuse(f"returned no column {', '.join(sorted(missing))}")
    if len(rows) != len(segments):
        raise refuse(f"returned {len(rows)} rows for {len(segments)} segments")
    schema = pa.schema([*DECISION_SCHEMA, *(pa.field(name, pa.string()) for name in labels)])
    rows = rows.select(schema.names).cast(schema)
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


def _samples_key(chain: str) -> str:
    return f"decisions/samples-{short(chain)}.parquet"


def _reasons(verdicts: pa.Table) -> Counter[tuple[str, str]]:
    dropped = verdicts.filter(pc.invert(verdicts["keep"]))
    return Counter(zip(dropped["decision"].to_pylist(), dropped["reason"].to_pylist(), strict=True))


def _pairs(segments: pa.Table, rows: Sequence[int]) -> dict[tuple[str, str], int]:
    """(video, segment) -> row of the segments table, for these rows."""
    videos, names = segments["video"].to_pylist(), segments["segment"].to_pylist()
    return {(videos[row], names[row]): row for row in rows}
