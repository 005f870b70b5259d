"""What the teacher is taught to answer: questions as the operators ask them, replies as they parse.

The prompts are the shipped ones and the replies keep the operators' schemas, so nothing stands
between training and use. Whether a caption fits is answered criterion by criterion, what is seen
beside what is said: two phrases next to each other are far easier to compare than a sentence and
pictures, and the reply explains itself. Both phrases are in the words of the first paraphrase.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clipmill.stages.compose.altered import SLOTS
from clipmill.stages.compose.scenes import pick
from clipmill.stages.compose.wording import FILLERS, captions, spoken
from clipmill.stages.compose.world import Scene, Thing
from clipmill.stages.ground.write_events import events_schema
from clipmill.stages.models.prompts import load_prompt
from clipmill.stages.qa.text_qa import text_qa_schema
from clipmill.stages.score.judge import judge_schema, named

REVERSED = {"left": "right", "right": "left", "up": "down", "down": "up"} | {
    "grow": "shrink",
    "shrink": "grow",
}
JUDGE_SCHEMA = judge_schema(SLOTS)
QA_SCHEMA = text_qa_schema(4)
EVENTS_SCHEMA = events_schema(20, 200)
NOTHING = "nothing is shown"
"""The caption of pictures that show nothing."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A prompt with the right reply; `sees` says whether the frames come with it.

    `unknown` are extents of the reply, in characters, that cannot be known from the question: they
    are read and not learnt.
    """

    prompt: str
    reply: str
    sees: bool = True
    unknown: tuple[tuple[int, int], ...] = ()


def compact(value: Any) -> str:
    """JSON as constrained decoding writes it: no spaces between tokens."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def caption_turn(kind: str, scene: Scene, times: Sequence[float], context: str = "") -> Turn:
    """caption_brief, caption_dense or caption_action as `caption_clip` asks them."""
    told = captions(scene)
    brief = told.brief[0]
    text = {"brief": brief, "dense": told.detailed[0], "action": _action(scene)}[kind]
    return _captioned(kind, text, times, context)


def nothing_turn(kind: str, times: Sequence[float]) -> Turn:
    """The same of pictures that show nothing."""
    return _captioned(kind, NOTHING, times, "")


def _captioned(kind: str, text: str, times: Sequence[float], context: str) -> Turn:
    prompt = load_prompt(f"caption_{kind}.v1").render(
        count=len(times), times=seconds(times), language="en", context=context
    )
    return Turn(prompt, compact({"caption": text}))


def judge_turn(scene: Scene | None, times: Sequence[float], said: Scene, caption: str) -> Turn:
    """Whether `caption`, one of the scene `said`, is true of `scene`; of nothing it never is."""
    seen = slots(scene) if scene else dict.fromkeys(SLOTS, "nothing")
    told = slots(said)
    reply: dict[str, Any] = {
        name: {
            "seen": seen[name],
            "said": told[name],
            "fits": "yes" if seen[name] == told[name] else "no",
        }
        for name in SLOTS
    }
    reply["match"] = "yes" if seen == told else "no"
    return Turn(judge_prompt(times, caption), compact(reply))


def blind(turn: Turn) -> Turn:
    """A verdict without pictures: what is seen is given, and only the comparison is learnt."""
    seen = [found.span(1) for found in re.finditer(r'"seen":"([^"]*)"', turn.reply)]
    return replace(turn, sees=False, unknown=tuple(seen))


def slots(scene: Scene) -> dict[str, str]:
    """What a scene shows by criterion, each in the words of its first paraphrase."""
    thing = scene.things[0]
    return {
        "object": thing.shape,
        "colour": thing.colour,
        "motion": _verb(thing),
        "background": _place(scene),
    }


def judge_prompt(times: Sequence[float], caption: str) -> str:
    return load_prompt("judge_caption.v2").render(
        count=len(times), times=seconds(times), criteria=named(SLOTS), caption=caption
    )


def qa_turn(scene: Scene, caption: str, questions: int = 3) -> Turn:
    """Questions that the caption decides, in the order in which it is read."""
    thing = scene.things[0]
    asked = [
        (f"What colour is the {thing.shape}?", thing.colour),
        (f"What does the {thing.colour} {thing.shape} do?", f"it {_verb(thing)}"),
        (f"What is behind the {thing.shape}?", _place(scene)),
    ]
    reply = [{"question": question, "answer": answer} for question, answer in asked[:questions]]
    prompt = load_prompt("qa_from_caption.v1").render(questions=questions, caption=caption)
    return Turn(prompt, compact({"questions": reply}), sees=False)


def narration_turn(
    scenes: Sequence[Scene], rng: np.random.Generator, *, fillers: float = 0.3, misheard: float = 0
) -> Turn:
    """Sentences as `write_events` shows them, some about nothing seen, into timed events.

    `fillers` is the chance of such a sentence after each other one, `misheard` that of a word or
    two that were not said: they are passed on as heard. Half of all blocks are punctuated.
    """
    written = bool(rng.random() < 0.5)
    said: list[tuple[str, bool]] = []
    for scene in scenes:
        sentence = " ".join(spoken(scene, int(rng.integers(4))))
        if rng.random() < misheard:
            sentence = _misheard(sentence, rng)
        said.append((sentence, True))
        if rng.random() < fillers:
            said.insert(len(said) - int(rng.integers(2)), (pick(rng, FILLERS), False))
    at = float(rng.uniform(0.2, 300 if rng.random() < 0.1 else 40))
    begin, end = at, at
    lines, events = [], []
    for sentence, seen in said:
        shown = f"{sentence[0].upper()}{sentence[1:]}." if written else sentence
        lines.append(f"{at:.1f}: {shown}")
        if seen:
            text = f"{_article(sentence.removeprefix('the '))}{sentence.removeprefix('the')}"
            events.append({"time": float(f"{at:.1f}"), "text": text})
        end = at + float(rng.uniform(1.2, 3))
        at = end + float(rng.uniform(0.35, 1.0 if rng.random() < 0.6 else 5.0))
    prompt = load_prompt("events_caption.v1").render(
        start=round(begin, 3),
        end=round(end, 3),
        language="en",
        most=20,
        context="",
        speech="\n".join(lines),
    )
    return Turn(prompt, compact({"events": events}), sees=False)


def _misheard(sentence: str, rng: np.random.Generator) -> str:
    """One word or two in a row, but the first, replaced by letters or by words about other things.

    A recogniser that misses a word writes one that sounds alike, so what stands there means
    nothing, however much it is a word.
    """
    words = sentence.split()
    at = int(rng.integers(1, len(words)))
    for place in range(at, min(len(words), at + int(rng.integers(1, 3)))):
        if rng.random() < 0.7:
            letters = rng.choice(list("abcdefghiklmnoprstuvwy"), int(rng.integers(2, 8)))
            words[place] = "".join(letters)
        else:
            words[place] = pick(rng, pick(rng, FILLERS).split())
    return " ".join(words)


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


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


def _place(scene: Scene) -> str:
    return captions(scene).brief[1].partition("against ")[2]


def _action(scene: Scene) -> str:
    thing = scene.things[0]
    return f"{_article(thing.colour)} {thing.colour} {thing.shape} {_verb(thing)}"
