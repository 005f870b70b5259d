"""What the planner promises: scenes that can be seen, and a time line without collisions."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipmill.stages.compose.paint import ScenePainter, outline
from clipmill.stages.compose.scenes import Settings, Variant, plan
from clipmill.stages.compose.speech import say
from clipmill.stages.compose.wording import (
    FILLERS,
    SPOKEN_BACKDROPS,
    SPOKEN_MOTIONS,
    captions,
    spoken,
)
from clipmill.stages.compose.world import (
    CLASH,
    COLOURS,
    SHAPES,
    TEXTURED,
    Storyboard,
)

SEEDS = st.integers(0, 10**6)


def board(seed: int, variant: Variant = "clean", **changes: object) -> Storyboard:
    chosen = Settings.model_validate({"max_scenes": 5, "sounds": 0.6, "upsets": 0.5, **changes})
    return plan(chosen, variant, np.random.default_rng(seed))


@settings(max_examples=60)
@given(SEEDS)
def test_nothing_is_painted_where_it_could_not_be_seen(seed: int) -> None:
    for scene in board(seed).scenes:
        assert not {thing.colour for thing in scene.things} & CLASH[scene.backdrop]
        assert all(
            thing.shape not in ("circle", "ring")
            for thing in scene.things
            if thing.motion == "rotate"
        )
        if scene.camera != "static":
            assert scene.backdrop in TEXTURED
        if len(scene.things) == 2:
            first, second = scene.things
            assert first.colour != second.colour
            assert first.shape != second.shape or second.motion == "rotate"


@settings(max_examples=60)
@given(SEEDS)
def test_a_camera_move_never_cancels_or_imitates_a_motion(seed: int) -> None:
    for scene in board(seed, moving_camera=1.0).scenes:
        motions = {thing.motion for thing in scene.things}
        if scene.camera.startswith("pan"):
            assert not motions & {"left", "right"}
        if scene.camera.startswith("zoom"):
            assert not motions & {"grow", "shrink"}


@settings(max_examples=60)
@given(SEEDS)
def test_neighbouring_scenes_differ_in_backdrop_and_colour(seed: int) -> None:
    scenes = board(seed).scenes
    for one, two in itertools.pairwise(scenes):
        assert one.backdrop != two.backdrop
        assert one.things[0].colour != two.things[0].colour


@settings(max_examples=60)
@given(SEEDS, st.floats(-8, 8), st.floats(0, 4))
def test_sentences_never_overlap_and_stay_inside(seed: int, lag: float, spread: float) -> None:
    planned = board(seed, min_lag=lag, max_lag=min(8.0, lag + spread), fillers=0.5)
    free = 0.0
    for line in planned.lines:
        assert line.start >= free
        free = line.start + say(list(line.phrases)).seconds + 0.39
    assert free <= planned.seconds + 0.4


@settings(max_examples=40)
@given(SEEDS)
def test_without_lag_every_scene_is_spoken_of_while_it_is_seen(seed: int) -> None:
    planned = board(seed, fillers=0.4)
    starts = planned.starts()
    about = [line for line in planned.lines if line.scene is not None]
    assert [line.scene for line in about] == list(range(len(planned.scenes)))
    for line in about:
        assert line.scene is not None
        end = line.start + say(list(line.phrases)).seconds
        assert starts[line.scene] / planned.fps < line.start
        assert end < starts[line.scene + 1] / planned.fps


@settings(max_examples=40)
@given(SEEDS)
def test_sound_events_keep_clear_of_speech(seed: int) -> None:
    planned = board(seed)
    for number, scene in enumerate(planned.scenes):
        for event in scene.sounds:
            start = planned.starts()[number] / planned.fps + event.start
            end = start + event.end - event.start
            for line in planned.lines:
                last = line.start + say(list(line.phrases)).seconds
                assert end < line.start or start > last


@settings(max_examples=40)
@given(SEEDS)
def test_disturbances_keep_clear_of_borders(seed: int) -> None:
    for scene in board(seed).scenes:
        for upset in scene.upsets:
            assert upset.start >= 0.9
            assert upset.end <= scene.frames / 24 - 0.5


@settings(max_examples=40)
@given(SEEDS)
def test_captions_name_every_slot_and_no_wrong_one(seed: int) -> None:
    for scene in board(seed).scenes:
        thing = scene.things[0]
        written = captions(scene)
        assert len({*written.brief, *written.detailed}) == 6
        named = {thing.colour for thing in scene.things} | {"gray"}
        named |= {"green"} if scene.backdrop == "grass" else set()
        named |= {"blue"} if scene.backdrop == "water" else set()
        for text in (*written.brief, *written.detailed):
            words = text.lower().replace(",", " ").replace(".", " ").split()
            assert thing.colour in words
            assert thing.shape in words
            assert {word for word in words if word in COLOURS} <= named
        assert all((scene.word or "word") in text for text in written.detailed if scene.word)


def test_every_phrase_of_the_grammar_is_in_the_bank() -> None:
    for colour in COLOURS:
        for shape in SHAPES:
            say([f"the {colour} {shape}", "moves up"])
    for form in (form for forms in SPOKEN_MOTIONS.values() for form in forms):
        assert say(["the red star", form]).text == f"the red star {form}"
        for place in SPOKEN_BACKDROPS.values():
            say(["the red star", form, place])
    for filler in FILLERS:
        sentence = say([filler])
        assert [word for word, _, _ in sentence.words] == filler.split()


def test_words_of_a_joined_sentence_lie_inside_its_sound_in_order() -> None:
    sentence = say(["the blue ring", "spins around", "over the water"])
    times = [time for _, start, end in sentence.words for time in (start, end)]
    assert times[-1] <= len(sentence.pcm)
    assert all(b - a >= -80 for a, b in itertools.pairwise(times))  # one join of 5 ms


def test_a_phrase_that_was_never_recorded_is_refused() -> None:
    with pytest.raises(KeyError):
        say(["the pink elephant"])


def test_the_narrator_says_what_the_scene_shows() -> None:
    scene = board(3).scenes[0]
    for choice in range(4):
        subject, motion, *_ = spoken(scene, choice)
        assert subject == f"the {scene.things[0].colour} {scene.things[0].shape}"
        assert motion in SPOKEN_MOTIONS[scene.things[0].motion]


@pytest.mark.parametrize("shape", SHAPES)
def test_outlines_lie_about_the_unit_circle(shape: str) -> None:
    reach = np.abs(outline(shape)).max()  # type: ignore[arg-type]
    assert 0.7 < reach < 1.15


def test_a_static_variant_paints_one_picture_again_and_again() -> None:
    planned = board(5, "static")
    painter = ScenePainter(planned.scenes[0], 96, 72, 24)
    assert len(planned.scenes) == 1
    assert np.array_equal(painter.frame(0), painter.frame(planned.scenes[0].frames - 1))


def test_the_two_scene_variant_has_one_hard_cut() -> None:
    planned = board(5, "two_scenes", gradual=1.0)
    assert [scene.into for scene in planned.scenes] == ["cut", "cut"]
