"""Rendered, narrated videos; an eye and a reader for their world that never see the truth.

`Eye` is an encoder at the edge: it measures colours, shapes and backdrops in pixels and reads the
same words in texts. `caption_of` reads a sentence as a language model would. What is said comes
from a subtitle file with word times written from the truth, as a recogniser without errors would,
or from a real recogniser.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipmill.schemas.records import Part, Video
from clipmill.stages.compose.paint import ScenePainter
from clipmill.stages.compose.render_synthetic import RenderedVideo, Settings, render
from clipmill.stages.compose.truth import LineTruth, Truth
from clipmill.stages.compose.world import (
    BACKDROPS,
    CLASH,
    COLOURS,
    RGB,
    SHAPES,
    Scene,
    Shape,
    Thing,
)
from clipmill.stages.media.probe import probe
from clipmill.stages.models.encoder import Vectors
from clipmill.stages.models.identity import ModelIdentity

LAGGING = Settings(
    count=8,
    seed=44,
    width=128,
    height=96,
    fps=8,
    min_scenes=5,
    max_scenes=6,
    min_seconds=4.0,
    max_seconds=6.0,
    min_lag=-8.0,
    max_lag=8.0,
    fillers=0.45,  # of scenes; 0.45 / 1.45 is a little over 30 % of all sentences
    sounds=0.0,
    upsets=0.0,
    second_things=0.0,
    words=0.0,
)
"""Sentences up to 8 s before or after what they are about, three in ten about nothing seen."""

SPOKEN = {"lines": "stripes", "checkered": "checker", "desert": "sand", "plain": "plain"}


def rendered(settings: Settings, folder: Path) -> list[RenderedVideo]:
    """Videos with a subtitle file of word times beside each, truth in a folder apart."""
    videos = render(settings, folder, folder.with_name(f"{folder.name}-truth"))
    for video in videos:
        video.path.with_suffix(".vtt").write_text(vtt(video.truth.narration))
    return videos


def vtt(lines: Sequence[LineTruth]) -> str:
    """Cues with a time at every word, as platforms write them for automatic captions."""
    cues = ["WEBVTT\n"]
    for line in lines:
        words = line.words
        text = words[0].text + "".join(f"<{clock(w.start_s)}><c> {w.text}</c>" for w in words[1:])
        cues.append(f"{clock(line.start_s)} --> {clock(line.end_s)}\n{text}\n")
    return "\n".join(cues)


def clock(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def part_of(video: RenderedVideo) -> Part:
    return Part(Video(video.truth.name, str(video.path), probe=probe(video.path)))


def scene_of(text: str, truth: Truth, near: float) -> int | None:
    """The scene a caption is about: that of the narrated line it repeats, the nearest of such."""
    lines = [
        line for line in truth.narration if line.scene is not None and _core(line.text) in text
    ]
    best = min(lines, key=lambda line: abs(line.start_s - near), default=None)
    return None if best is None else best.scene


def is_filler(text: str, truth: Truth) -> bool:
    said = text.casefold().rstrip(".?")
    return any(line.scene is None and said in line.text for line in truth.narration)


def _core(text: str) -> str:
    """Colour, shape and motion of a sentence."""
    return re.sub(r"^the | (in front|on the|over the|in the).*$", "", text)


def caption_of(words: str) -> str | None:
    """A sentence about a coloured shape without its article and full stop; None for others."""
    found = re.search(rf"\b({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})\b.*", words.casefold())
    return found[0].rstrip(".?") if found else None


class Eye:
    """Pictures and texts of the rendered world as measured slots, unit vectors.

    `sees` names the slots that count: an evaluator that looks at other things than the scorer is
    another `Eye`.
    """

    def __init__(self, *sees: str) -> None:
        self.sees = sees or ("colour", "shape", "backdrop")
        self.identity = ModelIdentity("eye", "+".join(self.sees))

    def setup(self) -> None: ...

    def close(self) -> None: ...

    def images(self, pictures: Sequence[bytes]) -> Vectors:
        return _unit([self._vector(*look(data)) for data in pictures])

    def texts(self, texts: Sequence[str]) -> Vectors:
        rows = []
        for text in texts:
            words = re.findall(r"[a-z]+", text.casefold())
            place = [SPOKEN.get(word, word) for word in words]
            row = self._vector(_hits(COLOURS, words), _hits(SHAPES, words), _hits(BACKDROPS, place))
            rows.append(row if row.any() else np.append(row[:-1], 1.0))
        return _unit(rows)

    def _vector(self, *slots: NDArray[np.float64]) -> NDArray[np.float64]:
        named = zip(("colour", "shape", "backdrop"), slots, strict=True)
        return np.concatenate([values * (name in self.sees) for name, values in named] + [[0.0]])


def look(data: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """What a picture shows: weights over colours, shapes and backdrops."""
    picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.int16)
    backdrop = _backdrop(picture)
    colours, shapes = np.zeros(len(COLOURS)), np.zeros(len(SHAPES))
    best, mask = 0, None
    for colour in COLOURS:
        if colour in CLASH[backdrop]:
            continue
        near = (np.abs(picture - np.array(RGB[colour])).sum(2) < 75).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(near)
        if count > 1:
            largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
            area = int(stats[largest, cv2.CC_STAT_AREA])
            if area > max(best, 30):
                best, mask = area, labels == largest
                colours[:] = 0
                colours[COLOURS.index(colour)] = 1
    if mask is not None:
        fits = [max(_iou(_framed(mask), own) for own in templates()[shape]) for shape in SHAPES]
        shapes[int(np.argmax(fits))] = 1
    places = np.zeros(len(BACKDROPS))
    places[BACKDROPS.index(backdrop)] = 1
    return colours, shapes, places


def _backdrop(picture: NDArray[np.int16]) -> str:
    """By the mean colour and the texture of the picture's rim."""
    height = picture.shape[0]
    rim = np.concatenate([picture[: height // 8], picture[-height // 12 :]]).reshape(-1, 3)
    red, green, blue = rim.mean(0)
    if max(red, green, blue) - min(red, green, blue) < 22 and rim.std(0).max() < 45:
        if rim.std() < 6:
            return "plain"
        top = picture[2 : height // 8].mean(2)
        same = np.abs(top - top[:1]).mean() < 6  # stripes run from top to bottom
        return "stripes" if same else "checker"
    if green > red + 25 and green > blue + 40:
        return "grass"
    if red > blue + 30 and green > blue + 20 and red > 180:
        return "sand"
    if blue > red + 60 and blue < 200 and green > red:
        water = picture[: height // 3].mean((0, 1))[2] < 190
        return "water" if water else "sky"
    return "sky" if blue > 170 and blue > red + 15 else "gradient"


@cache
def templates() -> dict[Shape, list[NDArray[np.bool_]]]:
    """Every shape, drawn at several turns, in its frame."""
    found: dict[Shape, list[NDArray[np.bool_]]] = {}
    for shape in SHAPES:
        found[shape] = []
        for turn in range(12):
            middle = (0.5, 0.5)
            thing = Thing(shape, "red", "large", "still", middle, middle, 0.3, turns=turn / 12)
            scene = Scene(2, (thing,), "plain", "gray")
            drawn = ScenePainter(scene, 160, 160, 1).frame(1).astype(np.int16)
            found[shape].append(_framed(np.abs(drawn - np.array(RGB["red"])).sum(2) < 75))
    return found


def _framed(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask cut to its box and scaled to 32 x 32."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    cut = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.uint8)
    return np.asarray(cv2.resize(cut * 255, (32, 32), interpolation=cv2.INTER_AREA) > 127)


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def _hits(names: Sequence[str], words: Sequence[str]) -> NDArray[np.float64]:
    return np.array([float(name in words) for name in names])


def _unit(rows: Sequence[NDArray[np.float64]]) -> Vectors:
    table = np.array(rows, np.float64).reshape(len(rows), -1)
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    return np.asarray(table / np.maximum(lengths, 1e-9), np.float32)
