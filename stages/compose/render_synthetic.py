"""render_synthetic: make videos of a small drawn world with exact truth.

Everything measured elsewhere (cuts, words, captions, motion, boxes, defects) is planned here first
and then drawn, so the truth is not an annotation but the cause of the picture. It is a plain
function and not a stage: it makes inputs, and a recipe's inputs must not know how they were made.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipmill.stages.compose.altered import wrong_captions
from clipmill.stages.compose.paint import Box, Picture, ScenePainter, overlay, text_patch
from clipmill.stages.compose.scenes import Settings, Variant, plan
from clipmill.stages.compose.soundtrack import mix, sound_event
from clipmill.stages.compose.speech import RATE, say
from clipmill.stages.compose.truth import (
    BoxTruth,
    CutTruth,
    LineTruth,
    Moment,
    SceneTruth,
    SoundTruth,
    ThingTruth,
    Truth,
    WordTruth,
)
from clipmill.stages.compose.wording import captions
from clipmill.stages.compose.world import WORDS, Storyboard
from clipmill.stages.media.write import write_video

__all__ = ["RenderedVideo", "Settings", "pictures", "render", "soundtrack", "tell"]

CROP = 0.04
"""Share of each side that a duplicate loses."""


@dataclass(frozen=True, slots=True)
class RenderedVideo:
    """A rendered file, its truth file, and the truth itself."""

    path: Path
    truth_path: Path
    truth: Truth


@dataclass(frozen=True, slots=True)
class _Job:
    """One video to render; a duplicate has its original's storyboard and name."""

    name: str
    variant: Variant
    board: Storyboard
    source: str = ""


def render(
    settings: Settings, folder: Path, truth_folder: Path | None = None
) -> list[RenderedVideo]:
    """Render `settings.count` videos into `folder`: `synthetic-SEED-00000.mp4` and so on.

    Truth goes to `truth_folder`, by default `folder/truth`, as NAME.json. Files that exist are
    replaced.
    """
    truths = truth_folder or folder / "truth"
    folder.mkdir(parents=True, exist_ok=True)
    truths.mkdir(parents=True, exist_ok=True)
    rendered = []
    for job in _jobs(settings):
        rng = np.random.default_rng([settings.seed, zlib.crc32(job.name.encode())])
        job_size = _size(job, settings)
        board = _resized(job.board, *job_size)
        truth = tell(board, job.name, settings.seed, job.variant)
        truth.duplicate_of = job.source
        truth.given_caption = _given(job, truth, settings, rng)
        crop = CROP if job.variant == "duplicate" else 0.0
        truth.boxes = [_cropped(box, crop, *job_size) for box in truth.boxes]
        path = folder / f"{job.name}.mp4"
        crf = settings.crf + 8 if job.variant == "duplicate" else settings.crf
        write_video(
            path,
            (_dressed(picture, job, crop, at) for at, picture in enumerate(pictures(board))),
            board.fps,
            soundtrack(board, rng),
            RATE,
            crf=crf,
        )
        truth_path = truths / f"{job.name}.json"
        truth.save(truth_path)
        rendered.append(RenderedVideo(path, truth_path, truth))
    return rendered


