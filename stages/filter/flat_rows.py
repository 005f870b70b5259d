"""The flat table as decisions read it and answer it: columns, vectors, the order of the best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from clipmill.stages.decision import DECISION_SCHEMA
from clipmill.stages.models.encoder import Vectors

Order = Literal["highest", "lowest"]


def column(segments: pa.Table, name: str) -> list[Any]:
    """A column's values by row; None where not computed, also where no row at all has it."""
    if name not in segments.column_names:
        return [None] * segments.num_rows
    return list(segments.column(name).to_pylist())


def answer(segments: pa.Table, reasons: Sequence[str | None]) -> pa.Table:
    """The rows of a decision: kept where there is no reason against it."""
    return pa.table(
        {
            "video": segments.column("video"),
            "segment": segments.column("segment"),
            "keep": [reason is None for reason in reasons],
            "reason": pa.array(reasons, pa.string()),
        },
        schema=DECISION_SCHEMA,
    )


def vectors(segments: pa.Table, name: str) -> tuple[list[int], Vectors]:
    """Rows that have the embedding, in order, and their vectors at unit length, [n, d]."""
    found = segments.column(f"embedding_{name}").combine_chunks()
    rows = np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False))
    flat = found.drop_null().flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    own = flat.reshape(len(rows), -1) if len(rows) else flat.reshape(0, 0)
    lengths = np.linalg.norm(own, axis=1, keepdims=True)
    return rows.tolist(), own / np.maximum(lengths, np.finfo(np.float32).tiny)


def ranked(segments: pa.Table, by: str, order: Order) -> list[int]:
    """Rows from the best down, whatever their order; an empty `by` goes by name alone.

    Clips of equal score go by the names of video and segment, those without the score come last.
    """
    videos = segments.column("video").to_pylist()
    names = segments.column("segment").to_pylist()
    scores = column(segments, f"score_{by}")
    sign = -1.0 if order == "highest" else 1.0

    def rank(row: int) -> tuple[bool, float, str, str]:
        score: Any = scores[row]
        known = score is not None and score == score
        return not known, sign * score if known else 0.0, videos[row], names[row]

    return sorted(range(segments.num_rows), key=rank)
