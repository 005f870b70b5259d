"""Frames that look alike are kept once, noise is no difference, a new line on a slide is."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Frame, Part, Video
from clipmill.stages.frames.distinct_frames import DistinctFrames, Settings, gray, similarity


def slide(lines: int, noise: int = 0) -> bytes:
    image = Image.new("RGB", (384, 216), "white")
    for number in range(lines):
        font = ImageFont.load_default(26)
        ImageDraw.Draw(image).text((20, 10 + 48 * number), f"line number {number}", "black", font)
    pixels = np.asarray(image, np.int16)
    pixels = pixels + np.random.default_rng(noise).normal(0, 2, pixels.shape) * (noise > 0)
    sink = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(sink, "JPEG", quality=85)
    return sink.getvalue()


def kept(*clips: list[bytes], **settings: object) -> list[list[int]]:
    """Ticks of the frames that are left of each clip; a frame a second."""
    video = Video("v", "v.mp4")
    video.add_segments("shots", [Span(MILLISECONDS, 10_000 * n, 10_000 * n + 9_000)
                                 for n in range(len(clips))])  # fmt: skip
    part = Part(video)
    for segment, pictures in zip(video.segments, clips, strict=True):
        part.frames[segment.id] = [
            Frame(MILLISECONDS, segment.span.start + 1000 * n, jpeg, 384, 216)
            for n, jpeg in enumerate(pictures)
        ]
    DistinctFrames(Settings(**settings)).process(part)
    for segment in video.segments:
        assert segment.scores["distinct_frames"] == len(part.frames[segment.id])
    return [[f.tick - s.span.start for f in part.frames[s.id]] for s in video.segments]


STEADY = [slide(3, noise) for noise in (1, 2, 3)]


def test_a_slide_is_kept_once_and_again_when_a_line_is_added() -> None:
    assert kept([*STEADY, slide(4, 4), slide(4, 5)]) == [[0, 3000]]
    assert kept([*STEADY, slide(1, 4), slide(3, 5)]) == [[0, 3000, 4000]]


def test_a_slide_that_stays_on_is_kept_in_its_first_clip_alone_where_asked() -> None:
    assert kept(STEADY, STEADY, [slide(5, 9)]) == [[0], [0], [0]]
    assert kept(STEADY, STEADY, [slide(5, 9)], carry=True) == [[0], [], [0]]


def test_the_last_of_frames_alike_is_kept_where_asked() -> None:
    assert kept([*STEADY, slide(5, 4), slide(5, 5)], last=True) == [[2000, 4000]]


def test_similarity_is_one_for_equal_pictures_symmetric_and_small_for_others() -> None:
    a, b = gray(slide(3)), gray(slide(1))
    assert similarity(a, a) == pytest.approx(1)
    assert similarity(a, b) == pytest.approx(similarity(b, a))
    assert similarity(a, b) < 0.9
    assert similarity(a, gray(STEADY[0])) > 0.98
    assert similarity(a, a[:, :-1]) == 0, "another size"
