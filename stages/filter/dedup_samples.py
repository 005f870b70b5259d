"""Keep a question once: what is asked and answered alike in many clips teaches nothing new.

Narration repeats itself (greetings, channel names, one sentence in every video of a series), and
generators have favourites, so the same question comes back with the same answer thousands of times.
Texts are compared by their words, whatever their case and punctuation. Which of the copies stay is
drawn by a hash, so it depends on neither the order of rows nor the number of workers.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from clipmill.stages.sample_decision import SampleDecision, SampleSettings, drawn, sample_rows

_WORD = re.compile(r"[^\W_]+")


class Settings(SampleSettings):
    by: tuple[Literal["question", "answer"], ...] = Field(
        default=("question", "answer"), min_length=1
    )
    """What must be alike for two to be one: both, or one of them alone."""
    most: int = Field(default=1, ge=1)
    """So many of those that are alike are kept."""
    within: Literal["corpus", "video"] = "corpus"
    """Compare all questions, or those of one video."""
    seed: int = 0
    """Another seed keeps other copies."""


class DedupSamples(SampleDecision[Settings]):
    """Keep at most so many of the questions that are alike word for word."""

    settings: Settings

    def decide(self, samples: pa.Table) -> pa.Table:
        settings = self.settings
        rows: list[dict[str, Any]] = samples.select(
            ["video", "segment", "id", "kind", "question", "answer"]
        ).to_pylist()
        alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for place, row in enumerate(rows):
            if row["kind"] == settings.kind:
                scope = row["video"] if settings.within == "video" else ""
                alike[scope, *(plain(row[name]) for name in settings.by)].append(place)
        reasons: list[str | None] = [None] * len(rows)
        for places in alike.values():
            places.sort(key=lambda place: drawn(rows[place], settings.seed))
            for place in places[settings.most :]:
                reasons[place] = f"the same {' and '.join(settings.by)} again"
        return sample_rows(samples, reasons)


def plain(text: str) -> str:
    """A text's words alone; of a text without words, itself."""
    return " ".join(_WORD.findall(text.casefold())) or text
