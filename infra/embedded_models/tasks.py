"""What the teacher is taught to answer: questions as the operators ask them, replies as they parse.

The prompts are the shipped ones and the replies keep the operators' schemas, so nothing stands
between training and use. Whether a caption fits is answered after saying what is seen: comparing
two sentences is far easier to learn than comparing a sentence with pictures, and the reply explains
itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clipmill.stages.compose.altered import SLOTS
from clipmill.stages.compose.scenes import pick
from clipmill.stages.compose.wording import FILLERS, captions, spoken
from clipmill.stages.compose.world import Scene, Thing
from clipmill.stages.models.prompts import load_prompt
from clipmill.stages.qa.text_qa import text_qa_schema
from clipmill.stages.score.judge import judge_schema

REVERSED = {"left": "right", "right": "left", "up": "down", "down": "up"} | {
    "grow": "shrink",
    "shrink": "grow",
}
JUDGE_SCHEMA = judge_schema(SLOTS)
QA_SCHEMA = text_qa_schema(4)


@dataclass(frozen=True, slots=True)
class Turn:
    """A prompt with the right reply; `sees` says whether the frames come with it."""

    prompt: str
    reply: str
    sees: bool = True


def compact(value: Any) -> str:
    """JSON as constrained decoding writes it: no spaces between tokens."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def caption_turn(kind: str, scene: Scene, times: Sequence[float], context: str = "") -> Turn:
    """caption_brief, caption_dense or caption_action as `caption_clip` asks them."""
    told = captions(scene)
    brief = told.brief[0]
    text = {"brief": brief, "dense": told.detailed[0], "action": _action(scene)}[kind]
    prompt = load_prompt(f"caption_{kind}.v1").render(
        count=len(times), times=seconds(times), language="en", context=context
    )
    return Turn(prompt, compact({"caption": text}))


def judge_turn(scene: Scene, times: Sequence[float], wrong: Sequence[str], caption: str) -> Turn:
    reply = {
        "seen": captions(scene).brief[0],
        "wrong": list(wrong),
        "match": "no" if wrong else "yes",
    }
    return Turn(judge_prompt(times, caption), compact(reply))


def judge_prompt(times: Sequence[float], caption: str) -> str:
    return load_prompt("judge_caption.v1").render(
        count=len(times), times=seconds(times), caption=caption
    )


def qa_turn(scene: Scene, caption: str, questions: int = 3) -> Turn:
    """Questions that the caption decides, in the order in which it is read."""
    thing = scene.things[0]
    place = captions(replace(scene, things=(thing,))).brief[1].partition("against ")[2]
    asked = [
        (f"What colour is the {thing.shape}?", thing.colour),
        (f"What does the {thing.colour} {thing.shape} do?", f"it {_verb(thing)}"),
        (f"What is behind the {thing.shape}?", place),
    ]
    reply = [{"question": question, "answer": answer} for question, answer in asked[:questions]]
    prompt = load_prompt("qa_from_caption.v1").render(questions=questions, caption=caption)
    return Turn(prompt, compact({"questions": reply}), sees=False)


def narration_turn(scenes: Sequence[Scene], rng: np.random.Generator) -> Turn:
    """A few sentences as `write_events` shows them, some about nothing seen, into timed events."""
    begin = at = float(rng.uniform(0.2, 20))
    lines, events = [], []
    for scene in scenes:
        if rng.random() < 0.3:
            lines.append(f"{at:.1f}: {pick(rng, FILLERS)}")
            at += float(rng.uniform(2, 4))
        sentence = " ".join(spoken(scene, int(rng.integers(4))))
        lines.append(f"{at:.1f}: {sentence}")
        article = "an" if scene.things[0].colour[0] in "aeiou" else "a"
        text = article + sentence.removeprefix("the")
        events.append({"time": float(f"{at:.1f}"), "text": text})
        at += float(rng.uniform(2, 5))
    prompt = load_prompt("events_caption.v1").render(
        start=round(begin, 2),
        end=round(at, 2),
        language="en",
        most=20,
        context="",
        speech="\n".join(lines),
    )
    return Turn(prompt, compact({"events": events}), sees=False)


def seconds(times: Sequence[float]) -> str:
    return ", ".join(f"{time:.2f}" for time in times)


def paraphrase(scene: Scene, rng: np.random.Generator) -> str:
    """One of the scene's brief captions."""
    return pick(rng, captions(scene).brief)


def reversed_in_time(scene: Scene) -> Scene:
    """What is seen when the scene's frames are shown backwards."""
    things = tuple(
        replace(thing, motion=REVERSED.get(thing.motion, thing.motion)) for thing in scene.things
    )
    return replace(scene, things=things)


def _verb(thing: Thing) -> str:
    return (
        captions(Scene(1, (thing,), "grass"))
        .brief[0]
        .split(f" {thing.shape} ")[1]
        .removesuffix(" over green grass")
    )


def _action(scene: Scene) -> str:
    thing = scene.things[0]
    article = "an" if thing.colour[0] in "aeiou" else "a"
    return f"{article} {thing.colour} {thing.shape} {_verb(thing)}"
