"""How many events lie in a clip, at what rate, and what share of it they cover."""

from __future__ import annotations

import pytest

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Part, Video
from clipmill.stages.score.score_density import ScoreDensity, Settings


def test_events_count_where_their_middle_lies_and_overlaps_cover_once() -> None:
    video = Video("v", "v.mp4")
    video.add_segments("clips", [Span.of_seconds(0, 30), Span.of_seconds(30, 60)])
    told = [(0, 6), (3, 9), (29, 33), (40, 45), (70, 80)]
    video.add_segments("events", [Span.of_seconds(*span) for span in told])
    ScoreDensity(Settings(layer="clips", name="told")).process(Part(video))
    first, second = video.layer("clips")
    assert (first.scores["told_count"], second.scores["told_count"]) == (2, 2)
    assert first.scores["told_per_minute"] == 4
    assert first.scores["told_coverage"] == pytest.approx(10 / 30)
    assert second.scores["told_coverage"] == pytest.approx(8 / 30)


def test_a_clip_that_nothing_is_told_of_has_zeros() -> None:
    video = Video("v", "v.mp4")
    video.add_segments("clips", [Span.of_seconds(0, 30)])
    ScoreDensity(Settings(layer="clips")).process(Part(video))
    assert set(video.segments[0].scores.values()) == {0.0} and len(video.segments[0].scores) == 3
