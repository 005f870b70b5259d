"""The account: every input and every clip in exactly one counted state, or the run has failed.

An input is `packed` when at least one of its clips is in a shard, `failed` or `quarantined` when it
ended that way before any was, and `dropped` when the recipe kept none of its clips. A clip of the
packed layer is `packed`, `dropped` for one reason, or `failed` with its part or at its cut. Clips
of a video that failed before it was split are not known and so not counted.

The account is written as `inputs.parquet`, one row per input ever given to the output.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, fields
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq

from clipmill.pipeline.engine.events import Summary
from clipmill.pipeline.engine.ledger import Entry, Ledger
from clipmill.pipeline.engine.parcel import divide
from clipmill.pipeline.output.decide import Verdicts
from clipmill.pipeline.output.pack import PackManifest, read_failures
from clipmill.pipeline.output.tables import to_parquet
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import AccountingError
from clipmill.schemas.records import Failure, State, Video
from clipmill.schemas.shards import video_key

INPUTS = "inputs.parquet"


@dataclass(slots=True)
class InputState:
    """How one input ended. `kind`, `stage` and `message` say why it did not come through."""

    video: str
    source: str
    state: State
    packed: int = 0
    dropped: int = 0
    failed: int = 0
    damaged: bool = False
    kind: str | None = None
    stage: str | None = None
    message: str | None = None


def account(
    ledger: Ledger,
    videos: list[Video],
    verdicts: Verdicts,
    manifest: PackManifest,
    max_segments: int,
) -> Summary:
    """The summary of a run over `videos`, and its rows written to the store.

    Raises AccountingError, naming the input, where one has no state.
    """
    entries = ledger.scan()
    kept: Counter[str] = Counter()
    dropped: dict[str, Counter[str]] = defaultdict(Counter)  # video -> reason -> clips
    for row in verdicts.table.to_pylist():
        if row["keep"]:
            kept[row["video"]] += 1
        else:
            dropped[row["video"]][f"{row['decision']}: {row['reason']}"] += 1
    uncut = _uncut(ledger.store)
    states = [
        _state(ledger, video, entries, kept, dropped, uncut, verdicts.layer, max_segments)
        for video in videos
    ]
    packed = sum(state.packed for state in _merged(ledger.store, states))
    if packed != manifest.clips:
        raise AccountingError(
            f"the shards hold {manifest.clips} clips, the inputs account for {packed}",
            cure="`clipmill verify` tells which; if it stays, report it",
        )
    clips = {
        name: sum(getattr(s, name) for s in states) for name in ("packed", "dropped", "failed")
    }
    reasons: Counter[str] = Counter()
    for video in videos:
        reasons.update(dropped[video.id])
    return Summary(
        out=ledger.store.uri,
        inputs=dict(sorted(Counter(state.state for state in states).items())),
        clips={name: count for name, count in clips.items() if count},
        dropped=dict(reasons.most_common()),
        failed=dict(
            Counter(
                state.kind or "" for state in states if state.state in ("failed", "quarantined")
            ).most_common()
        ),
        damaged=sum(state.damaged for state in states),
        shards=len(manifest.shards),
        shard_bytes=sum(shard.size for shard in manifest.shards),
    )


def read_inputs(store: Store) -> Iterator[InputState]:
    """The account as it was last written."""
    data = store.find(INPUTS)
    if data is not None:
        for row in pq.read_table(BytesIO(data)).to_pylist():
            yield InputState(**row)


def _state(
    ledger: Ledger,
    video: Video,
    entries: dict[str, Entry],
    kept: Counter[str],
    dropped: dict[str, Counter[str]],
    uncut: dict[str, list[Failure]],
    layer: str,
    max_segments: int,
) -> InputState:
    key = video_key(video.id)
    entry = entries.get(key, Entry())
    if not entry.complete:
        raise AccountingError(
            f"input {video.id!r} has no final state",
            cure="run again; if it stays, report it with the output's `units` folder",
            input=video.id,
        )
    header = ledger.header(key)
    failures = list(ledger.failures(key).items()) if entry.failed or entry.failed_video else []
    lost = _lost(header, [index for index, _ in failures], layer, max_segments)
    not_cut = uncut.get(video.id, [])
    state = InputState(
        video.id,
        video.source,
        "dropped",
        packed=kept[video.id] - len(not_cut),
        dropped=dropped[video.id].total(),
        failed=lost + len(not_cut),
        damaged=bool(header and header.probe and header.probe.damaged),
    )
    reason = next((failure for _, failure in failures), None) or next(iter(not_cut), None)
    if reason is not None:
        state.kind, state.stage, state.message = reason.kind, reason.stage, reason.message
    if state.packed:
        state.state = "packed"
    elif reason is not None:
        state.state = reason.state
    return state


def _lost(header: Video | None, indices: list[int | None], layer: str, max_segments: int) -> int:
    """Clips of the packed layer in parts that failed."""
    if header is None:
        return 0
    parts = divide(header, max_segments)
    return sum(len(parts[index].video.layer(layer)) for index in indices if index is not None)


def _uncut(store: Store) -> dict[str, list[Failure]]:
    found: dict[str, list[Failure]] = {}
    for lost in read_failures(store):
        failure = Failure("failed", lost.kind, "cut_clip", lost.message)
        found.setdefault(lost.video, []).append(failure)
    return found


def _merged(store: Store, states: list[InputState]) -> list[InputState]:
    """Write these rows beside those of inputs given in earlier runs; returns all of them."""
    rows = {state.video: state for state in read_inputs(store)}
    rows.update({state.video: state for state in states})
    merged = [rows[name] for name in sorted(rows)]
    columns = {f.name: [getattr(state, f.name) for state in merged] for f in fields(InputState)}
    types = {"packed": pa.int64(), "dropped": pa.int64(), "failed": pa.int64()}
    types["damaged"] = pa.bool_()
    table = pa.table(
        {name: pa.array(values, types.get(name, pa.string())) for name, values in columns.items()}
    )
    store.put(INPUTS, to_parquet(table))
    return merged
