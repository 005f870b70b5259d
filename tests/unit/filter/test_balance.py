"""Caps per video and label: never exceeded, filled from the best, whatever the order of rows."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from clipmill.stages.filter.balance import Balance, Settings

Row = tuple[str, float | None, str | None]  # video, score, topic
ROWS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.one_of(st.none(), st.just(float("nan")), st.floats(-1, 1)),
        st.one_of(st.none(), st.sampled_from(["sea", "land"])),
    ),
    max_size=30,
)


def table(rows: list[tuple[str, Row]]) -> pa.Table:
    return pa.table(
        {
            "video": pa.array([video for _, (video, _, _) in rows], pa.string()),
            "segment": pa.array([name for name, _ in rows], pa.string()),
            "score_fit": pa.array([score for _, (_, score, _) in rows], pa.float64()),
            "label_topic": pa.array([topic for _, (_, _, topic) in rows], pa.string()),
        }
    )


def decided(rows: list[tuple[str, Row]], **caps: object) -> dict[str, str | None]:
    found = Balance(Settings(by="fit", **caps)).decide(table(rows)).to_pylist()
    assert [row["segment"] for row in found] == [name for name, _ in rows]
    assert all(row["keep"] == (row["reason"] is None) for row in found)
    return {row["segment"]: row["reason"] for row in found}


@given(ROWS, st.integers(1, 4), st.integers(1, 4), st.randoms())
def test_no_cap_is_exceeded_and_nothing_is_dropped_that_had_room(
    rows: list[Row], per_video: int, per_topic: int, random: object
) -> None:
    named = [(f"s{k:02d}", row) for k, row in enumerate(rows)]
    caps = {"per_video": per_video, "per_label": {"topic": per_topic}}
    found = decided(named, **caps)
    kept = [row for name, row in named if found[name] is None]
    videos, topics = Counter(v for v, *_ in kept), Counter(t for *_, t in kept if t)
    assert max(videos.values(), default=0) <= per_video
    assert max(topics.values(), default=0) <= per_topic
    for name, (video, _, topic) in named:
        if found[name] is not None:
            assert videos[video] == per_video or (topic and topics[topic] == per_topic)
    shuffled = list(named)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert decided(shuffled, **caps) == found


def test_the_best_of_a_video_stay_and_the_reason_can_be_counted() -> None:
    rows: list[tuple[str, Row]] = [
        ("low", ("a", 0.1, None)), ("high", ("a", 0.9, None)), ("unknown", ("a", None, None)),
        ("mid", ("a", 0.5, None)), ("alone", ("b", 0.0, None)),
    ]  # fmt: skip
    found = decided(rows, per_video=2)
    assert {name for name, reason in found.items() if reason is None} == {"high", "mid", "alone"}
    assert found["low"] == found["unknown"] == "more than 2 of one video"
    lowest = Balance(Settings(by="fit", per_video=1, order="lowest")).decide(table(rows))
    assert lowest.column("keep").to_pylist() == [True, False, False, False, True]
