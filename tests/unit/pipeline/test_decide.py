from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from clipmill.pipeline.output.decide import decide, read_verdicts
from clipmill.pipeline.output.tables import compact
from clipmill.pipeline.store.store import Store
from clipmill.schemas.clocks import Span
from clipmill.schemas.errors import AccountingError, ModelError, StoreError
from clipmill.schemas.records import Embedding, Video
from clipmill.stages.decision import DECISION_SCHEMA, Decision
from clipmill.stages.filter.filter_scores import FilterScores
from clipmill.stages.filter.filter_scores import Settings as FilterSettings
from clipmill.stages.filter.flat_rows import vectors
from clipmill.stages.stage import StageSettings


class Limit(StageSettings):
    below: float = 0.5


def rows(segments: pa.Table, reasons: list[str | None]) -> pa.Table:
    keep = [reason is None for reason in reasons]
    return pa.table([segments["video"], segments["segment"], keep, reasons], schema=DECISION_SCHEMA)


class Sharp(Decision[Limit]):
    """Drop what is blurred."""

    def decide(self, segments: pa.Table) -> pa.Table:
        blur = segments["score_blur"].to_pylist()
        return rows(segments, ["blurred" if b > self.settings.below else None for b in blur])


class FirstOfEach(Decision[StageSettings]):
    """Keep the first segment of every video that it is shown."""

    def decide(self, segments: pa.Table) -> pa.Table:
        seen: set[str] = set()
        reasons = []
        for video in segments["video"].to_pylist():
            reasons.append("again" if video in seen else None)
            seen.add(video)
        return rows(segments, reasons)


class Careless(Decision[StageSettings]):
    """Answer in the ways that must be refused."""

    how = ""

    def decide(self, segments: pa.Table) -> pa.Table:
        good = rows(segments, [None] * len(segments))
        if self.how == "lost":
            return good.slice(1)
        if self.how == "swapped":
            return good.take(list(reversed(range(len(good)))))
        if self.how == "undecided":
            return good.set_column(2, "keep", pa.nulls(len(good), pa.bool_()))
        if self.how == "no reason":
            return good.set_column(2, "keep", pa.array([False] * len(good)))
        return good.drop_columns(["reason"])


@pytest.fixture
def judged(tmp_path: Path) -> Store:
    store = Store.open(tmp_path)
    videos = []
    for name in "ab":
        video = Video(name, f"{name}.mp4")
        video.add_segments("shots", [Span.of_seconds(i, i + 1) for i in range(3)])
        video.add_segments("windows", [Span.of_seconds(0, 3)])
        for segment, blur in zip(video.layer("shots"), (0.9, 0.1, 0.2), strict=True):
            segment.scores["blur"] = blur
        videos.append(video)
    compact(store, videos, "g1")
    return store


def kept(store: Store, *decisions: Decision[StageSettings]) -> list[str]:
    table = decide(store, decisions, "shots").table
    table = table.filter(table["keep"])
    return [f"{row['video']}/{row['segment'][-1]}" for row in table.to_pylist()]


SHARP, FIRST = Sharp(Limit()), FirstOfEach(StageSettings())


def test_a_decision_sees_only_what_those_before_it_kept(judged: Store) -> None:
    assert kept(judged) == ["a/0", "a/1", "a/2", "b/0", "b/1", "b/2"]
    assert kept(judged, SHARP, FIRST) == ["a/1", "b/1"]
    assert kept(judged, FIRST, SHARP) == []


def test_every_dropped_segment_has_one_reason_and_they_add_up(judged: Store) -> None:
    verdicts = decide(judged, [SHARP, FIRST], "shots")
    assert verdicts.reasons == {("test_decide", "blurred"): 2, ("test_decide", "again"): 2}
    assert verdicts.kept + verdicts.reasons.total() == len(verdicts.table) == 6
    assert verdicts.kept_ids() == {"a": {"shots-00001"}, "b": {"shots-00001"}}


def test_the_current_outcome_can_be_read_again(judged: Store) -> None:
    assert read_verdicts(judged) is None
    decide(judged, [SHARP], "shots")
    second = decide(judged, [SHARP, FIRST], "shots")
    found = read_verdicts(judged)
    assert found is not None
    assert found.fingerprint == second.fingerprint
    assert found.table.equals(second.table)


