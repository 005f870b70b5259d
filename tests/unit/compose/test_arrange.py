"""Where clips go on a new time line, without any file."""

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipmill.schemas.clocks import Clock
from clipmill.schemas.errors import ClipmillError
from clipmill.schemas.records import Probe, Stream
from clipmill.stages.compose import compose_clips, transform_video
from clipmill.stages.compose.timeline import Clip, Source, fit

FPS = Fraction(25)


def source(name: str, frames: int) -> Source:
    stream = Stream(0, "video", "h264", Clock("v0", 1, 12_800), fps_num=25, fps_den=1)
    facts = Probe("mov", 1, frames / 25, 0, [stream])
    return Source(Clip(name, Path(name)), facts, Fraction(0), frames / FPS)


def sources(lengths: list[int]) -> list[Source]:
    return [source(f"clip{number}", frames) for number, frames in enumerate(lengths)]


LENGTHS = st.lists(st.integers(1, 200), min_size=1, max_size=6)


@settings(max_examples=60)
@given(LENGTHS, st.integers(0, 1000), st.sampled_from(["concat", "permute"]))
def test_pieces_touch_and_show_every_clip_once(lengths: list[int], seed: int, how: str) -> None:
    chosen = compose_clips.Settings.model_validate({"operation": how, "seed": seed})
    pieces = compose_clips.arrange(sources(lengths), chosen, FPS)
    assert sorted(piece.source for piece in pieces) == sorted(
        f"clip{n}" for n in range(len(lengths))
    )
    assert pieces[0].start_frame == 0
    for one, two in itertools.pairwise(pieces):
        assert one.end_frame == two.start_frame
    assert pieces[-1].end_frame == sum(lengths)


@settings(max_examples=60)
@given(st.lists(st.integers(5, 50), min_size=1, max_size=4), st.integers(0, 1000))
def test_a_host_is_whole_around_its_needles(lengths: list[int], seed: int) -> None:
    chosen = compose_clips.Settings(operation="insert", seed=seed)
    pieces = compose_clips.arrange(sources([250, *lengths]), chosen, FPS)
    host = [piece for piece in pieces if piece.role == "host"]
    assert [piece.role for piece in pieces[1::2]] == ["needle"] * len(lengths)
    assert host[0].span.start == 0
    assert host[-1].span.end_s == 10.0
    for one, two in itertools.pairwise(host):
        assert one.span.end == two.span.start
    assert sum(piece.end_frame - piece.start_frame for piece in host) == 250
    assert all(piece.span.duration_s >= 0.46 for piece in host)


def test_permute_never_answers_with_the_given_order() -> None:
    for seed in range(30):
        chosen = compose_clips.Settings(operation="permute", seed=seed)
        pieces = compose_clips.arrange(sources([10, 10]), chosen, FPS)
        assert [piece.source for piece in pieces] == ["clip1", "clip0"]


def test_needles_that_do_not_fit_are_refused_with_a_cure() -> None:
    chosen = compose_clips.Settings(operation="insert", margin_s=4.0)
    with pytest.raises(ClipmillError, match=r"do not fit into 10\.0 s") as caught:
        compose_clips.arrange(sources([250, 10, 10]), chosen, FPS)
    assert "margin_s" in caught.value.cure


def test_clips_shorter_than_two_overlaps_are_refused() -> None:
    chosen = compose_clips.Settings(operation="overlap", overlap_s=1.0)
    with pytest.raises(ClipmillError, match="less than twice"):
        compose_clips.arrange(sources([100, 40]), chosen, FPS)


@pytest.mark.parametrize(("strength", "left"), [(0.25, 6), (0.5, 4), (1.0, 1)])
def test_drop_keeps_order_and_never_drops_everything(strength: float, left: int) -> None:
    chosen = transform_video.Settings(operation="drop", strength=strength)
    pieces = transform_video.arrange(source("clip", 80), chosen, FPS)
    assert len(pieces) == left
    assert [piece.span.start for piece in pieces] == sorted(piece.span.start for piece in pieces)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 16))
def test_shuffle_permutes_whole_segments_and_never_to_the_given_order(
    seed: int, count: int
) -> None:
    chosen = transform_video.Settings(operation="shuffle", segments=count, seed=seed)
    pieces = transform_video.arrange(source("clip", 83), chosen, FPS)
    starts = [piece.span.start for piece in pieces]
    assert starts != sorted(starts)
    spans = sorted((piece.span.start, piece.span.end) for piece in pieces)
    assert spans[0][0] == 0
    assert all(one[1] == two[0] for one, two in itertools.pairwise(spans))
    assert pieces[-1].end_frame == 83


def test_more_segments_than_frames_are_refused() -> None:
    with pytest.raises(ClipmillError, match="3 frames do not make 8 segments"):
        transform_video.arrange(
            source("clip", 3), transform_video.Settings(operation="shuffle"), FPS
        )


@pytest.mark.parametrize("damage", ["blur", "noise", "pixels", "dark"])
def test_a_stronger_damage_is_farther_from_the_picture(damage: str) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (48, 64, 3)).astype(np.uint8)
    picture = np.repeat(np.repeat(picture[::8, ::8], 8, 0), 8, 1)
    away = [
        np.abs(transform_video.spoil(picture, damage, strength, rng).astype(int) - picture).mean()
        for strength in (0.1, 0.4, 1.0)
    ]
    assert away[0] < away[1] < away[2]


def test_a_picture_of_another_shape_gets_black_sides() -> None:
    tall = np.full((40, 10, 3), 200, np.uint8)
    fitted = fit(tall, (80, 40))
    assert fitted.shape == (40, 80, 3)
    assert fitted[:, :34].max() == 0
    assert fitted[:, 36:44].min() == 200
