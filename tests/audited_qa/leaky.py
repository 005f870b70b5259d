"""Questions about painted scenes with planted leaks, and models that see, know and guess.

Every question is about things that are seen in exactly one scene of a video. What a model needs to
answer it differs by kind:

    sound         the order in which three things appear: several frames in their order
    order_free    which three are all seen: several frames, in any order
    single_frame  which one is seen: a frame
    blind         an order among options that name things of no such world: the options
    knowledge     a fact of the world: nothing
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from planted import World, chance, draw, painted
from quizzers import Edge

from clipmill.schemas.records import Author, Part, Sample, Segment
from clipmill.stages.compose.world import COLOURS, SHAPES
from clipmill.stages.models.teacher import Request

KINDS = ("knowledge", "blind", "single_frame", "order_free")
PER_VIDEO = {"sound": 8, **dict.fromkeys(KINDS, 3)}  # 40 % and four times 15 %
OPTIONS = 5
FACTS = {
    "How many legs does a spider have?": "eight",
    "What falls from clouds?": "rain",
    "What do bees make?": "honey",
    "Which season follows winter?": "spring",
    "What is frozen water called?": "ice",
}
ABSURD = ("the number seven", "last Tuesday", "a loud idea", "the sum of all angles")
SIGHT: dict[bytes, str] = {}
"""What a painted picture shows, by its bytes: the eye of these models does not err."""
_QUESTION = re.compile(r"The question:\n<data ([0-9a-f]+)>\n(.*?)</data \1>", re.DOTALL)
_THING = re.compile(rf"\b(?:{'|'.join(COLOURS)}) (?:{'|'.join(SHAPES)})\b")


@dataclass
class Leaky:
    """The painted videos, with all questions on the layer `whole` of each."""

    parts: list[Part]

    def samples(self) -> Iterator[tuple[Part, Segment, Sample]]:
        for part in self.parts:
            for segment in part.video.layer("whole"):
                for sample in segment.samples:
                    yield part, segment, sample


def leaky(videos: int, frames: int = 4, scenes: int = 8, seed: int = 5) -> Leaky:
    """Videos of so many scenes of two seconds, with twenty questions each."""
    world = painted(videos, frames, seed, scenes)
    for part in world.parts:
        seen = shown(part, world)
        for segment, thing in zip(part.video.layer("shots"), seen, strict=True):
            SIGHT.update({frame.jpeg: thing for frame in part.frames[segment.id]})
        once = [thing for thing in seen if seen.count(thing) == 1]
        absent = [f"{c} {s}" for c in COLOURS for s in SHAPES if f"{c} {s}" not in seen]
        part.video.add_segments("whole", [part.video.probe.span])  # type: ignore[union-attr]
        rng = random.Random(f"{seed}/{part.video.id}")
        for kind, count in PER_VIDEO.items():
            for _ in range(count):
                _add(part, kind, once, absent, rng)
    return Leaky(world.parts)


def shown(part: Part, world: World) -> list[str]:
    """Colour and shape of the thing of every scene, in time order."""
    scenes = [world.scenes[f"{part.video.id}/{s.id}"] for s in part.video.layer("shots")]
    return [f"{scene.things[0].colour} {scene.things[0].shape}" for scene in scenes]


def _add(
    part: Part, kind: str, once: Sequence[str], absent: Sequence[str], rng: random.Random
) -> None:
    three = [once[at] for at in sorted(rng.sample(range(len(once)), 3))]
    orders = [", then ".join(order) for order in itertools.permutations(three)]
    if kind in ("sound", "blind"):
        question = f"In which order do these appear: {', '.join(sorted(three))}?"
        answer, wrong = orders[0], orders[1:]
        if kind == "blind":
            wrong = [f"{three[0]}, then {odd}" for odd in ABSURD]
    elif kind == "order_free":
        question, answer = "Which three are all seen?", " and ".join(sorted(three))
        wrong = [" and ".join(sorted([*rng.sample(three, 2), odd])) for odd in absent]
    elif kind == "single_frame":
        question, answer, wrong = "Which one is seen?", three[0], list(absent)
    else:
        question = rng.choice(list(FACTS))
        answer, wrong = FACTS[question], [fact for fact in FACTS.values()]
    wrong = rng.sample([w for w in wrong if w != answer], OPTIONS - 1)
    part.video.layer("whole")[0].add_sample(
        "choice",
        question,
        answer,
        Author("planted"),
        options=rng.sample([answer, *wrong], OPTIONS),
        labels={"planted": kind},
    )


class Answerer(Edge):
    """Sees its pictures, reads its prompt, knows the facts, and guesses what they do not tell.

    One reply in thirty is a guess whatever it sees. Two models differ in their luck.
    """

    slip = 1 / 30

    def answer(self, request: Request) -> dict[str, Any]:
        assert request.schema is not None
        options: list[str] = request.schema["properties"]["answer"].get("enum", [])
        told = _QUESTION.search(request.prompt)
        question = " ".join(json.loads(line) for line in told[2].splitlines()) if told else ""
        luck = (self.settings.model, request.id)
        found = self._found(question, options, [SIGHT[jpeg] for jpeg in request.images])
        if found is None or chance("slip", *luck) < self.slip:
            found = options[draw("guess", *luck) % len(options)] if options else "who knows"
        return {"answer": found}

    def _found(self, question: str, options: list[str], seen: list[str]) -> str | None:
        if question in FACTS:
            return FACTS[question]
        sensible = [o for o in options if not any(odd in o for odd in ABSURD)]
        if len(sensible) == 1:
            return sensible[0]
        order = list(dict.fromkeys(seen))
        if question.startswith("In which order"):
            wanted = set(_THING.findall(question))
            said = ", then ".join(thing for thing in order if thing in wanted)
            return said if said in options else None
        fits = [o for o in options if set(_THING.findall(o)) <= set(order)]
        return fits[0] if len(fits) == 1 and order else None
