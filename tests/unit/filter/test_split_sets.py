"""Sets share no source, keep their shares, and stay as they are when videos are added."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Part, Segment, Video
from clipmill.stages.filter.split_sets import MIXED, Settings, SplitSets

CHANNELS, EACH = 1500, 2


def assigned(video: Video, **settings: object) -> Segment:
    """The first of a video's two clips, after both were assigned alike."""
    video.add_segments("shots", [Span(MILLISECONDS, 0, 1000), Span(MILLISECONDS, 1000, 2000)])
    SplitSets(Settings(**settings)).process(Part(video))
    first, second = video.layer("shots")
    assert (first.labels, first.scores) == (second.labels, second.scores)
    return first


def channel(number: int, of: str) -> Video:
    return Video(f"{of}-{number}", "v.mp4", meta={"channel": of})


def test_no_source_is_in_two_sets_and_shares_are_kept() -> None:
    found: dict[str, set[str]] = defaultdict(set)
    by_video: dict[str, set[str]] = defaultdict(set)
    counts: Counter[str] = Counter()
    for of in map(str, range(CHANNELS)):
        for number in range(EACH):
            own = assigned(channel(number, of), source="channel").labels["set"]
            found[of].add(own)
            by_video[of].add(assigned(channel(number, of)).labels["set"])
            counts[own] += 1

    def overlap(sets: dict[str, set[str]]) -> int:
        return sum(len(own) > 1 for own in sets.values())

    assert overlap(found) == 0
    assert overlap(by_video) > 0, "the check does not notice sources that are torn apart"
    shares = {name: count / counts.total() for name, count in counts.items()}
    assert shares == pytest.approx({"train": 0.9, "val": 0.05, "test": 0.05}, abs=0.025)


@given(st.text(min_size=1, max_size=20), st.integers(0, 5))
def test_a_video_goes_where_it_goes_whatever_else_there_is(name: str, seed: int) -> None:
    first = assigned(Video(name, "a.mp4"), seed=seed)
    again = assigned(Video(name, "b.mp4", meta={"title": "x"}), seed=seed)
    assert first.labels == again.labels and first.scores == again.scores
    assert first.labels["set"] in ("train", "val", "test")
    assert 0 <= first.scores["set_rank"] < 1


def test_ranks_give_nested_subsets_of_every_set() -> None:
    ranks = [assigned(channel(n, "one")).scores["set_rank"] for n in range(2000)]
    tenth = [rank for rank in ranks if rank < 0.1]
    assert len(tenth) / len(ranks) == pytest.approx(0.1, abs=0.02)
    assert len(set(ranks)) == len(ranks)


def test_a_composed_video_is_where_all_its_pieces_are_or_nowhere() -> None:
    names = [f"v{n}" for n in range(200)]
    at = {name: assigned(Video(name, "v.mp4")).labels["set"] for name in names}
    train = [name for name in names if at[name] == "train"]
    test = [name for name in names if at[name] == "test"]

    def composed(*parents: str, **settings: object) -> str:
        return assigned(Video("c", "c.mp4", parents=list(parents)), **settings).labels["set"]

    assert composed(*train[:3]) == "train" and composed(*test[:2]) == "test"
    assert composed(train[0], test[0]) == MIXED
    assert composed(*train[:3], source="channel") == MIXED, "of channels that are not known"


def test_a_set_without_a_share_stays_empty() -> None:
    shares = {"none": 0.0, "train": 0.5, "test": 0.5, "gold": 0.0}
    found = {assigned(channel(n, "x"), shares=shares).labels["set"] for n in range(300)}
    assert found == {"train", "test"}
    for wrong in ({}, {"train": 0.7}, {"train": 1.5, "test": -0.5}, {MIXED: 1.0}):
        with pytest.raises(ValueError, match="shares"):
            Settings(shares=wrong)
