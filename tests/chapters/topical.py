"""Videos put together of known topics: what is shown and what is said hang together, loosely.

A topic has a look (backdrop, colour of things) and a talk (colour and shape that sentences are
about), drawn apart, so that neighbours share one or the other by chance. Each shot keeps to the
look, and each sentence to the talk, only most of the time.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from narrated import clock
from numpy.typing import NDArray
from PIL import Image

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import (
    Author,
    Frame,
    Part,
    Probe,
    Stream,
    Transcript,
    Utterance,
    Video,
)
from clipmill.schemas.records import Word as Spoken
from clipmill.stages.compose.paint import ScenePainter
from clipmill.stages.compose.wording import spoken
from clipmill.stages.compose.world import BACKDROPS, CLASH, COLOURS, MOTIONS, SHAPES, Scene, Thing
from clipmill.stages.media.write import write_video

SHOT_S = 5
KEPT = 0.65  # how often a shot or a sentence keeps to its topic
WIDTH, HEIGHT, FPS = 96, 72, 4


@dataclass
class Topical:
    """A video with its topics: a part with pictures and speech, and where topics begin (s)."""

    part: Part
    borders: list[float]
    shots: list[float]
    scenes: list[Scene] = field(default_factory=list)
    chapters: list[tuple[float, str]] = field(default_factory=list)  # start and title, from 0


def topical(seed: int, topics: int = 6) -> Topical:
    """Topics of 6 to 10 shots of 5 s, each with a sentence."""
    rng = np.random.default_rng(seed)
    video = Video(f"lecture-{seed:02d}", "lecture.mp4")
    transcript = Transcript(MILLISECONDS, Author("test"), language="en")
    shots: list[Scene] = []
    chapters: list[tuple[float, str]] = []
    for _ in range(topics):
        look = (_one(rng, BACKDROPS), _one(rng, COLOURS))
        talk = (_one(rng, COLOURS), _one(rng, SHAPES))
        title = f"{talk[0].capitalize()} {talk[1]} and {look[0]} {chr(65 + len(chapters))}"
        chapters.append((float(len(shots) * SHOT_S), title))
        for _ in range(int(rng.integers(6, 11))):
            transcript.utterances.append(_sentence(rng, talk, len(shots) * SHOT_S))
            shots.append(_shot(rng, look))
    end = len(shots) * SHOT_S * 1000
    stream = Stream(0, "video", "h264", MILLISECONDS, first=0, end=end)
    video.probe = Probe("mp4", 0, end / 1000, 0, [stream])
    video.transcripts.append(transcript)
    starts = [n * SHOT_S * 1000 for n in range(len(shots))]
    video.add_segments("windows", [Span(MILLISECONDS, a, a + SHOT_S * 1000) for a in starts])
    part = Part(video)
    for segment, scene in zip(video.layer("windows"), shots, strict=True):
        part.frames[segment.id] = [_frame(scene, segment.span, Fraction(1, 2))]
    cuts = [start / 1000 for start in starts][1:]
    return Topical(part, [at for at, _ in chapters][1:], cuts, shots, chapters)


def _shot(rng: np.random.Generator, look: tuple[str, str]) -> Scene:
    backdrop = look[0] if rng.random() < KEPT else _one(rng, BACKDROPS)
    colour = look[1] if rng.random() < KEPT else _one(rng, COLOURS)
    while colour in CLASH[backdrop]:
        colour = _one(rng, COLOURS)
    spot = (float(rng.uniform(0.3, 0.7)), float(rng.uniform(0.35, 0.65)))
    thing = Thing(_one(rng, SHAPES), colour, "large", "still", spot, spot, 0.25)  # type: ignore[arg-type]
    return Scene(FPS * SHOT_S, (thing,), backdrop, "gray" if backdrop == "plain" else "")  # type: ignore[arg-type]


def _sentence(rng: np.random.Generator, talk: tuple[str, str], at: int) -> Utterance:
    colour = talk[0] if rng.random() < KEPT else _one(rng, COLOURS)
    shape = talk[1] if rng.random() < KEPT else _one(rng, SHAPES)
    middle = (0.5, 0.5)
    thing = Thing(shape, colour, "large", _one(rng, MOTIONS), middle, middle, 0.25)  # type: ignore[arg-type]
    text = " ".join(spoken(Scene(1, (thing,), "plain"), 3))
    start = at * 1000 + int(rng.integers(300, 1200))
    words = [
        Spoken(word, start + 350 * n, start + 350 * n + 300) for n, word in enumerate(text.split())
    ]
    return Utterance(text, words[0].start, words[-1].end, words)


def _frame(scene: Scene, span: Span, share: Fraction) -> Frame:
    painter = ScenePainter(scene, WIDTH, HEIGHT, FPS)
    file = io.BytesIO()
    Image.fromarray(painter.frame(int(scene.frames * share))).save(file, "JPEG", quality=92)
    tick = span.start + round((span.end - span.start) * share)
    return Frame(MILLISECONDS, tick, file.getvalue(), WIDTH, HEIGHT)


def _one(rng: np.random.Generator, names: Sequence[str]) -> str:
    return str(names[int(rng.integers(len(names)))])


def filmed(made: Topical, folder: Path, chapters: bool = True) -> dict[str, str]:
    """The video as a file with its subtitles; its row of a manifest, which may list chapters."""
    path = folder / f"{made.part.video.id}.mp4"
    write_video(path, (pixels for scene in made.scenes for pixels in _shown(scene)), FPS)
    lines = [
        f"{clock(u.start / 1000)} --> {clock(u.end / 1000)}\n{u.text.capitalize()}.\n"
        for u in made.part.video.transcripts[0].utterances
    ]
    path.with_suffix(".vtt").write_text("\n".join(["WEBVTT\n", *lines]))
    listed = [f"{int(at) // 60}:{int(at) % 60:02d} {title}" for at, title in made.chapters]
    return {"path": str(path), "description": "\n".join(listed) if chapters else "no chapters"}


def _shown(scene: Scene) -> Iterator[NDArray[np.uint8]]:
    picture = ScenePainter(scene, WIDTH, HEIGHT, FPS).frame(0)  # its thing stands still
    yield from (picture for _ in range(scene.frames))
