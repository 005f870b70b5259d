"""All figures of the selfcheck at once: on records without a mistake, and on a scrambled truth."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from clipmill.pipeline.selfcheck.captions import captions
from clipmill.pipeline.selfcheck.cuts import found_scenes, split
from clipmill.pipeline.selfcheck.figures import Case, Figure
from clipmill.pipeline.selfcheck.looks import describe_clip, read_ocr
from clipmill.pipeline.selfcheck.planted import planted
from clipmill.pipeline.selfcheck.questions import questions
from clipmill.pipeline.selfcheck.speech import assign_speech, transcribe
from clipmill.schemas.clocks import Span
from clipmill.stages.compose.truth import CutTruth, Truth
from tests.unit.pipeline.selfcheck_cases import (
    CLOCK,
    FPS,
    cases,
    moment,
    named,
    perfect,
    truths,
)


def scrambled(original: list[Case]) -> list[Case]:
    """The same records beside a truth in which everything has been dealt out anew."""
    rng = np.random.default_rng(7)
    scenes = [scene for case in original for scene in case.truth.scenes]
    dealt = iter([scenes[number] for number in rng.permutation(len(scenes))])
    words = [w.text for case in original for line in case.truth.narration for w in line.words]
    spoken = iter([words[number] for number in rng.permutation(len(words))])
    found = []
    for case in original:
        truth = copy.deepcopy(case.truth)
        for scene in truth.scenes:
            other = next(dealt)
            for name in ("things", "backdrop", "tone", "camera", "word", "brief", "detailed"):
                setattr(scene, name, copy.deepcopy(getattr(other, name)))
        for line in truth.narration:
            for word in line.words:
                word.text = next(spoken)
        found.append(replace(case, truth=truth))
    return found


def moved(original: list[Case]) -> list[Case]:
    """The same records beside cuts, transitions, upsets and words at other times."""
    rng = np.random.default_rng(8)
    found = []
    for case in original:
        truth = copy.deepcopy(case.truth)

        def when(truth: Truth = truth) -> int:
            return int(rng.integers(24, truth.frames - 24))

        borders = [scene.start_s for scene in truth.scenes[1:]]
        truth.cuts = [CutTruth(at, at / FPS) for at in (when() for _ in truth.cuts)]
        truth.transitions = [moment(m.kind, when(), 12) for m in truth.transitions]
        truth.upsets = [
            moment(m.kind, round(borders[int(rng.integers(len(borders)))] * FPS) - 3, 6)
            for m in truth.upsets
        ]
        for line in truth.narration:
            for word in line.words:
                word.start_s += 1.3
        for one, two in pairwise(truth.scenes):
            one.end_s = two.start_s = two.start_s + 1.0
        found.append(replace(case, truth=truth))
    return found


def figures(given: list[Case]) -> Iterator[Figure]:
    yield from split(given)
    yield from transcribe(given)
    yield assign_speech(given)
    yield from describe_clip(given)
    yield from read_ocr(given)
    yield from captions(given)
    yield from questions(given)


def test_records_that_are_all_right_reach_every_bar_and_ceiling() -> None:
    for figure in figures(cases()):
        assert figure.value == pytest.approx(figure.ceiling, abs=1e-3), figure
        assert figure.met is not False, figure
        assert not figure.misses, figure
        assert figure.count > 5, figure
    assert found_scenes(cases()).value == 1.0


@pytest.mark.parametrize(
    ("name", "chance"),
    [
        ("word error rate", None),
        ("on the right scene", 0.2),
        ("camera move", 0.6),
        ("main colour", 0.55),
        ("words on the screen", 0.2),
        ("without false text", 0.6),
        ("object", 0.3),
        ("colour right", 0.3),
        ("motion", 0.3),
        ("background", 0.3),
        ("all four", 0.1),
        ("not that of another", 0.2),
        ("answers right", 0.45),
    ],
)
def test_a_truth_dealt_out_anew_brings_every_share_down_to_chance(
    name: str, chance: float | None
) -> None:
    figure = named(figures(scrambled(cases())), name)
    assert figure.value is not None
    if chance is None:
        assert figure.value > 0.7
    else:
        assert figure.value <= chance
        assert figure.misses or name == "all four"


@pytest.mark.parametrize(
    ("name", "chance"),
    [("hard cuts", 0.15), ("dissolves", 0.35), ("flashes", 0.0), ("with their own shot", 0.1)],
)
def test_borders_at_other_times_are_not_found(name: str, chance: float) -> None:
    found = moved(cases())
    figure = named([*split(found), found_scenes(found)], name)
    assert figure.value is not None and figure.value <= chance


def test_word_times_are_wrong_by_as_much_as_they_are_moved() -> None:
    figure = named(transcribe(moved(cases())), "median")
    assert figure.value == pytest.approx(1.3, abs=0.001) and figure.met is False


def test_stages_that_did_not_run_are_said_to_be_missing_and_not_to_be_wrong() -> None:
    case = perfect(truths()[0])
    for shot in case.shots:
        shot.texts.clear()
        shot.labels.clear()
        shot.scores.clear()
        shot.samples.clear()
    missing = [
        assign_speech([case]),
        *describe_clip([case]),
        *read_ocr([case]),
        *captions([case]),
        *questions([case]),
        *planted([case], {}, ["alignment"]),
    ]
    assert {figure.value for figure in missing} == {None}
    assert {figure.met for figure in missing} == {None}
    assert {figure.note for figure in missing} == {"not in this recipe"}


def test_stages_that_ran_on_shots_that_are_no_scenes_are_wrong_and_not_missing() -> None:
    case = perfect(next(truth for truth in truths() if truth.scenes[0].word))
    for shot in case.shots:
        shot.span = Span(CLOCK, shot.span.start + 5, shot.span.end + 5)
    found = [assign_speech([case]), *describe_clip([case]), *read_ocr([case])[:1]]
    assert [(figure.value, figure.ceiling) for figure in found] == [(0.0, 0.0)] * len(found)
