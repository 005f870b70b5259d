"""Part all clips into topics by their vectors; nothing is dropped.

K-means over what earlier decisions kept, on vectors of unit length, as published sets do before
they take equally many clips of every topic: `balance` with `per_label` then does that, and `dedup`
with `within` looks for twins in a topic only. Topics have numbers and no names, the largest first;
they belong to this very set, so they are a column of the decision's table and not of the clip.

Centres are learnt on a drawn sample and every clip goes to the nearest, so a million clips cost one
pass. The draw is by name, so the order of rows does not matter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from clipmill.stages.decision import Decision
from clipmill.stages.filter.flat_rows import answer, vectors
from clipmill.stages.models.encoder import Vectors
from clipmill.stages.stage import StageSettings

BLOCK = 8192
"""Rows that are set beside all centres at a time."""


class Settings(StageSettings):
    embedding: str = "clip"
    """Embedding by which clips are parted."""
    topics: int = Field(ge=1)
    """How many topics; fewer clips than that are a topic each."""
    name: str = Field(default="topic", pattern=r"^[a-z0-9_]+$")
    """Name of the label."""
    sample: int = Field(default=100, ge=2)
    """Clips per topic that centres are learnt on, drawn at random."""
    rounds: int = Field(default=30, ge=1)
    """Most rounds of k-means."""
    seed: int = Field(default=0, ge=0)
    """Another seed, other centres to begin with."""


class ClusterCorpus(Decision[Settings]):
    """Label clips with a topic: k-means over an embedding of all of them."""

    settings: Settings

    def reads(self) -> frozenset[str]:
        return frozenset({f"embeddings:{self.settings.embedding}"})

    def adds(self) -> frozenset[str]:
        return frozenset({f"labels:{self.settings.name}"})

    def decide(self, segments: pa.Table) -> pa.Table:
        settings = self.settings
        rows, own = vectors(segments, settings.embedding)
        names = [segments.column(name).to_pylist() for name in ("video", "segment")]
        by_name = sorted(range(len(rows)), key=lambda k: (names[0][rows[k]], names[1][rows[k]]))
        labels: list[str | None] = [None] * segments.num_rows
        if len(rows):
            ordered = own[by_name]
            topics = _by_size(nearest(ordered, self._centres(ordered)))
            for place, topic in zip(by_name, topics, strict=True):
                labels[rows[place]] = f"{settings.name}-{topic:05d}"
        decided = answer(segments, [None] * segments.num_rows)
        return decided.append_column(f"label_{settings.name}", pa.array(labels, pa.string()))

    def _centres(self, ordered: Vectors) -> Vectors:
        import cv2

        settings = self.settings
        draw: Any = np.random.default_rng(settings.seed)
        most = settings.topics * settings.sample
        if len(ordered) > most:
            ordered = ordered[np.sort(draw.choice(len(ordered), most, replace=False))]
        count = min(settings.topics, len(ordered))
        stop = (cv2.TERM_CRITERIA_MAX_ITER + cv2.TERM_CRITERIA_EPS, settings.rounds, 1e-4)
        cv2.setRNGSeed(settings.seed)
        _, _, centres = cv2.kmeans(ordered, count, None, stop, 1, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
        return np.asarray(centres, np.float32)


def nearest(own: Vectors, centres: Vectors) -> np.ndarray:
    """The centre nearest to each vector, by Euclidean distance."""
    half = (centres**2).sum(axis=1) / 2
    blocks = [own[start : start + BLOCK] for start in range(0, len(own), BLOCK)]
    return np.concatenate([(block @ centres.T - half).argmax(axis=1) for block in blocks])


def _by_size(topics: np.ndarray) -> list[int]:
    """Topics numbered anew, the largest first; of equal ones the first that occurs."""
    counts = np.bincount(topics)
    firsts = {int(topic): place for place, topic in reversed(list(enumerate(topics)))}
    order = sorted(firsts, key=lambda topic: (-counts[topic], firsts[topic]))
    number = {topic: place for place, topic in enumerate(order)}
    return [number[int(topic)] for topic in topics]
