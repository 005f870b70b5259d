"""What is kept of a set of questions: by a profile over their labels, by shares of a label."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Author, Video
from clipmill.schemas.tables import flatten
from clipmill.stages.filter.balance_samples import BalanceSamples, allowed
from clipmill.stages.filter.balance_samples import Settings as BalanceSettings
from clipmill.stages.filter.dedup_samples import DedupSamples
from clipmill.stages.filter.dedup_samples import Settings as DedupSettings
from clipmill.stages.filter.filter_samples import FilterSamples, Settings


def table(rows: list[dict[str, Any]]) -> pa.Table:
    video = Video("v", "v.mp4")
    video.add_segments("shots", [Span.of_seconds(0, 9)])
    for row in rows:
        video.segments[0].add_sample(row.pop("kind", "qa"), "?", "a", Author("ask"), **row)
    return flatten([video])["samples"]


def reasons(found: pa.Table) -> list[str | None]:
    return list(found["reason"].to_pylist())


def test_labels_are_judged_as_numbers_or_words_and_evidence_by_its_seconds() -> None:
    samples = table([
        {"labels": {"blind": "0.200", "leak": "none"}, "evidence": [Span.of_seconds(0, 3)]},
        {"labels": {"blind": "0.800", "leak": "none"}, "evidence": [Span.of_seconds(0, 3)]},
        {"labels": {"blind": "0.200", "leak": "blind"}, "evidence": [Span.of_seconds(0, 3)]},
        {"labels": {"blind": "0.200", "leak": "none"},
         "evidence": [Span.of_seconds(0, 0.5), Span.of_seconds(4, 4.5)]},
        {"labels": {"leak": "none"}, "evidence": [Span.of_seconds(0, 3)]},
        {"kind": "other"},
    ])  # fmt: skip
    profile = {"blind": {"max": 0.5}, "leak": {"in": ["none"]}, "evidence_s": {"min": 2}}
    keep = FilterSamples(Settings.model_validate({"profile": profile}))
    assert reasons(keep.decide(samples)) == [
        None, "blind > 0.5", "leak is blind", "evidence_s < 2", "blind not computed", None,
    ]  # fmt: skip
    assert keep.reads() == {"samples:qa", "scores:blind", "labels:leak"}
    alone = FilterSamples(Settings.model_validate({"profile": profile, "others": "drop"}))
    assert reasons(alone.decide(samples))[-1] == "kind is other"


def test_a_profile_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match="not defined"):
        Settings.model_validate({"profile": "sound"})


def test_the_largest_set_with_the_shares_is_kept_whatever_the_order_of_rows() -> None:
    kinds = ["open"] * 70 + ["choice"] * 20 + ["order"] * 30
    samples = table([{"labels": {"type": kind}} for kind in kinds])
    balance = BalanceSamples(BalanceSettings(shares={"open": 2, "choice": 1}))

    def kept(own: pa.Table) -> set[str]:
        found = balance.decide(own)
        return set(found.filter(found["keep"])["sample"].to_pylist())

    names = kept(samples)
    by_name = dict(zip(samples["id"].to_pylist(), kinds, strict=True))
    assert Counter(by_name[name] for name in names) == {"open": 40, "choice": 20}
    shuffled = samples.take(random.Random(1).sample(range(120), 120))
    assert kept(shuffled) == names
    assert kept(samples) != {n for n in list(by_name)[:40]} | {n for n in list(by_name)[70:90]}
    said = Counter(reasons(balance.decide(samples)))
    assert said == {None: 60, "more type open than its share": 30, "type is order": 30}


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 500), min_size=1),
    st.dictionaries(st.sampled_from("abcd"), st.floats(0.1, 9), min_size=1),
)
def test_shares_are_met_and_no_more_is_kept_than_there_is(
    counts: dict[str, int], shares: dict[str, float]
) -> None:
    most = allowed(counts, shares)
    assert all(most[value] <= counts.get(value, 0) for value in most)
    total = sum(most.values())
    had = {value: share for value, share in shares.items() if counts.get(value)}
    for value, share in had.items():
        assert abs(most[value] - total * share / sum(had.values())) <= len(had)
    if had:  # one value is used up: nothing larger has the shares
        assert any(most[value] >= counts[value] - 1 for value in had)


def test_a_question_asked_again_word_for_word_is_kept_once_whatever_the_order_of_rows() -> None:
    asked = [("What is it?", "a cup"), ("what is IT", "A cup."), ("What is it?", "a jug")]
    video = Video("v", "v.mp4")
    video.add_segments("shots", [Span.of_seconds(k, k + 1) for k in range(30)])
    for place, segment in enumerate(video.segments):
        segment.add_sample("qa", *asked[place % 3], Author("ask"))
    samples = flatten([video])["samples"]

    def kept(own: pa.Table, **settings: Any) -> list[str]:
        found = DedupSamples(DedupSettings(**settings)).decide(own)
        return sorted(found.filter(found["keep"])["segment"].to_pylist())

    assert len(kept(samples)) == 2 and len(kept(samples, by=("question",))) == 1
    assert len(kept(samples, most=4)) == 8 and len(kept(samples, kind="other")) == 30
    shuffled = samples.take(random.Random(2).sample(range(30), 30))
    assert kept(shuffled) == kept(samples) != kept(samples, seed=1)
