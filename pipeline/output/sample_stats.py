"""Counts over the questions of an output: by kind, what their labels say and where answers stand.

Labels that are numbers (shares of right answers from a view, seconds of a certificate) become
histograms, so the difficulty and the temporal need of a set can be read off; all others are
counted. The answer's place among the options is counted because a set that prefers one is answered
without watching.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import pyarrow as pa

from clipmill.stages.sample_decision import numbers_of

H = TypeVar("H")
_MOST_VALUES = 50  # a label with more values than that is an identifier, not a kind


@dataclass(slots=True)
class SampleStats(Generic[H]):
    """Samples of one kind; `figures` are histograms over labels that are numbers."""

    count: int = 0
    kept: int = 0
    labels: dict[str, dict[str, int]] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)  # "2 of 5" -> answers that stand there
    figures: dict[str, H] = field(default_factory=dict)


def sample_stats(
    samples: pa.Table,
    refused: Mapping[tuple[str, str], set[str]],
    histogram: Callable[[pa.Array], H],
) -> dict[str, SampleStats[H]]:
    """By kind; `refused` are the samples that decisions dropped, which all figures leave out."""
    found: dict[str, SampleStats[H]] = defaultdict(SampleStats)
    words: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    numbers: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    places: dict[str, Counter[str]] = defaultdict(Counter)
    columns = ["video", "segment", "id", "kind", "answer", "options", "evidence", "labels"]
    for row in samples.select(columns).to_pylist():
        kind, options = row["kind"], row["options"] or []
        found[kind].count += 1
        if row["id"] in refused.get((row["video"], row["segment"]), ()):
            continue
        found[kind].kept += 1
        own = numbers_of(row)
        for name, value in own.items():
            if name != "options":
                numbers[kind][name].append(value)
        for name, text in row["labels"] or ():
            if name not in own:
                words[kind][name][text] += 1
        if row["answer"] in options:
            places[kind][f"{options.index(row['answer']) + 1} of {len(options)}"] += 1
    for kind, counted in found.items():
        counted.places = dict(sorted(places[kind].items()))
        counted.labels = {
            name: dict(values.most_common())
            for name, values in sorted(words[kind].items())
            if len(values) <= _MOST_VALUES
        }
        counted.figures = {
            name: histogram(pa.array(values, pa.float64()))
            for name, values in sorted(numbers[kind].items())
        }
    return dict(sorted(found.items()))
