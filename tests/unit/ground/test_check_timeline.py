"""Events against their time line: planted faults of every kind, and an invariant."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from clipmill.schemas.clocks import Clock, Span
from clipmill.schemas.records import Author, Part, Probe, Segment, Stream, Video
from clipmill.stages.ground.check_timeline import CheckTimeline, Event, Settings, check

FRAMES = Clock("v0", 1, 25)
Written = tuple[str, float, float]
Passed = tuple[str, float, float, str]


def video(written: list[Written], seconds: int = 60) -> Video:
    picture = Stream(0, "video", "h264", FRAMES, first=0, end=25 * seconds)
    made = Video("v", "v.mp4", probe=Probe("mp4", 1, float(seconds), 0, [picture]))
    for number, (text, start, end) in enumerate(written):
        segment = Segment(f"events-{number:05d}", "events", Span.of_seconds(start, end))
        if text:
            segment.add_text("caption", text, Author("write_events", "m", "1", "p"), language="en")
        made.segments.append(segment)
    return made


def checked(written: list[Written], **settings: object) -> tuple[list[Passed], Counter[str]]:
    """What passed, as (text, start, end, verdict), and the counted reasons of the rest."""
    made = video(written)
    CheckTimeline(Settings(**settings)).process(Part(made))  # type: ignore[arg-type]
    passed = [
        (s.texts[0].text, s.span.start_s, s.span.end_s, s.labels["timeline_check"])
        for s in made.layer("timeline")
    ]
    refused = Counter(
        s.labels["timeline_rejected"]
        for s in made.layer("events")
        if "timeline_rejected" in s.labels
    )
    assert len(passed) + sum(refused.values()) == len(written)
    return passed, refused


def test_a_sound_timeline_passes_as_it_is_with_its_author_and_source() -> None:
    written = [("a", 0.0, 4.0), ("b", 5.0, 9.0)]
    passed, refused = checked(written)
    assert passed == [("a", 0, 4, "valid"), ("b", 5, 9, "valid")] and not refused
    made = video(written)
    CheckTimeline(Settings()).process(Part(made))
    text = made.layer("timeline")[0].texts[0]
    assert text.author == Author("write_events", "m", "1", "p")
    assert text.sources == ["events-00000/caption:write_events:0"] and text.language == "en"
    assert len(made.layer("events")) == 2 and made.layer("events")[0].labels == {}


def test_what_reaches_past_the_video_is_cut_there_and_what_lies_outside_is_refused() -> None:
    passed, refused = checked([("a", 57.0, 62.0), ("b", 59.0, 70.0), ("c", 80.0, 90.0)])
    assert passed == [("a", 57, 60, "cut")]
    assert refused == {"outside": 2}


def test_a_moment_is_widened_inside_the_video() -> None:
    passed, _ = checked([("a", 10.0, 10.0), ("b", 59.9, 60.0)], min_s=1)
    assert passed == [("a", 9.5, 10.5, "widened"), ("b", 59, 60, "widened")]


def test_order_is_mended_refused_or_left_as_the_recipe_says() -> None:
    written = [("b", 20.0, 24.0), ("a", 5.0, 9.0), ("c", 30.0, 34.0)]
    assert [(t, v) for t, _, _, v in checked(written)[0]] == [
        ("a", "sorted"), ("b", "valid"), ("c", "valid")
    ]  # fmt: skip
    passed, refused = checked(written, disorder="reject")
    assert [t for t, *_ in passed] == ["b", "c"] and refused == {"out_of_order": 1}
    assert [t for t, *_ in checked(written, disorder="allow")[0]] == ["b", "a", "c"]


def test_overlaps_are_trimmed_or_refused() -> None:
    written = [("a", 0.0, 10.0), ("b", 6.0, 12.0), ("c", 6.2, 8.0)]
    assert checked(written)[1] == {}
    passed, refused = checked(written, overlap="trim")
    assert passed == [("a", 0, 6, "trimmed"), ("b", 6, 12, "valid")]
    assert refused == {"overlap": 1}
    assert checked(written, overlap="reject")[1] == {"overlap": 2}


def test_empty_doubled_and_overlong_events_are_refused_by_name() -> None:
    written = [("a", 0.0, 4.0), ("A ", 1.0, 5.0), ("", 6.0, 8.0), ("d", 9.0, 50.0)]
    _, refused = checked(written, max_s=30)
    assert refused == {"doubled": 1, "no_text": 1, "too_long": 1}


def test_a_timeline_with_holes_is_refused_as_a_whole_where_coverage_is_asked_for() -> None:
    made = video([("a", 0.0, 10.0), ("b", 30.0, 40.0)])
    made.add_segments("sentences", [Span.of_seconds(0, 20), Span.of_seconds(20, 40)])
    for share, reasons in ((0.5, set()), (0.6, {"coverage"})):
        into = f"t{share * 10:.0f}"
        stage = CheckTimeline(Settings(over="sentences", min_coverage=share, into=into))
        stage.process(Part(made))
        labels = [s.labels.get(f"{into}_rejected") for s in made.layer("events")]
        assert set(labels) - {None} == reasons
    assert "segments:sentences" in stage.reads()


@pytest.mark.parametrize("wrong", [{"min_coverage": 0.5}, {"min_s": 3, "max_s": 2}])
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)  # type: ignore[arg-type]


spans = st.lists(
    st.tuples(st.integers(-20_000, 80_000), st.integers(-3000, 40_000), st.sampled_from("ab ")),
    max_size=25,
)


@given(
    spans,
    st.sampled_from(["allow", "sort", "reject"]),
    st.sampled_from(["allow", "trim", "reject"]),
)
def test_what_passes_keeps_every_rule_and_a_second_check_finds_nothing(
    drawn: list[tuple[int, int, str]], disorder: str, overlap: str
) -> None:
    settings = Settings(disorder=disorder, overlap=overlap, max_s=30)  # type: ignore[arg-type]
    events = [Event(start, start + length, text) for start, length, text in drawn]
    check(events, (0, 60_000), settings)
    passed = [event for event in events if not event.rejected]
    if disorder == "sort":
        passed.sort(key=lambda event: (event.start, event.end))
    for event in passed:
        assert 0 <= event.start < event.end <= 60_000 and event.text.strip()
        assert event.end - event.start <= 30_000
    for a, b in itertools.pairwise(passed):
        assert disorder == "allow" or a.start <= b.start + 500
    if overlap != "allow":
        ordered = sorted(passed, key=lambda event: event.start)
        assert all(a.end <= b.start for a, b in itertools.pairwise(ordered))
        again = [Event(event.start, event.end, event.text) for event in ordered]
        check(again, (0, 60_000), settings)
        assert not any(event.rejected or event.repairs for event in again)
