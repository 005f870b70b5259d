"""Keep the questions of a clip that a profile allows, each judged by its own labels.

`answer_qa` notes on every question who could answer it from what, `tag_leaks` what that means; the
rules of a profile, the same that judge clips, are read against these labels. A label that is a
number is judged by `min` and `max`, any other by its words. Samples of other kinds are kept or
dropped as a whole: an open question that options were made for is often no sample of the set.
"""

from __future__ import annotations

from typing import Any, Literal

import pyarrow as pa

from clipmill.schemas.profiles import Profile
from clipmill.stages.sample_decision import (
    SampleDecision,
    SampleSettings,
    numbers_of,
    sample_rows,
)

_COUNTED = {"options", "evidence_s"}  # known of every sample, no stage provides them


class Settings(SampleSettings):
    profile: Profile = Profile()
    """Rules over the samples' labels, and over `options` (how many there are) and `evidence_s`
    (seconds of evidence); in a recipe, usually the name of one under `profiles`."""
    profile_name: str = ""
    """Name of the profile, for reports."""
    others: Literal["keep", "drop"] = "keep"
    """What becomes of samples of other kinds."""


class FilterSamples(SampleDecision[Settings]):
    """Keep samples whose own labels satisfy a profile."""

    settings: Settings

    def reads(self) -> frozenset[str]:
        named = self.settings.profile.names()
        return super().reads() | {t for t in named if t.partition(":")[2] not in _COUNTED}

    def decide(self, samples: pa.Table) -> pa.Table:
        rows = samples.select(["kind", "options", "evidence", "labels"]).to_pylist()
        return sample_rows(samples, [self._reason(row) for row in rows])

    def _reason(self, row: dict[str, Any]) -> str | None:
        settings = self.settings
        if row["kind"] != settings.kind:
            return f"kind is {row['kind']}" if settings.others == "drop" else None
        return settings.profile.reason(numbers_of(row), dict(row["labels"] or ()))
