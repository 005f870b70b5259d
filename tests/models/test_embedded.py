"""The models that ship: they tell what a rendered clip shows, on scenes they were not trained on.

Figures over hundreds of clips stand in `measured.json` beside the weights; the few dozen here keep
them from rotting, so the bars lie below those figures by what so few clips scatter.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Frame, Part, Segment, Video
from clipmill.stages.caption.caption_clip import CaptionClip
from clipmill.stages.models.embedded import embedded_folder
from clipmill.stages.models.encoder import EncoderSettings
from clipmill.stages.models.teacher import TeacherSettings

pytestmark = pytest.mark.models

TRAINING = Path(__file__).parents[2] / "infra" / "embedded_models"


@pytest.fixture(scope="module")
def evaluate() -> Iterator[Any]:
    """The measuring side of the training code, which is no package."""
    before = set(sys.modules)
    sys.path.insert(0, str(TRAINING))
    try:
        import evaluate as module

        yield module
    finally:
        sys.path.remove(str(TRAINING))
        for name in set(sys.modules) - before:
            if str(TRAINING) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]


@pytest.fixture(scope="module")
def exam(evaluate: Any) -> Iterator[Any]:
    made = evaluate.Examination("embedded")
    yield made
    made.close()


@pytest.mark.parametrize("kind", ["teacher", "encoder"])
def test_embedded_weights_are_safetensors_of_at_most_12_megabytes(kind: Any) -> None:
    weights = list(embedded_folder(kind).glob("*.safetensors"))
    assert len(weights) == 1 and weights[0].stat().st_size <= 12_000_000
    assert not [path for path in embedded_folder(kind).iterdir() if path.suffix in (".bin", ".pt")]


def test_embedded_is_known_by_its_content_and_means_the_same_everywhere() -> None:
    teacher, encoder = TeacherSettings(model="embedded"), EncoderSettings(model="embedded")
    assert teacher.model == encoder.model == "embedded"  # no path of this machine in a recipe
    names = {teacher.model_identity().name, encoder.model_identity().name}
    assert names == {"clipmill-world-vl", "clipmill-world-clip"}
    assert len(teacher.identity()["revision"]) == 32


def test_no_thing_of_a_training_scene_is_a_combination_held_out_for_tests(evaluate: Any) -> None:
    import scenes  # type: ignore[import-not-found]

    rng = np.random.default_rng(5)
    taught = [scenes.draw_scene(rng, test=False) for _ in range(200)]
    asked = [scenes.draw_scene(rng, test=True) for _ in range(200)]
    held = {_combination(scene) for scene in asked}
    assert not held & {_combination(scene) for scene in taught}
    for slot in range(4):  # the parts themselves are all taught
        assert {key[slot] for key in held} <= {_combination(scene)[slot] for scene in taught}


def test_caption_clip_names_object_colour_motion_and_background(evaluate: Any) -> None:
    clips = evaluate.held_out_clips(40, seed=2)
    stage = CaptionClip(
        CaptionClip.Settings(teacher=TeacherSettings(model="embedded", dtype="float32"), frames=4)
    )
    stage.setup()
    try:
        part = asyncio.run(stage.process(_part(clips)))
    finally:
        stage.close()
    captions = [segment.texts_of("caption")[-1].text for segment in part.video.segments]
    told = [evaluate.slots_of(caption) for caption in captions]
    for slot in ("object", "colour", "motion", "background"):
        right = [
            found[slot] == evaluate.true_slots(clip.scene)[slot]
            for found, clip in zip(told, clips, strict=True)
        ]
        assert np.mean(right) >= 0.85, slot


def test_captions_come_from_the_pixels(evaluate: Any, exam: Any) -> None:
    clips = evaluate.held_out_clips(40, seed=2)
    rng = np.random.default_rng(3)
    shares = exam.slots(clips, [clip.jpegs(rng) for clip in clips])
    # One of eight, and what forty clips scatter around that.
    assert all(shares[slot] <= 0.35 for slot in ("object", "colour", "motion", "background"))


def test_the_judge_hears_a_wrong_motion(evaluate: Any, exam: Any) -> None:
    assert exam.judged(evaluate.held_out_clips(30, seed=2), "motion") >= 0.8


@pytest.mark.parametrize("kind", ["qa", "narration"])
def test_text_alone_is_rewritten_to_the_letter(evaluate: Any, exam: Any, kind: str) -> None:
    assert exam.texts(evaluate.held_out_clips(30, seed=2), kind) >= 0.8


def test_the_encoder_prefers_the_right_caption(evaluate: Any) -> None:
    areas = evaluate.examine_encoder("embedded", 60)
    assert areas["random"] >= 0.95
    assert min(areas[slot] for slot in ("object", "colour", "background")) >= 0.9
    assert areas["random, scrambled"] <= 0.7


def _combination(scene: Any) -> tuple[str, str, str, str]:
    thing = scene.things[0]
    return thing.shape, thing.colour, thing.motion, scene.backdrop


def _part(clips: list[Any]) -> Part:
    """Clips as the segments of one video, with the frames that `sample_frames` would leave."""
    video = Video("rendered", "rendered.mp4")
    part = Part(video)
    for number, clip in enumerate(clips):
        span = Span(MILLISECONDS, number * 10_000, number * 10_000 + 9_000)
        video.segments.append(Segment(f"shots-{number}", "shots", span))
        part.frames[f"shots-{number}"] = [
            Frame(
                MILLISECONDS, number * 10_000 + round(1000 * (at - clip.times[0])), jpeg, 320, 240
            )
            for at, jpeg in zip(clip.times, clip.jpegs(), strict=True)
        ]
    return part
