"""Topics: borders where the vectors change, on sequences of known truth and on rendered films."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from clipmill.schemas.clocks import Clock, Span
from clipmill.schemas.records import Embedding, Part, Segment, Video
from clipmill.stages.compose.render_synthetic import Settings as Films
from clipmill.stages.compose.render_synthetic import render
from clipmill.stages.frames.embed_pixels import EmbedPixels
from clipmill.stages.frames.embed_pixels import Settings as Pixels
from clipmill.stages.frames.sample_frames import SampleFrames
from clipmill.stages.frames.sample_frames import Settings as Frames
from clipmill.stages.media.probe import probe
from clipmill.stages.split.split_semantic import Settings, SplitSemantic, change_points, dips
from clipmill.stages.split.split_uniform import Settings as Windows
from clipmill.stages.split.split_uniform import SplitUniform

Array = np.ndarray[Any, np.dtype[Any]]
SECOND = Clock("v0", 1, 1)


def topics(lengths: list[int], noise: float = 0.3, seed: int = 0, size: int = 32) -> Array:
    """Unit vectors around one random direction for each topic."""
    source = np.random.default_rng(seed)
    middles = source.normal(0, 1, (len(lengths), size)) / np.sqrt(size)
    rows = np.repeat(middles, lengths, axis=0)
    rows = rows + source.normal(0, noise / np.sqrt(size), rows.shape)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def found(vectors: Array, method: str, min_s: float = 2.0) -> list[int]:
    starts = np.arange(len(vectors) + 1, dtype=float)
    if method == "kernel":
        return change_points(vectors, starts, 3.0, min_s)
    return dips(vectors, starts, 3, 1.0, min_s)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("method", ["kernel", "dip"])
def test_borders_lie_where_the_topic_changes(method: str, seed: int) -> None:
    assert found(topics([12, 7, 20, 9], seed=seed), method) == [12, 19, 39]


@pytest.mark.parametrize("seed", range(4))
def test_one_topic_has_no_border(seed: int) -> None:
    assert found(topics([60], seed=seed), "kernel") == []


def test_a_topic_that_comes_back_is_cut_off_on_both_sides() -> None:
    first, other = topics([20, 10], seed=3)[[0, 25]]
    noise = topics([40], seed=5) * 0.1
    vectors = np.stack([first] * 15 + [other] * 10 + [first] * 15) + noise
    assert found(vectors, "kernel") == [15, 25]
    assert found(vectors, "dip") == [15, 25]


@pytest.mark.parametrize("method", ["kernel", "dip"])
def test_a_moment_of_something_else_is_no_topic(method: str) -> None:
    vectors = topics([30, 20], seed=1)
    vectors[8] = vectors[45]
    assert found(vectors, method, min_s=4.0) == [30]


def test_a_higher_price_makes_fewer_borders() -> None:
    vectors = topics([6] * 10, noise=1.5, seed=2)
    starts = np.arange(61.0)
    counts = [len(change_points(vectors, starts, price, 0)) for price in (0.5, 1, 2, 4, 50)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] == 0


def windows(vectors: Array, length: int = 1) -> Part:
    video = Video("film", "film.mp4")
    spans = [Span(SECOND, n * length, (n + 1) * length) for n in range(len(vectors))]
    video.add_segments("windows", spans)
    for segment, vector in zip(video.layer("windows"), vectors, strict=True):
        segment.embeddings.append(Embedding("clip", "known", vector.tolist()))
    return Part(video)


def written(part: Part, **options: Any) -> list[Segment]:
    return SplitSemantic(Settings(**options)).process(part).video.layer("topics")


@hypothesis(max_examples=60)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=8),
    st.sampled_from(["kernel", "dip"]),
    st.sampled_from([0.0, 2.0, 5.0, 1000.0]),
)
def test_segments_cover_all_pieces_once_and_none_is_too_short(
    lengths: list[int], method: str, min_s: float
) -> None:
    part = windows(topics(lengths))
    spans = [s.span for s in written(part, method=method, min_s=min_s)]
    assert spans[0].start == 0
    assert spans[-1].end == sum(lengths)
    assert all(left.end == right.start for left, right in pairwise(spans))
    assert len(spans) == 1 or min(span.duration_s for span in spans) >= min_s


def test_pieces_without_a_vector_stay_with_their_neighbours() -> None:
    part = windows(topics([10, 10]))
    pieces = part.video.layer("windows")
    for number in (4, 10):
        pieces[number].embeddings.clear()
    spans = [(s.span.start, s.span.end) for s in written(part)]
    assert spans == [(0, 10), (11, 20)]
    assert written(Part(Video("empty", "e.mp4"))) == []


def test_a_kind_of_vector_that_comes_and_goes_is_carried_on() -> None:
    seen, heard = topics([20, 20], seed=1), topics([30, 10], seed=2)

    def part(kept: list[int]) -> Part:
        made = windows(seen)
        for place in kept:
            own = made.video.layer("windows")[place].embeddings
            own.append(Embedding("sound", "known", heard[place].tolist()))
        return made

    both = {"embeddings": ("clip", "sound")}
    some = [*range(2, 16), *range(24, 40)]  # silence where the picture changes, and at the start
    assert [s.span.start for s in written(part(some), gaps="carry", **both)] == [0, 20, 30]
    skipped = [(s.span.start, s.span.end) for s in written(part(some), **both)]
    assert (0, 20) not in skipped, "the check sees no gap"
    assert [s.span.start for s in written(part([]), gaps="carry", **both)] == [0, 20]
    assert written(part([]), **both) == []
    empty = Part(Video("v", "v.mp4"))
    empty.video.add_segments("windows", [Span(SECOND, 0, 9)])
    assert written(empty, gaps="carry", **both) == []


def test_two_kinds_of_vectors_find_what_neither_finds_alone() -> None:
    seen, heard = topics([20, 20], seed=1), topics([30, 10], seed=2)
    part = windows(seen)
    for segment, vector in zip(part.video.layer("windows"), heard, strict=True):
        segment.embeddings.append(Embedding("sound", "known", vector.tolist()))
    starts = [s.span.start for s in written(part, embeddings=("clip", "sound"))]
    assert starts == [0, 20, 30]
    stage = SplitSemantic(Settings(embeddings=("clip", "sound")))
    assert stage.reads() == {"segments:windows", "embeddings:clip", "embeddings:sound"}


@pytest.mark.parametrize("method", ["kernel", "dip"])
def test_scenes_of_rendered_films_are_found_from_their_pixels(tmp_path: Path, method: str) -> None:
    films = Films(
        count=3, seed=9, width=128, height=96, fps=12, min_scenes=3, max_scenes=4, min_seconds=4,
        max_seconds=6, narration=False, gradual=0.0, upsets=0.0, words=0, sounds=0,
    )  # fmt: skip
    right = asked = told = 0
    for film in render(films, tmp_path):
        part = Part(Video(film.truth.name, str(film.path), probe=probe(film.path)))
        for stage in (
            SplitUniform(Windows(window_s=0.5)),
            SampleFrames(Frames(layer="windows", policy="middle", max_side=128)),
            EmbedPixels(Pixels(layer="windows", name="clip")),
        ):
            part = stage.process(part)
        starts = [s.span.start_s for s in written(part, method=method)][1:]
        true = [scene.start_s for scene in film.truth.scenes][1:]
        right += sum(any(abs(start - border) <= 0.5 for start in starts) for border in true)
        asked, told = asked + len(true), told + len(starts)
    assert asked >= 6
    assert 2 * right / (asked + told) >= 0.8  # brightness of areas alone; encoders see more
