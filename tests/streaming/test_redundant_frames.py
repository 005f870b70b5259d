"""Frames that repeat the last one cost a reader of a stream nothing to lose; others do.

TimeChat-Online reports that more than 80 % of what a model is shown of a stream can go at 98 % of
its performance. Arms: all frames, those that `thin_frames` keeps under the encoder that ships, and
as many drawn at random. Judge: a reader that answers from the frames before each answer is due.
"""

from __future__ import annotations

import asyncio
import copy
import random

import pytest
from planted import World
from streamers import Streamer
from test_causality import Reader
from test_stream_qa import asked, told

from clipmill.stages.frames.thin_frames import Settings, ThinFrames
from clipmill.stages.ground.watched import frames_of
from clipmill.stages.interleave.build_dialogue import BuildDialogue
from clipmill.stages.interleave.build_dialogue import Settings as Dialogue
from clipmill.stages.models import teacher_stage
from clipmill.stages.qa import answer_qa
from clipmill.stages.qa.answer_qa import AnswerQa

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def world() -> World:
    """Two streams of twelve scenes of 2 s, three frames a second, a question for every scene."""
    made = told(2, frames=6)
    model = Streamer()
    model.rate = 0.0
    asked(made.parts, model, questions=3)
    for part in made.parts:
        BuildDialogue(Dialogue(modes=("now",), fps=4.0)).process(part)
    return made


def streamed(world: World) -> World:
    """A copy whose frames are those of one stream: nobody says where its scenes begin."""
    found = copy.deepcopy(world)
    for part in found.parts:
        [whole] = part.video.layer("whole")
        part.frames = {whole.id: frames_of(part, "shots")}
    return found


def thinned(world: World) -> World:
    stage = ThinFrames(Settings(encoder={"model": "embedded"}, layer="whole"))
    stage.setup()
    found = streamed(world)
    for part in found.parts:
        stage.process(part)
    return found


def drawn(world: World, kept: float, seed: int) -> World:
    """A share of each video's frames, drawn at random."""
    found = streamed(world)
    for part in found.parts:
        rng = random.Random(f"{part.video.id}/{seed}")
        for name, every in part.frames.items():
            left = sorted(rng.sample(range(len(every)), round(kept * len(every))))
            part.frames[name] = [every[n] for n in left]
    return found


def frames(world: World) -> int:
    return sum(len(own) for part in world.parts for own in part.frames.values())


def accuracy(world: World, reader: Reader) -> tuple[float, int]:
    """Share of questions answered rightly when due, and how many pictures that took."""
    name = "due"
    settings = answer_qa.Settings(
        layer="whole", kind="turn", view="until", frames_layer="whole", frames=1000, name=name
    )
    reader.asked.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher_stage, "open_teacher", lambda _: reader)
        stage = AnswerQa(settings)
        stage.setup()
    right: list[float] = []
    for part in world.parts:
        asyncio.run(stage.process(part))
        [whole] = part.video.layer("whole")
        turns = [s for s in whole.samples if s.kind == "turn"]
        right += [float(s.labels.get(name, "0")) for s in turns]  # nothing seen, nothing known
    return sum(right) / len(right), sum(len(request.images) for request in reader.asked)


def test_frames_that_repeat_the_last_one_can_go_and_others_not(world: World) -> None:
    reader = Reader(world)
    few = thinned(world)
    dropped = 1 - frames(few) / frames(world)
    whole, cost = accuracy(streamed(world), reader)
    thin, less = accuracy(few, reader)
    chance = [accuracy(drawn(world, 1 - dropped, seed), reader)[0] for seed in range(5)]
    by_chance = sum(chance) / len(chance)
    print(
        f"dropped {dropped:.2f}: all {whole:.2f}, thinned {thin:.2f}, drawn {by_chance:.2f};"
        f" pictures shown {cost / less:.1f} times fewer"
    )
    assert dropped >= 0.5 and thin >= 0.98 * whole == 0.98
    assert by_chance <= thin - 0.1 and cost >= 2 * less
