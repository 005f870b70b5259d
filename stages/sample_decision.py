"""Decisions about single samples: which questions of a clip are kept, and why others are not.

A clip has many questions, and dropping it for one that leaks would cost all others. So there are
decisions that judge rows of the samples table; the records stay as they are, what is refused is
only left out of the shards. A clip that loses all its samples may go with them, if the decision
says so: then it has the reason that nothing is left of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import pyarrow as pa
from pydantic import Field

from clipmill.schemas.fingerprints import fingerprint
from clipmill.stages.decision import DECISION_SCHEMA, Decision
from clipmill.stages.stage import StageSettings

SAMPLE_SCHEMA = DECISION_SCHEMA.insert(2, pa.field("sample", pa.string()))
"""What such a decision returns: `sample` is the id of a sample within its segment."""

BARE = "no sample left"
"""Why a segment goes that lost all its samples."""


class SampleSettings(StageSettings):
    """Base class of the settings of decisions about samples."""

    kind: str = Field(default="qa", pattern=r"^[a-z0-9_]+$")
    """Kind of the samples that are judged; others are kept."""
    bare: Literal["keep", "drop"] = "keep"
    """What becomes of a clip without a sample left."""


S = TypeVar("S", bound=SampleSettings)


class SampleDecision(Decision[S]):
    """Base class of decisions about samples: `class FilterSamples(SampleDecision[Settings])`."""

    def reads(self) -> frozenset[str]:
        return frozenset({f"samples:{self.settings.kind}"})

    def decide(self, samples: pa.Table) -> pa.Table:
        """One row of `SAMPLE_SCHEMA` per row of `samples`, in the same order.

        `samples` is the flat table: `video`, `segment`, `id`, `kind`, `question`, `answer`,
        `options`, `evidence`, `labels`, ... of the segments and samples kept so far.
        """
        raise TypeError(f"{type(self).__qualname__} must implement decide()")


def sample_rows(samples: pa.Table, reasons: list[str | None]) -> pa.Table:
    """The decision's table from one reason per row, None where the sample is kept."""
    return pa.table(
        {
            "video": samples.column("video"),
            "segment": samples.column("segment"),
            "sample": samples.column("id"),
            "keep": [reason is None for reason in reasons],
            "reason": pa.array(reasons, pa.string()),
        },
        schema=SAMPLE_SCHEMA,
    )


def numbers_of(row: Mapping[str, Any]) -> dict[str, float]:
    """What is known of a sample in numbers: labels that are one, its options, its evidence.

    `options` counts its options; `evidence_s` is the seconds of its evidence together, absent where
    it has none.
    """
    numbers: dict[str, float] = {}
    for name, text in row["labels"] or ():
        try:
            value = float(text)
        except ValueError:
            continue
        if math.isfinite(value):
            numbers[name] = value
    numbers["options"] = float(len(row["options"] or ()))
    if spans := row["evidence"]:
        numbers["evidence_s"] = sum(
            (span["end"] - span["start"]) * span["clock"]["num"] / span["clock"]["den"]
            for span in spans
        )
    return numbers


def drawn(row: Mapping[str, Any], seed: int) -> str:
    """What orders samples by lot: it follows from the names of video, segment and sample, not from
    the order of rows or the number of workers."""
    return fingerprint(row["video"], row["segment"], row["id"], seed)
