"""Keep at most so many clips of one video, or of one value of a label.

A few long videos, or one frequent topic, would otherwise fill a set. Clips are taken from the best
score down, each where every cap still has room for it, so one pass obeys all caps at once; what is
kept does not depend on the order of rows. A clip without the score comes last, one without the
label counts under no value: what is not known can be judged by `filter_scores` before this.
"""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
from pydantic import Field

from clipmill.stages.decision import Decision
from clipmill.stages.filter.flat_rows import Order, answer, column, ranked
from clipmill.stages.stage import StageSettings


class Settings(StageSettings):
    per_video: int | None = Field(default=None, ge=1)
    """Most clips of one video; empty: any number."""
    per_label: dict[str, int] = Field(default_factory=dict)
    """Most clips of each value of a label, e.g. `{camera: 1000}`."""
    by: str
    """Score by which clips are taken."""
    order: Order = "highest"
    """Which end of the score is best."""


class Balance(Decision[Settings]):
    """Keep at most so many clips per video or per value of a label, the best by a score."""

    settings: Settings

    def reads(self) -> frozenset[str]:
        labels = {f"labels:{name}" for name in self.settings.per_label}
        return frozenset({f"scores:{self.settings.by}"} | labels)

    def decide(self, segments: pa.Table) -> pa.Table:
        settings = self.settings
        videos = segments.column("video").to_pylist()
        labels = {name: column(segments, f"label_{name}") for name in settings.per_label}
        taken: Counter[tuple[str, str]] = Counter()
        reasons: list[str | None] = [None] * segments.num_rows
        for row in ranked(segments, settings.by, settings.order):
            caps: dict[tuple[str, str], tuple[int, str]] = {}
            if settings.per_video is not None:
                most = settings.per_video
                caps["", videos[row]] = most, f"more than {most} of one video"
            for name, most in settings.per_label.items():
                if (value := labels[name][row]) is not None:
                    caps[name, value] = most, f"more than {most} of {name} {value}"
            full = [said for key, (most, said) in caps.items() if taken[key] >= most]
            if full:
                reasons[row] = full[0]
            else:
                taken.update(caps.keys())
        return answer(segments, reasons)
