"""What the selfcheck says of borders between shots."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from clipmill.pipeline.selfcheck.captions import captions
from clipmill.pipeline.selfcheck.cuts import found_scenes, split
from clipmill.pipeline.selfcheck.figures import Case
from clipmill.pipeline.selfcheck.speech import assign_speech
from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Video
from clipmill.stages.compose.truth import CutTruth, Truth
from tests.unit.pipeline.selfcheck_cases import (
    CLOCK,
    FPS,
    moment,
    named,
    perfect,
    still,
    truths,
)


def film(cuts: list[int], frames: int = 240) -> Truth:
    """A truth of nothing but hard cuts, between scenes that are all alike."""
    truth = Truth("film", 0, 64, 48, FPS, frames, frames / FPS, "clean")
    truth.cuts = [CutTruth(at, at / FPS) for at in cuts]
    example = truths()[0].scenes[0]
    for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, frames], strict=True)):
        truth.scenes.append(
            replace(
                example,
                index=number,
                start_frame=start,
                end_frame=end,
                start_s=start / FPS,
                end_s=end / FPS,
            )
        )
    return truth


def shots(truth: Truth, spans: list[tuple[int, int]]) -> Case:
    video = Video("film", "film.mp4")
    video.add_segments("shots", [Span(CLOCK, *span) for span in spans])
    return Case(video, truth)


def test_a_cut_one_frame_off_counts_and_two_frames_off_is_missed_and_too_many() -> None:
    truth = film([60, 120, 180])
    case = shots(truth, [(0, 61), (61, 118), (118, 180), (180, 240)])
    figure = named(split([case]), "hard cuts")
    assert figure.value == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert [miss.seconds for miss in figure.misses] == [5.0, round(118 / FPS, 2)]


def test_one_border_finds_one_cut_only() -> None:
    case = shots(film([60, 61]), [(0, 60), (60, 240)])
    assert named(split([case]), "hard cuts").value == pytest.approx(2 / 3)


def test_a_dissolve_is_found_by_one_border_and_a_second_one_is_too_many() -> None:
    truth = film([], frames=240)
    truth.cuts = [CutTruth(200, 200 / FPS)]
    truth.transitions = [moment("dissolve", 100, 12)]
    one = shots(truth, [(0, 106), (106, 200), (200, 240)])
    two = shots(truth, [(0, 101), (101, 111), (111, 200), (200, 240)])
    lasting = shots(truth, [(0, 99), (113, 200), (200, 240)])
    late = shots(truth, [(0, 116), (116, 200), (200, 240)])
    assert [named(split([case]), "dissolves").value for case in (one, two, lasting, late)] == [
        *(1.0, 1.0, 1.0, 0.0)
    ]
    cuts = [named(split([case]), "hard cuts").value for case in (one, two, lasting, late)]
    assert cuts == pytest.approx([1.0, 2 / 3, 1.0, 2 / 3])


def test_a_cut_flash_is_counted_once_and_named_with_its_time() -> None:
    truth = film([])
    truth.upsets = [moment("flash", 48, 3), moment("whip_pan", 120, 12)]
    case = shots(truth, [(0, 48), (48, 51), (51, 240)])
    figure = named(split([case]), "flashes")
    assert figure.value == 0.5
    assert [(miss.seconds, miss.what) for miss in figure.misses] == [(2.0, "a flash was cut")]


def test_a_scene_in_two_pieces_has_no_shot_and_lowers_every_ceiling_behind() -> None:
    case = perfect(still(truths()[0]))
    first = case.shots[0]
    middle = (first.span.start + first.span.end) // 2
    tail = copy.deepcopy(first)
    first.span = Span(CLOCK, first.span.start, middle)
    tail.id, tail.span = "shots-99999", Span(CLOCK, middle, tail.span.end)
    case.video.segments.append(tail)
    count = len(case.truth.scenes)
    for figure in (found_scenes([case]), named(captions([case]), "object")):
        assert figure.value == pytest.approx((count - 1) / count)
    assert named(captions([case]), "object").ceiling == pytest.approx((count - 1) / count)
    assert assign_speech([case]).value == assign_speech([case]).ceiling < 1
