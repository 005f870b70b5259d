"""Topics over the whole set: planted groups are found, in any order of rows."""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest

from clipmill.stages.filter.balance import Balance
from clipmill.stages.filter.balance import Settings as Caps
from clipmill.stages.filter.cluster_corpus import ClusterCorpus, Settings

SIZES = (300, 120, 60, 20)


def planted(sample_of: int = 0) -> tuple[pa.Table, list[int]]:
    """Clips around four directions, and which of them each is of."""
    rng = np.random.default_rng(sample_of)
    centres = np.linalg.qr(rng.normal(size=(16, 16)))[0][: len(SIZES)]
    of = [group for group, size in enumerate(SIZES) for _ in range(size)]
    rng.shuffle(of)
    own = (centres[of] + 0.08 * rng.normal(size=(len(of), 16))) * rng.uniform(0.5, 2, (len(of), 1))
    kind = pa.list_(pa.float32(), 16)
    columns = {
        "video": pa.array([f"v{row % 7}" for row in range(len(of))]),
        "segment": pa.array([f"s{row:05d}" for row in range(len(of))]),
        "score_fit": pa.array(rng.random(len(of))),
        "embedding_clip": pa.array(own.astype(np.float32).tolist(), kind),
    }
    return pa.table(columns), of


def topics(segments: pa.Table, **own: object) -> dict[str, str | None]:
    found = ClusterCorpus(Settings(**{"topics": 4, **own})).decide(segments)
    assert found["keep"].to_pylist() == [True] * len(segments)
    names, labels = found["segment"].to_pylist(), found["label_topic"].to_pylist()
    return dict(zip(names, labels, strict=True))


@pytest.mark.parametrize("sample", [100, 10])
def test_planted_groups_are_the_topics_the_largest_first(sample: int) -> None:
    segments, of = planted()
    found = list(topics(segments, sample=sample).values())
    assert found == [f"topic-{group:05d}" for group in of]


def test_the_order_of_rows_changes_no_topic() -> None:
    segments, of = planted(1)
    order = list(range(len(of)))
    random.Random(0).shuffle(order)
    mixed = segments.take(pa.array(order, pa.int64()))
    for count in (4, 9):  # more than there are: borders run where chance puts them
        assert topics(mixed, topics=count, sample=20) == topics(segments, topics=count, sample=20)


def test_clips_without_a_vector_have_no_topic_and_few_clips_are_a_topic_each() -> None:
    segments, _ = planted()
    few = segments.slice(0, 3)
    bare = few.set_column(3, "embedding_clip", pa.nulls(3, segments.schema.field(3).type))
    assert list(topics(bare).values()) == [None] * 3
    assert set(topics(few, topics=50).values()) == {f"topic-{k:05d}" for k in range(3)}
    assert topics(segments.slice(0, 0)) == {}


def test_balance_takes_as_many_of_every_topic() -> None:
    segments, of = planted()
    labels = ClusterCorpus(Settings(topics=4)).decide(segments)["label_topic"]
    balance = Balance(Caps(per_label={"topic": 20}, by="fit"))
    keep = balance.decide(segments.append_column("label_topic", labels))["keep"].to_pylist()
    counts: dict[int, int] = defaultdict(int)
    for group, kept in zip(of, keep, strict=True):
        counts[group] += kept
    assert counts == dict.fromkeys(range(4), 20)
