"""Composed videos with known events, a captioner that is poor at seconds, localisers that err.

The captioner tells most events rightly, invents some, and is off by seconds when it is asked for
times. A localiser sends one text in five to the place of another text; two localisers err apart.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from narrated import Eye
from watcher import (
    CHANGING,
    Event,
    Watcher,
    dice,
    event_of,
    events_in,
    quoted,
    scene_at,
    times_of,
    told_as,
)

from clipmill.schemas.records import Part, Video
from clipmill.stages.compose import compose_clips
from clipmill.stages.compose.render_synthetic import render
from clipmill.stages.compose.timeline import Clip
from clipmill.stages.compose.truth import SceneTruth, Truth
from clipmill.stages.compose.world import BACKDROPS, COLOURS, SHAPES
from clipmill.stages.media.probe import probe
from clipmill.stages.models.encoder import EncoderSettings, Vectors
from clipmill.stages.models.teacher import Request

SECOND = "ViT-B-16-SigLIP"  # the second localiser of the recipe
CLIPS = CHANGING.model_copy(
    update={
        "count": 24,
        "seed": 31,
        "width": 112,
        "height": 84,
        "min_scenes": 1,
        "max_scenes": 1,
        "min_seconds": 3.0,
        "max_seconds": 6.0,
    }
)


_SEEN: dict[tuple[tuple[str, ...], bytes], Vectors] = {}


def composed(folder: Path, count: int = 8, pieces: int = 7) -> list[tuple[Path, Truth]]:
    """Videos put together from captioned clips, each with where its clips have gone."""
    shots = render(CLIPS, folder / "clips", folder / "truth")
    videos = []
    (folder / "in").mkdir()
    for number in range(count):
        rng = np.random.default_rng(number)
        chosen = [shots[int(n)] for n in rng.permutation(len(shots))[:pieces]]
        clips = [Clip(shot.truth.name, shot.path) for shot in chosen]
        path = folder / "in" / f"composed-{number:02d}.mp4"
        manifest = compose_clips.compose(clips, compose_clips.Settings(), path)
        path.with_suffix(".json").unlink()  # the run is not to see it
        truth = Truth(path.stem, 0, 0, 0, 0, manifest.frames, manifest.seconds, "clean")
        for piece, shot in zip(manifest.pieces, chosen, strict=True):
            truth.scenes.append(_at(shot.truth.scenes[0], piece.start_s, piece.end_s))
        videos.append((path, truth))
    return videos


def _at(scene: SceneTruth, start: float, end: float) -> SceneTruth:
    return SceneTruth(
        0, 0, 0, start, end, scene.things, scene.backdrop, scene.tone, scene.camera, scene.word,
        [], [], [],
    )  # fmt: skip


def part_at(path: Path) -> Part:
    return Part(Video(path.stem, str(path), probe=probe(path)))


class Narrator(Watcher):
    """A captioner that is also asked for times, for events out of texts, and for what is hidden.

    It overlooks or misnames a scene as a whole, not picture by picture.
    """

    def _sees(self, request: Request, second: float, pictures: int) -> Event | None:
        return super()._sees(request, scene_at(self._truth(request), second).start_s, pictures)

    def _answer(self, request: Request) -> dict[str, Any]:
        assert request.schema is not None
        fields = request.schema["properties"]
        if "events" in fields and fields["events"]["items"]["type"] == "string":
            return {"events": [told_as(e) for e in events_in(" ".join(quoted(request)))]}
        if "events" in fields:
            return {"events": self._timeline(request)}
        if "reasoning" in fields:
            return {"reasoning": "as before", "event": told_as(self._inferred(request))}
        if "questions" in fields:
            return {"questions": self._questions(request)}
        return super()._answer(request)

    def _timeline(self, request: Request) -> list[dict[str, Any]]:
        """Borders off by two seconds and a half (standard deviation), still in order."""
        seconds = times_of(request)
        told: list[tuple[float, Event]] = []
        for second in seconds:
            event = self._sees(request, second, len(seconds))
            if event is not None and (not told or told[-1][1] != event):
                told.append((second, event))
        for n in reversed(range(len(told))):  # invented as in a caption
            rng = dice(request.id, n, "invented")
            if rng.random() < self.invents:
                told.insert(n, (told[n][0], anything(rng)))
        rng = dice(request.id, "times")
        low, high = self._window(request)
        borders = sorted(float(s + rng.normal(0, 2.5)) for s, _ in told[1:])
        marks = parted(borders, low, high)
        return [
            {"start": round(marks[n], 3), "end": round(marks[n + 1], 3), "text": told_as(event)}
            for n, (_, event) in enumerate(told)
        ]

    def _window(self, request: Request) -> tuple[float, float]:
        said = request.prompt.partition("lasts from second ")[2].split()
        return float(said[0]), float(said[3].rstrip("."))

    def _inferred(self, request: Request) -> Event:
        """The hidden event, rightly in two of three."""
        lines = quoted(request)
        [gap] = [line for line in lines if line.endswith("[hidden]")]
        start, end = (float(x) for x in gap.partition(":")[0].split("-"))
        scenes = self._truth(request).scenes
        best = max(scenes, key=lambda s: min(end, s.end_s) - max(start, s.start_s))
        return event_of(best) if dice(request.id).random() < 0.67 else event_of(scenes[0])

    def _questions(self, request: Request) -> list[dict[str, str]]:
        return [
            {"question": f"Over what is the {colour} {shape}?", "answer": backdrop}
            for colour, shape, backdrop in events_in(" ".join(quoted(request)))[:1]
        ]


def parted(borders: Sequence[float], low: float, high: float) -> list[float]:
    """Borders with the ends of their clip, moved so that no event is shorter than 0.7 s."""
    moved = list(borders)
    for n in range(len(moved)):
        least, most = low + 0.7 * (n + 1), high - 0.7 * (len(moved) - n)
        moved[n] = min(max(moved[n], least, *(b + 0.7 for b in moved[:n][-1:])), most)
    return [low, *moved, high]


def anything(rng: np.random.Generator) -> Event:
    return tuple(str(rng.choice(names)) for names in (COLOURS, SHAPES, BACKDROPS))  # type: ignore[return-value]


class Localiser(Eye):
    """An eye that takes some texts for others; which ones, and what it looks at, depends on its
    name.
    """

    def __init__(self, settings: EncoderSettings, rate: float = 0.2) -> None:
        second = settings.model in ("two", SECOND)
        super().__init__("shape" if second else "colour", "backdrop")
        self.name, self.rate = settings.model, rate

    def images(self, pictures: Sequence[bytes]) -> Vectors:
        for data in pictures:  # the same pictures are looked at in every arm
            if (self.sees, data) not in _SEEN:
                _SEEN[self.sees, data] = super().images([data])[0]
        return np.array([_SEEN[self.sees, data] for data in pictures], np.float32)

    def texts(self, texts: Sequence[str]) -> Vectors:
        heard = []
        for text in texts:
            rng = dice(self.name, text)
            if rng.random() < self.rate:
                text = told_as(anything(rng))
            heard.append(text)
        return super().texts(heard)


def lines_of(document: str) -> list[dict[str, Any]]:
    return list(json.loads(document)["children"])
