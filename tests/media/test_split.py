"""Cuts against truth, on rendered films and on hand-labelled footage."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipmill.schemas.clocks import Clock, Span
from clipmill.schemas.records import Part, Video
from clipmill.stages.media.frames import scan
from clipmill.stages.media.probe import probe
from clipmill.stages.split.split_shots import Detector, Settings, SplitShots
from clipmill.stages.split.split_uniform import Settings as UniformSettings
from clipmill.stages.split.split_uniform import SplitUniform, Tail, windows
from tests.rendered import Rendered

Film = Callable[[str], Rendered]


def shots(path: Path, **options: object) -> list[Span]:
    video = Video(id=path.stem, source=str(path), probe=probe(path))
    part = SplitShots(Settings(**options)).process(Part(video))  # type: ignore[arg-type]
    return [segment.span for segment in part.video.layer("shots")]


def test_cuts_fall_on_the_first_frame_of_the_new_shot(film: Film) -> None:
    truth = film("plain")
    spans = shots(truth.path)
    assert [span.start for span in spans] == [truth.ticks[0], *truth.cut_ticks]
    assert [span.end for span in spans] == [*truth.cut_ticks, truth.end]


@pytest.mark.parametrize("detector", ["adaptive", "content", "histogram"])
def test_every_detector_is_exact_on_a_variable_frame_rate(film: Film, detector: Detector) -> None:
    truth = film("vfr")
    starts = [span.start for span in shots(truth.path, detector=detector)]
    assert starts == [truth.ticks[0], *truth.cut_ticks]


@pytest.mark.parametrize("name", ["transport", "no_times", "late_picture", "turned"])
def test_shots_tile_the_picture_whatever_the_container(film: Film, name: str) -> None:
    truth = film(name)
    found = probe(truth.path)
    spans = shots(truth.path)
    assert spans[0].start == found.picture.first
    assert spans[-1].end == found.picture.end
    assert all(left.end == right.start for left, right in pairwise(spans))
    ticks = [tick for tick, _ in scan(truth.path, found, width=16, gray=True)]
    assert [ticks.index(span.start) for span in spans] == [0, *truth.cuts]


def test_a_cut_too_soon_after_the_last_is_not_taken(film: Film) -> None:
    assert len(shots(film("plain").path, min_seconds=1.5)) == 2
    assert len(shots(film("plain").path, min_seconds=0)) == 3


@pytest.mark.parametrize(
    ("name", "detector", "hits", "alarms"),
    [
        ("bikes_street.mp4", "adaptive", 5, 0),
        ("googlework_paris.mp4", "adaptive", 19, 0),
        ("bikes_street.mp4", "hash", 4, 1),
    ],
)
def test_labelled_footage_is_cut_as_by_hand(
    real_media: Path, name: str, detector: Detector, hits: int, alarms: int
) -> None:
    path = real_media / "videos" / name
    truth = json.loads(path.with_suffix("").with_suffix(".cuts.json").read_text())
    found = probe(path)
    ticks = [tick for tick, _ in scan(path, found, width=16, gray=True)]
    cuts = [ticks.index(span.start) for span in shots(path, detector=detector)][1:]
    right = sum(any(abs(cut - true) <= 1 for cut in cuts) for true in truth["cuts"])
    assert right >= hits
    assert len(cuts) - right <= alarms


def test_windows_are_a_stage_of_their_own(film: Film) -> None:
    truth = film("plain")
    video = Video(id="v", source=str(truth.path), probe=probe(truth.path))
    part = SplitUniform(UniformSettings(window_s=2.0)).process(Part(video))
    lengths = [round(segment.span.duration_s, 3) for segment in part.video.layer("windows")]
    assert lengths == [2.0, 2.0, 0.8]


TEN = Span(Clock("v0", 1, 1000), 500, 10_500)


@pytest.mark.parametrize(
    ("tail", "window", "stride", "wanted"),
    [
        ("keep", 4.0, None, [(500, 4500), (4500, 8500), (8500, 10500)]),
        ("drop", 4.0, None, [(500, 4500), (4500, 8500)]),
        ("merge", 4.0, None, [(500, 4500), (4500, 10500)]),
        ("keep", 6.0, 2.0, [(500, 6500), (2500, 8500), (4500, 10500)]),
        ("keep", 20.0, None, [(500, 10500)]),
        ("merge", 20.0, None, [(500, 10500)]),
        ("drop", 20.0, None, []),
    ],
)
def test_what_fills_no_window_follows_the_tail_rule(
    tail: Tail, window: float, stride: float | None, wanted: list[tuple[int, int]]
) -> None:
    assert [(span.start, span.end) for span in windows(TEN, window, stride, tail)] == wanted


@given(
    st.integers(1, 10**6),
    st.floats(0.05, 100, allow_nan=False),
    st.sampled_from([Clock("v0", 1001, 30_000), Clock("v0", 1, 90_000, 700)]),
    st.sampled_from(["keep", "merge"]),
)
def test_touching_windows_cover_everything_once(
    length: int, window: float, clock: Clock, tail: Tail
) -> None:
    whole = Span(clock, clock.zero, clock.zero + length)
    if whole.duration_s / window > 2000:
        return
    spans = windows(whole, window, None, tail)
    assert spans[0].start == whole.start
    assert spans[-1].end == whole.end
    assert all(left.end == right.start for left, right in pairwise(spans))
