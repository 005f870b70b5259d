"""The teacher that ships tells what a rendered clip shows, on combinations it never met.

Figures over hundreds of clips stand in `infra/embedded_models/measured`; the few dozen here keep
them from rotting, so the bars lie below those figures by what so few clips scatter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Frame, Part, Segment, Video
from clipmill.stages.caption.caption_clip import CaptionClip
from clipmill.stages.models.embedded import embedded_folder
from clipmill.stages.models.teacher import TeacherSettings

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def exam(evaluate: Any) -> Iterator[Any]:
    made = evaluate.Examination("embedded")
    yield made
    made.close()


def test_the_teacher_is_safetensors_of_at_most_12_megabytes_and_known_by_content() -> None:
    weights = list(embedded_folder("teacher").glob("*.safetensors"))
    assert len(weights) == 1 and weights[0].stat().st_size <= 12_000_000
    settings = TeacherSettings(model="embedded")
    assert settings.model == "embedded"  # no path of this machine in a recipe
    assert settings.model_identity().name == "clipmill-world-vl"
    assert len(settings.identity()["revision"]) == 32


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


def test_questions_about_a_caption_are_right_to_the_letter(evaluate: Any, exam: Any) -> None:
    assert exam.questioned(evaluate.held_out_clips(30, seed=2)) >= 0.9


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
