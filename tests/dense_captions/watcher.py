"""A teacher at the edge that knows the rendered truth and errs at planted rates.

It is asked through the very prompts and contracts of production: seconds are read from the prompt,
what was said before from its quotation. It overlooks a picture at a rate that grows with how many
it is shown, and mixes up the order of neighbours at half that rate: the weakness of one prompt with
many pictures that differential captioning answers. `flat` takes that growth away, to show how much
of a difference rests on it.
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clipmill.schemas.records import Part, Video
from clipmill.stages.compose.render_synthetic import RenderedVideo, Settings
from clipmill.stages.compose.truth import SceneTruth, Truth
from clipmill.stages.compose.world import BACKDROPS, COLOURS, MOTIONS, SHAPES
from clipmill.stages.media.probe import probe
from clipmill.stages.models.identity import ModelIdentity
from clipmill.stages.models.teacher import Reply, Request
from clipmill.stages.models.teacher_settings import TeacherSettings

CHANGING = Settings(
    count=16,
    seed=6,
    width=96,
    height=72,
    fps=6,
    min_scenes=5,
    max_scenes=9,
    min_seconds=2,
    max_seconds=3,
    narration=False,
    gradual=0,
    upsets=0,
    words=0,
    sounds=0,
    second_things=0,
    moving_camera=0,
)
"""One clip per video with four to eight changes of what is seen."""

Event = tuple[str, str, str]  # colour, shape, backdrop
_EVENT = re.compile(
    rf"\ba ({'|'.join(COLOURS)}) ({'|'.join(SHAPES)}) over ({'|'.join(BACKDROPS)})\b"
)
"""As `told_as` tells one; narration words it otherwise."""
_MISSED, _MORE, _MISNAMED = 0.04, 0.04, 0.02


class Watcher:
    """A vision-language model at the edge; every answer depends on its request alone."""

    identity = ModelIdentity("watcher", "1")
    settings = TeacherSettings()

    def __init__(
        self,
        truths: Sequence[Truth],
        flat: bool = False,
        one_by_one: bool = False,
        invents: float = 0.0,
    ) -> None:
        self.truths = {truth.name: truth for truth in truths}
        self.flat = flat
        self.one_by_one = one_by_one
        self.invents = invents  # events told in a caption that are not there, per event that is
        self.asked: list[Request] = []

    def setup(self) -> None: ...

    def close(self) -> None: ...

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        self.asked += requests
        await asyncio.sleep(0)
        replies = [Reply(r.id, json.dumps(self._answer(r), sort_keys=True)) for r in requests]
        order = sorted(range(len(replies)), key=lambda n: zlib.crc32(replies[n].id.encode()))
        return [replies[n] for n in order]

    def _answer(self, request: Request) -> dict[str, Any]:
        assert request.schema is not None
        fields = request.schema["properties"]
        if "text" in fields and "at these seconds" not in request.prompt:
            return {"text": shortened(quoted(request)[-1], budget_of(request))}
        if "text" in fields:
            return {"text": self._change(request)}
        if "caption" in fields:
            return {"caption": self._caption(request)}
        if "sentences" in fields:
            return {"sentences": self._summary(request)}
        return self._slots(request)

    def _truth(self, request: Request) -> Truth:
        return self.truths[Path(request.id.split("/")[0]).stem]

    def _rate(self, pictures: int) -> float:
        more = 0 if self.flat else _MORE * max(0, pictures - 2)
        return min(0.9, _MISSED + more)

    def _sees(self, request: Request, second: float, pictures: int) -> Event | None:
        """What a picture shows to this model; None where it is passed over."""
        rng = dice(request.id, second)
        scene = scene_at(self._truth(request), second)
        colour, shape, backdrop = event_of(scene)
        if rng.random() < self._rate(pictures):
            return None
        if rng.random() < _MISNAMED:
            colour = COLOURS[(COLOURS.index(colour) + 1) % len(COLOURS)]
        return colour, shape, backdrop

    def _change(self, request: Request) -> str:
        seconds = times_of(request)
        told = events_in(" ".join(quoted(request)))
        seen = self._sees(request, seconds[-1], len(seconds))
        if seen is None:
            return "" if told else "something is there"
        if told and told[-1] == seen:
            return ""
        return told_as(seen) if not told else f"now {told_as(seen)} comes up"

    def _caption(self, request: Request) -> str:
        seconds = times_of(request)
        seen: list[Event] = []
        for second in seconds:
            event = self._sees(request, second, len(seconds))
            if event is not None and event not in seen[-1:]:
                seen.append(event)
        for n in range(len(seen) - 1):
            if dice(request.id, n, "order").random() < self._rate(len(seconds)) / 2:
                seen[n], seen[n + 1] = seen[n + 1], seen[n]
        for n in reversed(range(len(seen))):
            rng = dice(request.id, n, "invented")
            if rng.random() < self.invents:
                made = (rng.choice(names) for names in (COLOURS, SHAPES, BACKDROPS))
                seen.insert(n, tuple(map(str, made)))  # type: ignore[arg-type]
        return ", then ".join(map(told_as, seen)) or "something is there"

    def _summary(self, request: Request) -> list[dict[str, Any]]:
        """Every line once, but one in fifty lost; what exceeds the budget is left out evenly."""
        sentences: list[dict[str, Any]] = []
        for line in quoted(request):
            number, text = re.findall(r"^(\d+) \([\d.]+-[\d.]+\) \w+: (.*)", line)[0]
            if dice(request.id, number).random() >= 0.02:
                sentences.append({"text": f"{text}.", "from": [int(number)]})
        while len(" ".join(s["text"] for s in sentences).split()) > budget_of(request):
            del sentences[dice(request.id, len(sentences)).integers(len(sentences))]
        return sentences or [{"text": "something", "from": [1]}]

    def _slots(self, request: Request) -> dict[str, Any]:
        assert request.schema is not None
        text = " ".join(quoted(request))
        found = {
            "colour": COLOURS,
            **dict.fromkeys(("object", "subject"), SHAPES),
            **dict.fromkeys(("scene", "place"), BACKDROPS),
            "action": MOTIONS,
        }
        return {
            slot: next((value for value in found.get(slot, ()) if value in text.split()), "")
            for slot in request.schema["properties"]
        }


def dice(*what: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(what).encode()))


def times_of(request: Request) -> list[float]:
    found = re.search(r"at these seconds[a-z ]*: ([\d., ]+\d)", request.prompt)
    assert found is not None
    return [float(second) for second in found[1].split(", ")]


def budget_of(request: Request) -> int:
    found = re.search(r"at most (\d+) words", request.prompt)
    assert found is not None
    return int(found[1])


def shortened(text: str, words: int) -> str:
    return " ".join(text.split()[:words])


def quoted(request: Request) -> list[str]:
    """Lines of the last non-empty quotation of a prompt."""
    blocks = re.findall(r"<data [0-9a-f]+>\n(.*?)</data", request.prompt, re.DOTALL)
    return [json.loads(line) for line in blocks[-1].splitlines()]


def scene_at(truth: Truth, second: float) -> SceneTruth:
    inside = [scene for scene in truth.scenes if scene.start_s <= second + 1e-3]
    return inside[-1]


def event_of(scene: SceneTruth) -> Event:
    return scene.things[0].colour, scene.things[0].shape, scene.backdrop


def told_as(event: Event) -> str:
    return f"a {event[0]} {event[1]} over {event[2]}"


def events_in(text: str) -> list[Event]:
    """Events that a text names, in the order it names them."""
    return [(c, s, b) for c, s, b in _EVENT.findall(text)]


def f1(told: Sequence[Event], truth: Sequence[Event]) -> float:
    hits = sum((Counter(told) & Counter(truth)).values())
    return 2 * hits / (len(told) + len(truth))


def tau(told: Sequence[Event], truth: Sequence[Event]) -> float:
    """Kendall's tau over all pairs of true events; a pair not told of counts zero."""
    free = list(told)
    places: list[int | None] = []
    for event in truth:
        places.append(free.index(event) if event in free else None)
        if event in free:
            free[free.index(event)] = ("", "", "")
    pairs = [(a, b) for n, a in enumerate(places) for b in places[n + 1 :]]
    score = sum((b > a) - (b < a) for a, b in pairs if a is not None and b is not None)
    return score / max(len(pairs), 1)


def part_of(video: RenderedVideo) -> Part:
    return Part(Video(video.truth.name, str(video.path), probe=probe(video.path)))