def pictures(board: Storyboard) -> Iterator[Picture]:
    """Every frame of a storyboard in order, transitions blended."""
    import cv2

    size = (board.width, board.height, board.fps)
    starts = board.starts()
    painter = ScenePainter(board.scenes[0], *size)
    following: ScenePainter | None = None
    for number, scene in enumerate(board.scenes):
        half = scene.into_frames // 2
        first = starts[number] + (board.scenes[number - 1].into_frames // 2 if number else 0)
        for frame in range(first, starts[number + 1] - half):
            yield painter.frame(frame - starts[number])
        if number + 1 == len(board.scenes):
            return
        following = ScenePainter(board.scenes[number + 1], *size)
        border = starts[number + 1]
        for frame in range(border - half, border + half):
            old = painter.frame(frame - starts[number])
            new = following.frame(frame - border)
            share = (frame - border + half + 1) / (2 * half + 1)
            if scene.into == "dissolve":
                yield np.asarray(cv2.addWeighted(old, 1 - share, new, share, 0), np.uint8)
            elif share < 0.5:
                yield np.asarray(old * (1 - 2 * share), np.uint8)
            else:
                yield np.asarray(new * (2 * share - 1), np.uint8)
        painter = following


def soundtrack(
    board: Storyboard, rng: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """The sound of a storyboard, mono at 16 kHz, as long as its pictures."""
    pieces = []
    for line in board.lines:
        spoken = say(list(line.phrases))
        pieces.append((round(line.start * RATE), spoken.pcm * 0.8))
    for number, scene in enumerate(board.scenes):
        for event in scene.sounds:
            start = board.starts()[number] / board.fps + event.start
            wave = sound_event(event.kind, event.end - event.start, RATE, rng)
            pieces.append((round(start * RATE), wave))
    return mix(board.seconds, RATE, pieces, rng)


def tell(board: Storyboard, name: str, seed: int, variant: str = "clean") -> Truth:
    """The truth of a storyboard."""
    fps, starts = board.fps, board.starts()
    truth = Truth(name, seed, board.width, board.height, fps, starts[-1], board.seconds, variant)
    for number, scene in enumerate(board.scenes):
        start, end = starts[number], starts[number + 1]
        words = captions(scene)
        truth.scenes.append(
            SceneTruth(
                number,
                start,
                end,
                start / fps,
                end / fps,
                [ThingTruth(t.shape, t.colour, t.size, t.motion) for t in scene.things],
                scene.backdrop,
                scene.tone,
                scene.camera,
                scene.word,
                [event.kind for event in scene.sounds],
                words.brief,
                words.detailed,
                wrong_captions(scene, np.random.default_rng([number, zlib.crc32(name.encode())])),
            )
        )
        if number + 1 < len(board.scenes):
            half = scene.into_frames // 2
            if scene.into == "cut":
                truth.cuts.append(CutTruth(end, end / fps))
            else:
                truth.transitions.append(_moment(scene.into, end - half, end + half, fps))
        for upset in scene.upsets:
            first, last = (start + round(at * fps) for at in (upset.start, upset.end))
            truth.upsets.append(_moment(upset.kind, first, last, fps))
        for event in scene.sounds:
            at = start / fps
            truth.sounds.append(SoundTruth(event.kind, number, at + event.start, at + event.end))
    truth.narration = _narration(board)
    truth.boxes = _boxes(board)
    return truth


def _moment(kind: str, first: int, last: int, fps: int) -> Moment:
    return Moment(kind, first, last, first / fps, last / fps)


def _narration(board: Storyboard) -> list[LineTruth]:
    lines = []
    for line in board.lines:
        spoken = say(list(line.phrases))
        words = [
            WordTruth(word, line.start + first / RATE, line.start + last / RATE)
            for word, first, last in spoken.words
        ]
        start, lag = words[0].start_s, 0.0
        if line.scene is not None:
            lag = start - board.starts()[line.scene] / board.fps
        lines.append(LineTruth(line.text, start, words[-1].end_s, line.scene, lag, words))
    return lines


def _boxes(board: Storyboard) -> list[BoxTruth]:
    """Boxes about every tenth of a second, outside of transitions."""
    found = []
    step = max(1, board.fps // 10)
    starts = board.starts()
    for number, scene in enumerate(board.scenes):
        painter = ScenePainter(scene, board.width, board.height, board.fps)
        first = board.scenes[number - 1].into_frames // 2 if number else 0
        for frame in range(first, scene.frames - scene.into_frames // 2, step):
            at = starts[number] + frame
            for thing, box in enumerate(painter.boxes(frame)):
                corners = [round(value, 2) for value in box]
                found.append(BoxTruth(at, at / board.fps, number, thing, *corners))
    return found


def _jobs(settings: Settings) -> Iterator[_Job]:
    """The videos to render, defects spread evenly; a duplicate repeats the last clean one."""
    clean: _Job | None = None
    planted = 0
    for index in range(settings.count):
        variant: Variant = "clean"
        share = settings.variant_share if settings.variants else 0.0
        if int((index + 1) * share + 1e-9) > int(index * share + 1e-9):
            variant = settings.variants[planted % len(settings.variants)]
            planted += 1
        name = f"synthetic-{settings.seed}-{index:05d}"
        if variant == "duplicate" and clean is not None:
            yield _Job(name, variant, clean.board, clean.name)
            continue
        if variant == "duplicate":
            variant = "clean"
        board = plan(settings, variant, np.random.default_rng([settings.seed, index]))
        job = _Job(name, variant, board)
        clean = job if variant == "clean" else clean
        yield job


def _size(job: _Job, settings: Settings) -> tuple[int, int]:
    width, height = settings.width, settings.height
    if job.variant == "wrong_aspect":
        return width, 2 * max(16, round(width / 8.8))
    if job.variant == "low_resolution":
        return 2 * max(16, round(width * 0.15)), 2 * max(16, round(height * 0.15))
    return width, height


def _resized(board: Storyboard, width: int, height: int) -> Storyboard:
    return Storyboard(width, height, board.fps, board.scenes, board.lines)


def _given(job: _Job, truth: Truth, settings: Settings, rng: np.random.Generator) -> str:
    """The caption that comes with a video: true of its first scene, unless that is the defect."""
    first = job.board.scenes[0]
    kind = job.variant.removeprefix("wrong_")
    if kind in truth.scenes[0].wrong:
        return truth.scenes[0].wrong[kind]
    if kind != "caption":
        return captions(first).brief[0]
    other = plan(settings, "clean", rng).scenes[0]
    while {other.things[0].colour, other.backdrop} & {
        job.board.scenes[0].things[0].colour,
        job.board.scenes[0].backdrop,
    }:
        other = plan(settings, "clean", rng).scenes[0]
    return captions(other).brief[0]


def _dressed(picture: Picture, job: _Job, crop: float, at: int) -> Picture:
    """What is done to a finished picture: watermark, screens full of text, a duplicate's crop."""
    import cv2

    height, width = picture.shape[:2]
    if job.variant == "watermark":
        overlay(picture, text_patch("SAMPLE", max(14, height // 9), 0.6), (0.97, 0.04))
    if job.variant == "text_heavy":
        for row in range(5):
            text = "  ".join(WORDS[row * 3 : row * 3 + 3])
            overlay(picture, text_patch(text, max(12, height // 12)), (0.5, 0.1 + row * 0.18))
    if job.variant == "scrambled":  # every byte elsewhere, and elsewhere again in the next frame
        order = np.random.default_rng([at, zlib.crc32(job.name.encode())])
        picture = order.permutation(picture.ravel()).reshape(picture.shape)
    if crop:
        x, y = round(width * crop), round(height * crop)
        inner = picture[y : height - y, x : width - x]
        return np.asarray(cv2.resize(inner, (width, height), interpolation=cv2.INTER_AREA))
    return picture


def _cropped(box: BoxTruth, crop: float, width: int, height: int) -> BoxTruth:
    if not crop:
        return box
    x, y = round(width * crop), round(height * crop)
    corners: Box = (box.x0, box.y0, box.x1, box.y1)
    wide, tall = width / (width - 2 * x), height / (height - 2 * y)
    shifted = [(corners[0] - x) * wide, (corners[1] - y) * tall]
    shifted += [(corners[2] - x) * wide, (corners[3] - y) * tall]
    limits = (width, height, width, height)
    inside = [
        round(min(max(value, 0.0), limit), 2) for value, limit in zip(shifted, limits, strict=True)
    ]
    return BoxTruth(box.frame, box.seconds, box.scene, box.thing, *inside)
