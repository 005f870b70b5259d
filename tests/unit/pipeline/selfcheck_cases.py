"""Runs without a mistake beside the truth they were made of, for tests to spoil."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache

import numpy as np

from clipmill.pipeline.selfcheck.figures import Case, Figure
from clipmill.pipeline.selfcheck.looks import main_colours
from clipmill.schemas.clocks import MILLISECONDS, Clock, Span
from clipmill.schemas.records import Author, Segment, Transcript, Utterance, Video, Word
from clipmill.stages.compose.render_synthetic import tell
from clipmill.stages.compose.scenes import Settings, plan
from clipmill.stages.compose.truth import Moment, SceneTruth, Truth

FPS = 24


CLOCK = Clock("v0", 1, FPS)


PLAN = Settings(min_scenes=3, max_scenes=5, gradual=0.4, upsets=0.5, words=0.5)


AUTHOR = Author("test")


@cache
def truths() -> tuple[Truth, ...]:
    boards = [plan(PLAN, "clean", np.random.default_rng([1, number])) for number in range(12)]
    return tuple(tell(board, f"film{number}", 1) for number, board in enumerate(boards))


def still(truth: Truth) -> Truth:
    """The same under a camera that stands still: only such scenes' captions are judged."""
    truth = copy.deepcopy(truth)
    for scene in truth.scenes:
        scene.camera = "static"
    return truth


def perfect(truth: Truth) -> Case:
    """What a run would write that makes no mistake at all."""
    video = Video(truth.name, f"{truth.name}.mp4")
    said = [
        Utterance(
            line.text,
            round(line.start_s * 1000),
            round(line.end_s * 1000),
            [
                Word(word.text, round(word.start_s * 1000), round(word.end_s * 1000))
                for word in line.words
            ],
        )
        for line in truth.narration
    ]
    video.transcripts.append(Transcript(MILLISECONDS, AUTHOR, utterances=said))
    video.add_segments(
        "shots", [Span(CLOCK, scene.start_frame, scene.end_frame) for scene in truth.scenes]
    )
    for scene, shot in zip(truth.scenes, video.layer("shots"), strict=True):
        words = [
            word.text
            for line in truth.narration
            for word in line.words
            if scene.start_s <= (word.start_s + word.end_s) / 2 < scene.end_s
        ]
        if words:
            shot.add_text("asr", " ".join(words), AUTHOR)
        shot.scores["text_area"] = 0.0
        if scene.word:
            shot.add_text("ocr", scene.word, AUTHOR)
        shot.add_text("caption", scene.brief[0], AUTHOR)
        shot.labels["camera"] = scene.camera
        for colour in sorted(main_colours(scene))[:1]:
            shot.labels["colour"] = colour
        _ask(shot, scene)
    return Case(video, truth)


def _ask(shot: Segment, scene: SceneTruth) -> None:
    """Questions whose answers are right, with the shot as evidence."""
    camera = {
        "static": "stands still",
        "pan_left": "pans left",
        "pan_right": "pans right",
        "zoom_in": "zooms in",
        "zoom_out": "zooms out",
    }[scene.camera]
    thing = scene.things[0]
    asked = [
        ("What does the camera do?", f"It {camera}."),
        ("What text can be read in the picture?", scene.word or "-"),
        (f"What colour is the {thing.shape}?", thing.colour),
        (f"What does the {thing.colour} {thing.shape} do?", f"it {_verb(scene)}"),
    ]
    asked += [("What is the main colour of the picture?", c) for c in sorted(main_colours(scene))]
    for question, answer in asked:
        shot.add_sample("qa", question, answer, AUTHOR, evidence=[shot.span])


def _verb(scene: SceneTruth) -> str:
    return scene.brief[0].split(f" {scene.things[0].shape} ", 1)[1]


def cases() -> list[Case]:
    return [perfect(truth) for truth in truths()]


def moment(kind: str, frame: int, frames: int) -> Moment:
    return Moment(kind, frame, frame + frames, frame / FPS, (frame + frames) / FPS)


def named(found: list[Figure] | Iterator[Figure], name: str) -> Figure:
    (figure,) = [figure for figure in found if name in figure.name]
    return figure
