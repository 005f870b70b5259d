"""Decisions keep what they promise, say why about the rest, and answer every row."""

from __future__ import annotations

import random
from collections import Counter
from time import process_time
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from clipmill.stages.decision import DECISION_SCHEMA
from clipmill.stages.filter.filter_scores import FilterScores, Settings


def table(**columns: list[Any]) -> pa.Table:
    count = len(next(iter(columns.values())))
    return pa.table(
        {
            "video": [f"v{row}" for row in range(count)],
            "segment": ["shots-00000"] * count,
            "layer": ["shots"] * count,
            "start_s": [0.0] * count,
            "end_s": [float(row) for row in range(count)],
            **columns,
        }
    )


def decide(segments: pa.Table, **settings: Any) -> list[str | None]:
    """The reasons, after checking that the answer has the promised form."""
    decided = FilterScores(Settings.model_validate(settings)).decide(segments)
    assert decided.schema == DECISION_SCHEMA
    assert decided.column("video").to_pylist() == segments.column("video").to_pylist()
    reasons: list[str | None] = decided.column("reason").to_pylist()
    assert decided.column("keep").to_pylist() == [reason is None for reason in reasons]
    return reasons


def test_a_profile_gives_the_first_failing_rule_as_the_reason() -> None:
    segments = table(
        score_motion=[0.5, 0.001, None, 0.5, float("nan")],
        label_camera=["pan_left", "static", "static", "static", "mixed"],
    )
    profile = {"motion": {"min": 0.002}, "camera": {"not_in": ["static"]}}
    assert decide(segments, profile=profile) == [
        None,
        "motion < 0.002",
        "motion not computed",
        "camera is static",
        "motion not computed",
    ]


def test_a_score_no_stage_has_written_is_not_computed_for_any_row() -> None:
    segments = table(score_motion=[1.0, 2.0])
    assert decide(segments, profile={"aesthetic": {"min": 5}}) == ["aesthetic not computed"] * 2
    assert decide(segments, profile={"aesthetic": {"min": 5}, "missing": "keep"}) == [None] * 2


def test_length_is_judged_without_any_stage() -> None:
    segments = table(score_motion=[1.0, 1.0, 1.0, 1.0])
    decision = FilterScores(Settings.model_validate({"profile": {"seconds": {"min": 1, "max": 2}}}))
    assert decision.reads() == frozenset()
    reasons = decision.decide(segments).column("reason").to_pylist()
    assert reasons == ["seconds < 1", None, None, "seconds > 2"]


def test_shares_are_taken_over_the_whole_table_and_keep_ties() -> None:
    segments = table(score_a=[5.0, 4.0, 3.0, 3.0, 2.0, 1.0, 0.0, 0.0, 0.0, None])
    reasons = decide(segments, percentile={"a": {"top_percent": 30}})
    assert [row for row, reason in enumerate(reasons) if reason is None] == [0, 1, 2, 3]
    assert Counter(reasons)["a not in top 30%"] == 5
    assert reasons[9] == "a not computed"
    lowest = decide(segments, percentile={"a": {"lowest_percent": 10}})
    assert [row for row, reason in enumerate(lowest) if reason is None] == [6, 7, 8]


def test_a_profile_does_not_move_the_edge_of_a_share() -> None:
    segments = table(score_a=[4.0, 3.0, 2.0, 1.0], label_kind=["x", "y", "y", "y"])
    reasons = decide(
        segments, profile={"kind": {"in": ["y"]}}, percentile={"a": {"top_percent": 50}}
    )
    assert reasons == ["kind is x", None, "a not in top 50%", "a not in top 50%"]


def test_seven_percent_of_a_hundred_rows_is_seven_rows() -> None:
    segments = table(score_a=[float(row) for row in range(100)])
    assert decide(segments, percentile={"a": {"top_percent": 7}}).count(None) == 7


def test_top_k_counts_what_the_profile_left() -> None:
    segments = table(score_a=[9.0, 8.0, 7.0, 6.0], label_kind=["x", "y", "y", "y"])
    reasons = decide(segments, profile={"kind": {"in": ["y"]}}, top_k={"by": "a", "count": 2})
    assert reasons == ["kind is x", None, None, "not in the 2 highest by a"]


@given(
    values=st.lists(st.one_of(st.none(), st.integers(0, 5)), min_size=1, max_size=30),
    count=st.integers(1, 10),
    seed=st.integers(0, 99),
)
def test_top_k_is_exact_and_blind_to_the_order_of_rows(
    values: list[int | None], count: int, seed: int
) -> None:
    segments = table(score_a=pa.array(values, pa.float64()))
    order = list(range(len(values)))
    random.Random(seed).shuffle(order)
    settings = {"top_k": {"by": "a", "count": count}}
    straight = decide(segments, **settings)
    shuffled = decide(segments.take(order), **settings)
    assert [straight[row] for row in order] == shuffled
    known = sum(value is not None for value in values)
    assert straight.count(None) == min(count, known)


def test_an_empty_table_gives_an_empty_decision() -> None:
    empty = table(score_a=pa.array([], pa.float64()))
    assert decide(empty, profile={"a": {"min": 1}}, percentile={"a": {"top_percent": 5}}) == []


def test_the_tokens_read_are_those_of_all_three_cuts() -> None:
    decision = FilterScores(
        Settings.model_validate(
            {
                "profile": {"motion": {"min": 0}, "camera": {"in": ["static"]}},
                "percentile": {"aesthetic": {"top_percent": 30}},
                "top_k": {"by": "alignment", "count": 5},
            }
        )
    )
    assert decision.reads() == {
        "scores:motion",
        "labels:camera",
        "scores:aesthetic",
        "scores:alignment",
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"profile": "strict"},
        {"percentile": {"a": {}}},
        {"percentile": {"a": {"top_percent": 0}}},
        {"percentile": {"a": {"top_percent": 5, "lowest_percent": 5}}},
        {"top_k": {"by": "a", "count": 0}},
        {"topk": {"by": "a", "count": 1}},
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(settings)


def test_a_hundred_thousand_rows_take_little_time() -> None:
    rows = 100_000
    source = random.Random(1)
    segments = table(
        score_a=[source.random() for _ in range(rows)],
        score_b=[source.random() for _ in range(rows)],
        label_c=[source.choice("xyz") for _ in range(rows)],
    )
    before = process_time()
    reasons = decide(
        segments,
        profile={"a": {"min": 0.1}, "b": {"max": 0.9}, "c": {"not_in": ["z"]}},
        percentile={"b": {"top_percent": 50}},
        top_k={"by": "a", "count": 1000},
    )
    assert process_time() - before < 5
    assert reasons.count(None) == 1000
