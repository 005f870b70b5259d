"""The family's acceptance: causal, answerable when due and not before, silent elsewhere.

Painted videos with a caption for every scene, questions by a model at the edge that breaks its
contract in three of ten first replies, wrong options from other scenes, and a reader at the edge
that sees the pictures it is given and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from narrated import Eye
from planted import World, right
from quizzers import Edge
from stream_rules import dialogue_of, early_answers, faults, replies
from streamers import Streamer, called
from test_stream_qa import asked, told

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Part, Sample, Segment, Video
from clipmill.stages.convert import import_annotations
from clipmill.stages.interleave.build_dialogue import BuildDialogue
from clipmill.stages.interleave.build_dialogue import Settings as Dialogue
from clipmill.stages.models import encoder_stage, teacher_stage
from clipmill.stages.models.teacher import Request
from clipmill.stages.qa import answer_qa
from clipmill.stages.qa.answer_qa import AnswerQa
from clipmill.stages.qa.build_distractors import BuildDistractors
from clipmill.stages.qa.build_distractors import Settings as Options
from clipmill.stages.qa.stream_qa import StreamQa

CHANCE = 1 / 4
DIALOGUE = Dialogue(
    kinds=("choice",), narrate="caption", narrate_layer="shots", gap_s=1.0, fps=4.0, seed=1
)


def conversed(videos: int = 12, build: Callable[[Part], Part] | None = None) -> World:
    """Painted videos with their dialogues."""
    world = told(videos)
    asked(world.parts, Streamer())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder_stage, "open_encoder", lambda _: Eye())
        options = BuildDistractors(Options(layer="whole", texts_layer="shots"))
        options.setup()
    for part in world.parts:
        options.process(part)
        (build or BuildDialogue(DIALOGUE).process)(part)
    return world


@pytest.fixture(scope="module")
def world() -> World:
    return conversed()


def wholes(world: World) -> list[Segment]:
    return [segment for part in world.parts for segment in part.video.layer("whole")]


def asked_for(world: World) -> list[Sample]:
    """Answers to questions, without what is told to a standing request."""
    return [s for whole in wholes(world) for s in replies(whole) if s.options]


def causal(world: World) -> None:
    answers = [s for whole in wholes(world) for s in replies(whole)]
    assert len(asked_for(world)) >= 8 * len(wholes(world)), "too few were asked"
    assert len(answers) - len(asked_for(world)) >= 10 * len(wholes(world)), "too little was told"
    for mode in ("backward", "now", "forward"):
        share = [s.labels["mode"] for s in asked_for(world)].count(mode) / len(asked_for(world))
        assert share >= 0.2, (mode, share)
    assert [fault for whole in wholes(world) for fault in faults(whole)] == []
    assert any(replies(whole, "not_yet") for whole in wholes(world))


def test_all_answers_come_after_their_evidence_and_there_is_silence_elsewhere(
    world: World,
) -> None:
    causal(world)
    for whole in wholes(world):
        kinds = len(replies(whole)) + len(replies(whole, "not_yet"))
        assert whole.scores["dialogue_turns"] == kinds
        assert 0.5 < whole.scores["dialogue_silence"] < 1
        assert whole.scores["dialogue_left_out"] <= 0.1 * kinds


def impatient(part: Part) -> Part:
    """Builds the dialogue and then answers everything when it is asked."""
    part = BuildDialogue(DIALOGUE).process(part)
    for whole in part.video.layer("whole"):
        for sample in whole.samples:
            if sample.turn is not None:
                sample.turn = replace(sample.turn, end=sample.turn.start)
    return part


@pytest.mark.parametrize("gone", ["build_dialogue", "stream_qa", "patience"])
def test_without_an_operator_the_dialogue_is_not_what_it_says(
    gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(self: StreamQa, part: Part) -> Part:
        return part

    if gone == "stream_qa":
        monkeypatch.setattr(StreamQa, "process", nothing)
    build = {"build_dialogue": lambda part: part, "patience": impatient}.get(gone)
    with pytest.raises((AssertionError, ValueError)):
        causal(conversed(2, build))


class Reader(Edge):
    """Knows which scene a question is about, and answers by its picture if it is shown one.

    If not, it takes the first option, which the answer is as often as any other.
    """

    def __init__(self, world: World) -> None:
        super().__init__()
        self.scenes = {}
        for part in world.parts:
            for number, shot in enumerate(part.video.layer("shots"), 1):
                text = right(world.scenes[f"{part.video.id}/{shot.id}"])
                for frame in part.frames[shot.id]:
                    self.scenes[frame.jpeg] = (part.video.id, called(number), text)

    def answer(self, request: Request) -> dict[str, Any]:
        assert request.schema is not None
        options = request.schema["properties"]["answer"].get("enum", ["I cannot tell"])
        about = re.search(r" scene (\w\w)\b", request.prompt)
        video = request.id.partition("/")[0]
        for picture in request.images:
            shown, scene, text = self.scenes[picture]
            assert shown == video
            if about is not None and scene == about[1]:
                return {"answer": text}
        return {"answer": options[0]}


def shares(world: World, view: answer_qa.View, **more: Any) -> tuple[float, int]:
    """Share of right answers of a reader that sees pictures of this view, and how many it gave."""
    name = f"from_{view}"
    settings = answer_qa.Settings(
        layer="whole", kind="turn", view=view, frames_layer="shots", frames=200, name=name, **more
    )
    reader = Reader(world)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher_stage, "open_teacher", lambda _: reader)
        stage = AnswerQa(settings)
        stage.setup()
    for part in world.parts:
        asyncio.run(stage.process(part))
    noted = [float(s.labels[name]) for s in asked_for(world) if name in s.labels]
    return sum(noted) / len(noted), len(noted)


def test_a_reader_knows_the_answer_when_it_is_due_and_not_a_second_before_its_evidence(
    world: World,
) -> None:
    due, many = shares(world, "until")
    early, some = shares(world, "early")
    print(f"of {many}, {due:.2f} when due; of {some}, {early:.2f} a second before the evidence")
    assert (
        many == len(asked_for(world)) and some >= 0.8 * many
    )  # some evidence begins with the video

    def passes(due: float, early: float) -> bool:
        return due == 1 and early <= CHANCE + 0.05

    assert passes(due, early)
    assert not passes(due, due) and not passes(early, early), "the check sees no cut"


def timeline_of(whole: Segment, folder: Path, name: str) -> Path:
    """The timeline that can be read from a dialogue's text alone, as a file of annotations."""
    rows = []
    question, asked_at, thread = "", 0.0, 0
    open_asks: list[tuple[str, float, int]] = []
    samples = {(s.answer, s.turn.end): s.question for s in replies(whole) if s.turn}
    for message in dialogue_of(whole)["messages"]:
        if message["role"] == "user":
            question, asked_at, thread = (
                message["content"].partition("\n")[0],
                message["time"],
                thread + 1,
            )
            open_asks.append((question, asked_at, thread))
        elif "evidence" in message:
            said = samples[message["content"], round(message["time"] * 1000)]
            own = next(one for one in open_asks[::-1] if one[0] == said)
            spans = message["evidence"]
            rows.append({
                "question": own[0], "asked": own[1], "thread": own[2], "answer": message["content"],
                "answered": message["time"],
                "start": min(a for a, _ in spans), "end": max(b for _, b in spans),
            })  # fmt: skip
    path = folder / f"{name}.annotations.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_dialogue_to_timeline_to_dialogue_recovers_all_times(world: World, tmp_path: Path) -> None:
    settings = import_annotations.Settings(
        questions="asked", question="question", asked="asked", answered="answered",
        labels=("thread",),
    )  # fmt: skip
    for part in world.parts:
        [whole] = part.video.layer("whole")
        timeline_of(whole, tmp_path, part.video.id)
        again = Video(part.video.id, str(tmp_path / f"{part.video.id}.mp4"), probe=part.video.probe)
        stage = import_annotations.ImportAnnotations(settings)
        stage.setup()
        read = stage.process(Part(again))
        assert again.texts == []  # nothing was refused
        again.add_segments("whole", [whole.span])
        BuildDialogue(
            Dialogue(kinds=("question",), asked_on=("asked",), fps=4.0, not_yet=0.0)
        ).process(read)
        [rebuilt] = again.layer("whole")
        first, second = (
            sorted((s.question, s.answer, hull(s), s.turn) for s in replies(segment) if s.turn)
            for segment in (whole, rebuilt)
        )
        assert len(first) == len(second) > 0
        for one, two in zip(first, second, strict=True):
            assert one[:2] == two[:2]
            for a, b in ((one[2], two[2]), (one[3], two[3])):
                assert abs(a.start_s - b.start_s) <= 0.002 and abs(a.end_s - b.end_s) <= 0.002
        assert early_answers(rebuilt) == []


def hull(sample: Sample) -> Span:
    spans = [span.on(MILLISECONDS) for span in sample.evidence]
    return Span(MILLISECONDS, min(s.start for s in spans), max(s.end for s in spans))


def test_every_answer_is_what_its_scene_shows(world: World) -> None:
    for part in world.parts:
        shots = part.video.layer("shots")
        [whole] = part.video.layer("whole")
        for sample in replies(whole):
            last = max(sample.evidence, key=lambda span: span.end)
            scenes = [s for s in shots if s.span.overlap_s(last) > 0]
            true = [right(world.scenes[f"{part.video.id}/{s.id}"]) for s in scenes]
            assert sample.answer in true
