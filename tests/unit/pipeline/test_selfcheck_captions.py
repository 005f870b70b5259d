"""What the selfcheck says of captions, of what is read, and of what planted captions meet."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipmill.pipeline.selfcheck.alignment import area
from clipmill.pipeline.selfcheck.captions import captions, from_noise, slots_of, true_slots
from clipmill.pipeline.selfcheck.looks import describe_clip, read_ocr
from clipmill.pipeline.selfcheck.planted import judged, planted
from clipmill.stages.compose.render_synthetic import tell
from clipmill.stages.compose.scenes import random_scene
from clipmill.stages.compose.wording import captions as worded
from clipmill.stages.compose.world import TEXTURED, Storyboard
from tests.unit.pipeline.selfcheck_cases import (
    AUTHOR,
    FPS,
    PLAN,
    cases,
    named,
    perfect,
    still,
    truths,
)


@given(st.integers(0, 10_000))
@settings(max_examples=60)
def test_every_wording_of_a_caption_is_read_as_the_scene_it_was_written_of(seed: int) -> None:
    scene = random_scene(np.random.default_rng(seed), 72, PLAN)
    told = tell(Storyboard(64, 48, FPS, (scene,)), "film", 0).scenes[0]
    forms = worded(scene)
    for text in (*forms.brief, *forms.detailed):
        assert slots_of(text) == true_slots(told), text


@pytest.mark.parametrize("caption", ["", "a person walks in a park", "nothing", "redcircle"])
def test_a_caption_without_words_of_the_world_names_nothing(caption: str) -> None:
    assert not any(slots_of(caption).values())


def test_one_wrong_slot_is_one_miss() -> None:
    case = perfect(still(truths()[0]))
    scene, text = case.truth.scenes[0], case.shots[0].texts_of("caption")[0]
    other = "purple" if scene.things[0].colour != "purple" else "red"
    text.text = text.text.replace(
        f"{scene.things[0].colour} {scene.things[0].shape}", f"{other} {scene.things[0].shape}"
    )
    found = captions([case])
    count = len(case.truth.scenes)
    assert named(found, "colour").value == pytest.approx(1 - 1 / count)
    assert named(found, "all four").value == pytest.approx(1 - 1 / count)
    assert named(found, "object").value == 1.0
    assert named(found, "another").value == 1.0


def test_captions_under_a_moving_camera_are_not_judged() -> None:
    case = perfect(still(truths()[0]))
    case.truth.scenes[0].camera = "pan_left"
    case.shots[0].texts_of("caption")[0].text = "nothing of the kind"
    assert named(captions([case]), "object").value == 1.0
    assert named(captions([case]), "object").count == len(case.truth.scenes) - 1


@pytest.mark.parametrize(("seen", "met"), [(True, False), (False, True)])
def test_captions_of_noise_that_are_right_have_seen_something_else(seen: bool, met: bool) -> None:
    cases = [perfect(still(truth)) for truth in truths()]
    if not seen:  # everybody gets the same caption
        text = cases[0].shots[0].texts_of("caption")[0].text
        for case in cases:
            for shot in case.shots:
                shot.texts_of("caption")[0].text = text
    (figure,) = from_noise(cases)
    assert figure.met is met and figure.count == 4 * sum(len(c.truth.scenes) for c in cases)


def test_swapped_captions_are_those_of_another_scene() -> None:
    case = perfect(still(truths()[0]))
    one, two = (shot.texts_of("caption")[0] for shot in case.shots[:2])
    one.text, two.text = two.text, one.text
    figure = named(captions([case]), "another")
    assert figure.value == pytest.approx(1 - 2 / len(case.shots))
    assert len(figure.misses) == 2


def test_text_that_is_not_on_the_screen_is_false_and_a_misread_word_is_both() -> None:
    given = cases()
    case = next(case for case in given if case.truth.scenes[0].word)
    case.shots[0].texts_of("ocr")[0].text = "QWXZ"
    found = read_ocr([case])
    shown = sum(bool(scene.word) for scene in case.truth.scenes)
    assert named(found, "read").value == pytest.approx(1 - 1 / shown)
    assert named(found, "false").value == pytest.approx(1 - 1 / len(case.shots))


PLANTED = ("alignment", "judged")


def test_planted_captions_count_where_the_filter_judged_them() -> None:
    given = []
    reasons: dict[tuple[str, str], str | None] = {}
    wanted: dict[int, tuple[str, str | None]] = {
        0: ("wrong_caption", "alignment < 0.2"),
        1: ("wrong_caption", None),
        2: ("clean", None),
        3: ("clean", "alignment < 0.2"),
        4: ("clean", "motion < 0.002"),
        5: ("clean", None),
        6: ("wrong_motion", "judged < 1"),
        7: ("wrong_colour", "motion < 0.002"),
    }
    for number, (variant, reason) in wanted.items():
        truth = copy.deepcopy(truths()[number % 6])
        truth.name = f"planted-{number}"
        truth.variant = variant
        truth.given_caption = "a red circle moves up over green grass"
        case = perfect(truth)
        first = case.shots[0]
        first.add_text("given", truth.given_caption, AUTHOR)
        first.scores["alignment"] = 0.1
        reasons[truth.name, first.id] = reason
        given.append(case)
    other, slot, motion, kept = planted(given, reasons, PLANTED)
    assert [other.value, motion.value, kept.value] == pytest.approx([0.5, 1.0, 2 / 3])
    assert [other.count, slot.count, motion.count, kept.count] == [2, 0, 1, 3]
    assert slot.value is None and slot.met is None
    for case in given:  # the truth turned round
        case.truth.variant = "clean" if case.truth.variant != "clean" else "wrong_caption"
    other, _, motion, kept = planted(given, reasons, PLANTED)
    assert [other.value, kept.value] == pytest.approx([1 / 3, 1 / 3])


def test_verdicts_are_balanced_between_right_captions_and_each_kind_of_wrong_ones() -> None:
    given = []
    wanted = [
        ("clean", 1.0), ("clean", 1.0), ("clean", 0.75), ("clean", 1.0),
        ("wrong_motion", 0.75), ("wrong_motion", 1.0), ("wrong_colour", 0.5),
    ]  # fmt: skip
    for number, (variant, score) in enumerate(wanted):
        truth = copy.deepcopy(truths()[number % 6])
        truth.variant, truth.given_caption = variant, "a red circle moves up over green grass"
        case = perfect(truth)
        case.shots[0].add_text("given", truth.given_caption, AUTHOR)
        case.shots[0].scores["judged"] = score
        given.append(case)
    other, slot, motion = judged(given, ["judged"])
    assert other.value is None and other.count == 0
    assert slot.value == pytest.approx((3 / 4 + 1) / 2) and slot.count == 1
    assert motion.value == pytest.approx((3 / 4 + 1 / 2) / 2) and motion.met is False
    assert len(motion.misses) == 2
    assert {figure.note for figure in judged(given, ["another"])} == {"not in this recipe"}


def test_textured_backdrops_alone_show_the_camera() -> None:
    given = cases()
    plain = sum(scene.backdrop not in TEXTURED for case in given for scene in case.truth.scenes)
    total = sum(len(case.truth.scenes) for case in given)
    assert plain and named(describe_clip(given), "camera").count == total - plain


def test_the_area_under_the_curve_is_how_often_right_beats_wrong() -> None:
    right, wrong = np.array([0.9, 0.5, 0.5], np.float32), np.array([0.5, 0.1], np.float32)
    pairs = [(r > w) + 0.5 * (r == w) for r in right for w in wrong]
    assert area(right, wrong) == pytest.approx(sum(pairs) / len(pairs))
    assert area(wrong, right) == pytest.approx(1 - sum(pairs) / len(pairs))