def test_the_fingerprint_follows_settings_order_layer_and_tables(judged: Store) -> None:
    prints = {
        decide(judged, chain, layer).fingerprint
        for chain, layer in [
            ([SHARP, FIRST], "shots"),
            ([FIRST, SHARP], "shots"),
            ([Sharp(Limit(below=0.6)), FIRST], "shots"),
            ([FIRST], "shots"),
            ([FIRST], "windows"),
        ]
    }
    assert len(prints) == 5
    before = decide(judged, [FIRST], "shots").fingerprint
    assert decide(judged, [FIRST], "shots").fingerprint == before
    compact(judged, [], "g2")
    assert decide(judged, [FIRST], "shots").fingerprint != before


def test_each_decision_leaves_its_own_table(judged: Store) -> None:
    decide(judged, [SHARP, FIRST], "shots")
    sizes = []
    for item in judged.list("decisions/test_decide-"):
        path = judged.local_path(item.key)
        assert path is not None
        table = pq.read_table(path)
        sizes.append((len(table), pc.sum(table["keep"]).as_py()))
    assert sorted(sizes) == [(4, 2), (6, 4)]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("lost", "5 rows for 6"),
        ("swapped", "order"),
        ("undecided", "undecided"),
        ("no reason", "dropped without"),
        ("no column", "no column reason"),
    ],
)
def test_a_decision_that_answers_something_else_is_refused(
    judged: Store, how: str, message: str
) -> None:
    careless = Careless(StageSettings())
    careless.how = how
    with pytest.raises(AccountingError, match=message):
        decide(judged, [careless], "shots")
    assert read_verdicts(judged) is None


def test_deciding_over_nothing(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    with pytest.raises(StoreError, match="no tables"):
        decide(store, [], "shots")
    compact(store, [], "g1")
    assert decide(store, [FIRST], "shots").kept == 0


class Topics(Decision[StageSettings]):
    """Give each segment a topic by its vector."""

    def reads(self) -> frozenset[str]:
        return frozenset({"embeddings:clip"})

    def adds(self) -> frozenset[str]:
        return frozenset({"labels:topic"})

    def decide(self, segments: pa.Table) -> pa.Table:
        assert segments.schema.field("embedding_clip").metadata == {b"model": b"eye@1"}
        found, own = vectors(segments, "clip")
        topics: list[str | None] = [None] * len(segments)
        for row, vector in zip(found, own, strict=True):
            topics[row] = "left" if vector[0] > 0.5 else "right"
        decided = rows(segments, [None] * len(segments))
        return decided.append_column("label_topic", pa.array(topics, pa.string()))


def test_vectors_reach_a_decision_and_its_labels_those_behind_it(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    videos = []
    for name, turn in (("a", 0), ("b", 1)):
        video = Video(name, f"{name}.mp4")
        video.add_segments("shots", [Span.of_seconds(i, i + 1) for i in range(3)])
        for number, segment in enumerate(video.segments[:2]):
            segment.scores["blur"] = number
            vector = [2.0, 0.0] if (number + turn) % 2 else [0.0, 2.0]
            segment.embeddings += [
                Embedding("other", "x", [1.0]),
                Embedding("clip", "eye@1", vector),
            ]
        videos.append(video)
    # A batch each, and vectors of two lengths in one file: a decision gets its own alone.
    compact(store, videos, "g1", batch_rows=1)
    only = FilterScores(FilterSettings.model_validate({"profile": {"topic": {"in": ["left"]}}}))
    verdicts = decide(store, [Topics(StageSettings()), only], "shots")
    assert verdicts.kept_ids() == {"a": {"shots-00001"}, "b": {"shots-00000"}}
    [written] = [i.key for i in store.list("decisions/test_decide-")]
    path = store.local_path(written)
    assert path is not None
    labels = pq.read_table(path)["label_topic"].to_pylist()
    assert labels == ["right", "left", None, "left", "right", None]


def test_vectors_of_two_models_are_no_table(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    videos = []
    for name in "ab":
        video = Video(name, f"{name}.mp4")
        video.add_segments("shots", [Span.of_seconds(0, 1)])
        video.segments[0].embeddings = [Embedding("clip", name, [1.0, 0.0])]
        videos.append(video)
    compact(store, videos, "g1")
    with pytest.raises(ModelError, match="made by 'a', 'b'"):
        decide(store, [Topics(StageSettings())], "shots")
