"""A profile says what is kept and, for the rest, the first rule that refused it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.profiles import Profile, Rule
from clipmill.schemas.records import Segment

KEEP = Profile.model_validate(
    {
        "motion": {"min": 0.002},
        "brightness": {"min": 0.04, "max": 0.98},
        "camera": {"not_in": ["static"]},
    }
)


def test_what_passes_every_rule_has_no_reason() -> None:
    assert KEEP.reason({"motion": 0.002, "brightness": 0.98}, {"camera": "pan_left"}) is None


@pytest.mark.parametrize(
    ("scores", "labels", "reason"),
    [
        ({"motion": 0.001, "brightness": 2.0}, {"camera": "static"}, "motion < 0.002"),
        ({"motion": 1.0, "brightness": 0.99}, {"camera": "static"}, "brightness > 0.98"),
        ({"motion": 1.0, "brightness": 0.5}, {"camera": "static"}, "camera is static"),
        ({"brightness": 0.5}, {"camera": "mixed"}, "motion not computed"),
        ({"motion": math.nan, "brightness": 0.5}, {"camera": "mixed"}, "motion not computed"),
        ({"motion": 1.0, "brightness": 0.5}, {}, "camera not computed"),
    ],
)
def test_the_first_failing_rule_is_the_reason(
    scores: dict[str, float], labels: dict[str, str], reason: str
) -> None:
    assert KEEP.reason(scores, labels) == reason


def test_missing_values_are_kept_where_the_profile_or_the_rule_says_so() -> None:
    lenient = Profile.model_validate({"a": {"min": 1}, "b": {"in": ["x"]}, "missing": "keep"})
    assert lenient.reason({}, {}) is None
    assert lenient.reason({"a": 0.0}, {}) == "a < 1"
    mixed = Profile.model_validate({"a": {"min": 1, "missing": "keep"}, "b": {"max": 1}})
    assert mixed.reason({}, {}) == "b not computed"


def test_only_listed_labels_pass_in() -> None:
    profile = Profile.model_validate({"kind": {"in": ["talk", "sport"]}})
    assert profile.reason({}, {"kind": "talk"}) is None
    assert profile.reason({}, {"kind": "news"}) == "kind is news"


def test_tokens_tell_scores_from_labels_and_length_needs_no_stage() -> None:
    profile = Profile.model_validate({**KEEP.model_dump(), "seconds": {"min": 2, "max": 60}})
    assert profile.names() == {"scores:motion", "scores:brightness", "labels:camera"}


def test_the_length_of_a_segment_can_be_judged() -> None:
    profile = Profile.model_validate({"seconds": {"min": 2}})
    assert profile.reason_of(Segment("s-0", "s", Span(MILLISECONDS, 0, 2000))) is None
    assert profile.reason_of(Segment("s-1", "s", Span(MILLISECONDS, 0, 1999))) == "seconds < 2"


@pytest.mark.parametrize(
    "rules",
    [
        {"motion": {}},
        {"motion": {"minimum": 1}},
        {"motion": {"min": "0.1"}},
        {"motion": {"min": True}},
        {"motion": {"min": math.nan}},
        {"motion": {"min": 2, "max": 1}},
        {"motion": {"min": 1, "in": ["x"]}},
        {"camera": {"not_in": "static"}},
        {"camera": {"in": []}},
        {"camera": {"in": [True]}},
        {"motion": 0.1},
        {"mising": "keep"},
        {"missing": "maybe"},
        ["motion"],
    ],
)
def test_a_rule_that_means_nothing_is_refused(rules: Any) -> None:
    with pytest.raises(ValidationError):
        Profile.model_validate(rules)


def test_the_error_names_the_rule() -> None:
    with pytest.raises(ValidationError, match=r"motion\.min"):
        Profile.model_validate({"motion": {"min": "fast"}})


def test_a_dumped_profile_reads_back_equal() -> None:
    profile = Profile.model_validate({"kind": {"in": ["x"]}, "a": {"max": 1}, "missing": "keep"})
    assert Profile.model_validate(json.loads(profile.model_dump_json())) == profile


@given(value=st.floats(allow_nan=False), low=st.floats(-10, 10), width=st.floats(0, 10))
def test_a_score_passes_exactly_when_it_lies_in_its_bounds(
    value: float, low: float, width: float
) -> None:
    rule = Rule(min=low, max=low + width)
    assert (rule.score_failure("x", value) is None) == (low <= value <= low + width)
