"""Films whose every frame says whose it is and which, and a reader of composed files.

The reader knows pixels and sound alone: which source and which of its frames each output frame
shows, from a bar code; which card it is, by comparing pictures; what moves, by comparing frames.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from clipmill.stages.compose.cards import card, card_names
from clipmill.stages.compose.timeline import fit
from clipmill.stages.media.write import write_video
from tests.rendered import beeps_in, number_of, picture

FPS = 25
RATE = 48_000
APART = 1000  # frame numbers of two sources
CAPTIONS = {
    1: "a man cuts a loaf of bread",
    2: "two dogs run along a beach",
    3: "a child paints a red boat",
    4: "rain falls on a tin roof",
}
REVERSED = {number: f"{text}, with time running backwards" for number, text in CAPTIONS.items()}


def film(path: Path, source: int, frames: int, beep: float = 0.2) -> Path:
    """Frames numbered from `source * 1000`, and a beep that starts at `beep` seconds."""
    wave = np.zeros(frames * RATE // FPS, np.int16)
    at = np.arange(RATE // 10)
    first = round(beep * RATE)
    wave[first : first + len(at)] = 12_000 * np.sin(2 * np.pi * 1000 * at / RATE)
    shown = (picture(source * APART + n, source) for n in range(frames))
    write_video(path, shown, FPS, wave, RATE, crf=14)
    return path


def manifest_of_films(folder: Path, frames: dict[int, int], **columns: dict[int, str]) -> Path:
    """Films and a list of them with the columns id, path, caption and those given."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for source, count in frames.items():
        film(folder / f"{source}.mp4", source, count)
        row = {"id": str(source), "path": f"{source}.mp4", "caption": CAPTIONS[source]}
        rows.append(row | {name: values[source] for name, values in columns.items()})
    path = folder / "clips.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@dataclass(frozen=True)
class Run:
    """Output frames [start, end) that show a source's frames, or a card."""

    name: int | str  # number of the source, or name of the card
    first: int
    last: int
    start: int
    end: int


def decode(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def sound(path: Path) -> list[float]:
    """Starts of the beeps in seconds."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        pieces = [
            piece.to_ndarray().reshape(-1)
            for frame in [*container.decode(audio=0), None]
            for piece in resampler.resample(frame)
        ]
    return beeps_in(np.concatenate(pieces), RATE)


def runs(pictures: list[NDArray[np.uint8]]) -> list[Run]:
    """The file as stretches that go on as in their source (forwards or backwards), or one card."""
    found: list[Run] = []
    for at, pixels in enumerate(pictures):
        name: int | str = ""
        if (shown := card_of(pixels)) is not None:
            name, number = shown, 0
        else:
            source, number = divmod(number_of(pixels), APART)
            name = source
        before = found[-1] if found else None
        goes_on = before is not None and before.name == name and abs(number - before.last) <= 3
        if before is not None and goes_on:
            found[-1] = Run(name, before.first, number, before.start, at + 1)
        else:
            found.append(Run(name, number, number, at, at + 1))
    return found


_CARDS: dict[tuple[int, int], tuple[list[str], NDArray[np.float32]]] = {}


def card_of(pixels: NDArray[np.uint8]) -> str | None:
    """The card whose picture this is; None for anything else."""
    height, width = pixels.shape[:2]
    if (width, height) not in _CARDS:
        names = [*card_names("shape"), *card_names("word")]
        drawn = np.stack([fit(card(name), (width, height)) for name in names])
        _CARDS[width, height] = names, drawn[:, ::4, ::4].astype(np.float32)
    names, drawn = _CARDS[width, height]
    away = np.abs(drawn - pixels[::4, ::4].astype(np.float32)).mean(axis=(1, 2, 3))
    nearest = int(away.argmin())
    return names[nearest] if away[nearest] < 12 else None


def moving(pictures: list[NDArray[np.uint8]], pixels: int) -> NDArray[np.bool_]:
    """Where noise moves upwards by so many pixels a frame and not downwards."""
    import cv2

    films = [shown[:, :, 0].astype(np.float32) for shown in pictures]
    votes = np.zeros_like(films[0])
    for one, two in pairwise(films):
        up, down = np.roll(one, -pixels, axis=0), np.roll(one, pixels, axis=0)
        votes += np.abs(two - down) - np.abs(two - up)
    return np.asarray(cv2.GaussianBlur(votes, (0, 0), 3) > 0)
