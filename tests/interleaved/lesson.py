"""Rendered lessons with known slides and speech, and a model that reads, looks and judges.

Between the parts that teach stand two kinds that do not belong into a textbook: advertisements that
speak of what they show, and speech that belongs to another slide than the one on the screen.
"""

from __future__ import annotations

import io
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from clipmill.stages.compose.truth import LineTruth, WordTruth
from clipmill.stages.compose.world import RGB
from clipmill.stages.media.write import write_video
from clipmill.stages.models.identity import ModelIdentity
from clipmill.stages.models.teacher import Reply, Request
from clipmill.stages.models.teacher_settings import TeacherSettings

Kind = Literal["lesson", "advert", "astray"]

SIZE, FPS = (512, 288), 2
WORD_S, GAP_S = 0.36, 0.4
HUES = ("red", "green", "blue", "purple")
TERMS = ("energy", "light", "water", "heat", "motion", "sound", "metal", "planet")
ERRS = 0.02  # how often the judge is wrong


@dataclass(frozen=True)
class Shown:
    """One slide with its time, and whether what is said meanwhile teaches it."""

    kind: Kind
    hue: str
    lines: tuple[str, ...]
    start_s: float
    end_s: float


def slide(hue: str, lines: Sequence[str]) -> np.ndarray:
    """A slide with a bar in its colour and large text."""
    image = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 60, SIZE[1]), fill=RGB[hue])
    for number, line in enumerate(lines):
        font = ImageFont.load_default(34 if number == 0 else 24)
        draw.text((84, 30 + 66 * number), line, fill="black", font=font)
    return np.asarray(image)


def lesson(path: Path, seed: int) -> list[Shown]:
    """Render a lesson of eight slides with a subtitle file of word times beside it."""
    rng = np.random.default_rng(seed)
    shown: list[Shown] = []
    said: list[LineTruth] = []
    at = 0.0
    for number, kind in enumerate(_plan(rng)):
        term = TERMS[(number + seed) % len(TERMS)]
        hue = HUES[number % len(HUES)]
        lines = (f"Lesson {number + 1}: {term.upper()}", f"How {term} is stored and used",
                 f"See page {int(rng.integers(100, 999))} of the book")  # fmt: skip
        start = at
        for turn in range(3 * (2 if kind == "lesson" and number % 3 == 0 else 1)):
            at = _say(said, _sentence(kind, hue, term, turn), at)
        shown.append(Shown(kind, hue, lines, start, at))
    pictures = (
        slide(one.hue, one.lines)
        for one in shown
        for _ in range(round(one.end_s * FPS) - round(one.start_s * FPS))
    )
    write_video(path, pictures, FPS)
    path.with_suffix(".vtt").write_text(vtt(said))
    return shown


def _plan(rng: np.random.Generator) -> list[Kind]:
    kinds: list[Kind] = ["lesson"] * 5 + ["advert", "advert", "astray"]
    return [kinds[int(n)] for n in rng.permutation(len(kinds))]


def _sentence(kind: Kind, hue: str, term: str, turn: int) -> str:
    if kind == "advert":
        goods = ("shoes", "coats", "chairs", "lamps", "pans", "bags")[turn]
        return f"Buy our {hue} {goods} today and save money on every pair now."
    if kind == "astray":
        hue = HUES[(HUES.index(hue) + 1) % len(HUES)]
    place = ("cell", "leaf", "root", "stem", "seed", "flower")[turn]
    return f"This {hue} page explains why {term} is kept inside of every living {place}."


def _say(said: list[LineTruth], text: str, at: float) -> float:
    words = [
        WordTruth(word, at + k * WORD_S, at + (k + 0.9) * WORD_S)
        for k, word in enumerate(text.split())
    ]
    said.append(LineTruth(text, words[0].start_s, words[-1].end_s, None, 0.0, words))
    return words[-1].end_s + GAP_S


def vtt(lines: Sequence[LineTruth]) -> str:
    cues = ["WEBVTT\n"]
    for line in lines:
        words = line.words
        text = words[0].text + "".join(f"<{_clock(w.start_s)}><c> {w.text}</c>" for w in words[1:])
        cues.append(f"{_clock(line.start_s)} --> {_clock(line.end_s)}\n{text}\n")
    return "\n".join(cues)


def _clock(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


class Teacher:
    """A model at the edge: cleans, judges, looks and compares by what it is shown."""

    identity = ModelIdentity("teacher", "1")

    def __init__(self, settings: TeacherSettings | None = None) -> None:
        self.settings = settings or TeacherSettings(model="teacher")

    def setup(self) -> None: ...

    def close(self) -> None: ...

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        return [Reply(r.id, json.dumps(self._answer(r))) for r in requests][::-1]

    def _answer(self, request: Request) -> dict[str, Any]:
        assert request.schema is not None
        keys = set(request.schema["properties"])
        quoted = [" ".join(lines) for lines in _blocks(request.prompt)]
        if "caption" in keys:
            return {"caption": f"a slide with a {_bar(request.images[0])} bar"}
        if "text" in keys:
            return {"text": quoted[-1]}
        if "verdict" in keys:
            same = _hues(quoted[0]) & _hues(quoted[1])
            return {"differs": "", "verdict": "same" if same else "different"}
        teaches = any(term in quoted[0].casefold() for term in TERMS)
        errs = zlib.crc32(request.id.encode()) / 2**32 < ERRS
        good = teaches != errs or "/transcript/" in request.id
        return {"reason": "as read", "score": 5 if good else 1}


def _blocks(prompt: str) -> Iterator[list[str]]:
    for _, text in re.findall(r"<data ([0-9a-f]+)>\n(.*?)</data \1>", prompt, re.DOTALL):
        yield [json.loads(line) for line in text.splitlines()]


def _hues(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold())) & set(HUES)


def _bar(jpeg: bytes) -> str:
    pixels = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"), np.float64)
    mean = pixels[:, : pixels.shape[1] // 12].mean((0, 1))
    return min(HUES, key=lambda hue: float(np.abs(mean - np.array(RGB[hue])).sum()))
