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
from clipmill.stages.caption.caption_clip import CaptionClip, caption_schema
from clipmill.stages.compose.altered import altered
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


def test_replies_as_taught_can_be_written_under_their_schemas_token_by_token(
    evaluate: Any,
) -> None:
    import tasks  # type: ignore[import-not-found]
    import torch
    from transformers import AutoTokenizer

    from clipmill.stages.models.constrained import Grammars

    words = AutoTokenizer.from_pretrained(embedded_folder("teacher"))
    grammars = Grammars(words, len(words), words.eos_token_id)
    rng = np.random.default_rng(4)
    for clip in evaluate.held_out_clips(5, seed=2):
        scene, other = clip.scene, altered(clip.scene, "motion", rng)
        for turn, schema in (
            (tasks.caption_turn("dense", scene, clip.times), caption_schema(1200)),
            (tasks.judge_turn(scene, clip.times, other, "-"), tasks.JUDGE_SCHEMA),
            (tasks.qa_turn(scene, "-"), tasks.QA_SCHEMA),
            (tasks.narration_turn([scene, other], rng), tasks.EVENTS_SCHEMA),
            (tasks.narration_turn([], rng), tasks.EVENTS_SCHEMA),
        ):
            reply = [*words(turn.reply)["input_ids"], words.eos_token_id]
            write = grammars.processor([schema])
            for place, token in enumerate(reply):
                before = torch.tensor([[0, *reply[:place]]])
                allowed = write(before, torch.zeros(1, len(words)))
                assert torch.isfinite(allowed[0, token]), (turn.reply, words.decode([token]))


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
    straight = [clip.jpegs() for clip in clips]
    shares = exam.slots(clips, [*straight[1:], straight[0]])
    # One of eight, and what forty clips scatter around that.
    assert all(shares[slot] <= 0.35 for slot in ("object", "colour", "motion", "background"))


def test_of_noise_the_teacher_says_that_nothing_is_shown(evaluate: Any, exam: Any) -> None:
    clips = evaluate.held_out_clips(20, seed=2)
    rng = np.random.default_rng(3)
    noise = [clip.jpegs(rng) for clip in clips]
    told = exam.captions(clips, "brief", noise)
    assert np.mean([text == evaluate.NOTHING for text in told]) >= 0.9
    assert exam.fitting(clips, noise) <= 0.1


def test_where_a_word_was_misheard_the_others_are_told_and_nothing_is_made_up(
    evaluate: Any, exam: Any
) -> None:
    found = exam.misheard(evaluate.held_out_clips(30, seed=2))
    assert found["heard slots told"] >= 0.75 and found["slots made up"] <= 0.2


def test_questions_about_a_caption_are_right_to_the_letter(evaluate: Any, exam: Any) -> None:
    assert exam.questioned(evaluate.held_out_clips(30, seed=2)) >= 0.9


@pytest.mark.parametrize("slot", ["object", "motion"])
def test_captions_with_one_wrong_slot_are_told_from_right_ones(
    evaluate: Any, exam: Any, slot: str
) -> None:
    assert exam.judged(evaluate.held_out_clips(20, seed=2), slot) >= 0.8


def test_a_verdict_follows_from_the_pixels(evaluate: Any, exam: Any) -> None:
    clips = evaluate.held_out_clips(12, seed=2)
    rng = np.random.default_rng(3)
    assert exam.judged(clips, "motion", scramble=rng) <= 0.7  # chance is one half


def test_narration_becomes_captions_at_the_seconds_at_which_they_are_said(
    evaluate: Any, exam: Any
) -> None:
    found = exam.narrated(evaluate.held_out_clips(24, seed=2), most=4)
    assert found["seconds"] >= 0.85 and found["to the letter"] >= 0.8


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
