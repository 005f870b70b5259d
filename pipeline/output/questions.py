"""An output's questions as rows for people: to judge, to mend, or to see why some were dropped.

A row has what `import_annotations` reads (`video_id`, `question`, `answer`, `options`, `start`,
`end`), so what people return, with a column for their verdict, is imported like any published set.
`key` names the sample; decision and reason stand where a decision dropped it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

from clipmill.pipeline.output.decide import read_verdicts
from clipmill.pipeline.output.tables import read_table
from clipmill.pipeline.store.store import Store
from clipmill.schemas.arrow import from_arrow
from clipmill.schemas.clocks import Span
from clipmill.schemas.shards import clip_key

State = Literal["all", "kept", "dropped"]


def questions(store: Store, state: State = "all", kind: str = "") -> Iterator[dict[str, Any]]:
    """The rows, in the order of the tables; of one kind of samples, where it is named.

    Samples of clips that were dropped are dropped for the clip's reason.
    """
    dropped = fates(store)
    for row in read_table(store, "samples").to_pylist():
        why = dropped(row)
        if kind and row["kind"] != kind:
            continue
        if state != "all" and (why is None) != (state == "kept"):
            continue
        yield _row(row) | (
            {"decision": why["decision"], "reason": why["reason"]} if why is not None else {}
        )


def fates(store: Store) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    """What dropped a row of the samples table: the verdict on it or its clip, None where kept."""
    verdicts = read_verdicts(store)
    if verdicts is None:
        return lambda row: None
    clips = {(r["video"], r["segment"]): r for r in verdicts.table.to_pylist() if not r["keep"]}
    lost = {
        (r["video"], r["segment"], r["sample"]): r
        for r in verdicts.samples.to_pylist()
        if not r["keep"]
    }

    def fate(row: dict[str, Any]) -> dict[str, Any] | None:
        owner = row["video"], row["segment"]
        return lost.get((*owner, row["id"])) or clips.get(owner)

    return fate


def _row(row: dict[str, Any]) -> dict[str, Any]:
    evidence = from_arrow(list[Span], row["evidence"] or [])
    found: dict[str, Any] = {
        "key": f"{clip_key(row['video'], row['segment'])}/{row['id']}",
        "video_id": row["video"],
        "kind": row["kind"],
        "question": row["question"],
        "answer": row["answer"],
    }
    if row["options"]:
        found["options"] = row["options"]
    if evidence:
        found["start"] = round(min(span.start_s for span in evidence), 3)
        found["end"] = round(max(span.end_s for span in evidence), 3)
    return found | {"labels": dict(sorted(dict(row["labels"] or ()).items()))}
