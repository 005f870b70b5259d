"""Bring the questions of a set to given shares of a label's values, e.g. of question types.

What is easy to ask comes out of every generator most often. The largest set that has the shares is
taken: the value that is scarcest against its share decides how many there are of all others. Which
go is drawn by a hash of video, segment and sample, so it does not depend on the order of rows or on
how many workers made them, and no question is preferred for what it says.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from math import floor
from typing import Any

import pyarrow as pa
from pydantic import Field, field_validator

from clipmill.stages.sample_decision import SampleDecision, SampleSettings, drawn, sample_rows


class Settings(SampleSettings):
    label: str = "type"
    """Label whose values are balanced."""
    shares: dict[str, float] = Field(default_factory=dict)
    """Each value's share, in any unit, e.g. `{open: 2, choice: 1}`; samples of other values are
    dropped. Empty: all values that occur, equally."""
    seed: int = 0
    """Another seed keeps other samples."""

    @field_validator("shares")
    @classmethod
    def _positive(cls, shares: dict[str, float]) -> dict[str, float]:
        if any(not share > 0 for share in shares.values()):
            raise ValueError("a share must be above 0; leave out what is not wanted")
        return shares


class BalanceSamples(SampleDecision[Settings]):
    """Keep as many samples of each value of a label as its share allows, drawn by hash."""

    settings: Settings

    def decide(self, samples: pa.Table) -> pa.Table:
        settings = self.settings
        rows: list[dict[str, Any]] = samples.select(
            ["video", "segment", "id", "kind", "labels"]
        ).to_pylist()
        places: dict[str, list[int]] = defaultdict(list)
        reasons: list[str | None] = [None] * len(rows)
        for place, row in enumerate(rows):
            if row["kind"] == settings.kind:
                places[dict(row["labels"] or ()).get(settings.label, "")].append(place)
        shares = settings.shares or dict.fromkeys(places.keys() - {""}, 1.0)
        most = allowed({value: len(found) for value, found in places.items()}, shares)
        for value, found in places.items():
            why = f"more {settings.label} {value} than its share"
            if value not in shares:
                why = f"{settings.label} is {value}" if value else f"no {settings.label}"
            found.sort(key=lambda place: drawn(rows[place], settings.seed))
            for place in found[most[value] :]:
                reasons[place] = why
        return sample_rows(samples, reasons)


def allowed(counts: dict[str, int], shares: dict[str, float]) -> Counter[str]:
    """How many of each value make the largest set with these shares; a value that does not occur
    cannot be had, and the others share among themselves.
    """
    wanted = {value: share for value, share in shares.items() if counts.get(value)}
    total = min((counts[value] / share for value, share in wanted.items()), default=0.0)
    return Counter({v: floor(round(total * share, 9)) for v, share in wanted.items()})
