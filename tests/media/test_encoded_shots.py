"""Shots in films as encoders leave them: key frames anywhere, starved, or skipped in places."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from clipmill.stages.media.frames import decode_from
from clipmill.stages.media.probe import probe
from clipmill.stages.media.thumbnails import thumbnails
from clipmill.stages.split.fast_shots import detect

Pictures = np.ndarray[Any, np.dtype[Any]]
WIDTH, HEIGHT, FPS = 256, 144, 25


def place(seed: int) -> Pictures:
    """A wide soft picture, to be looked at through a window of 256 x 144."""
    noise = np.random.default_rng(seed).integers(0, 255, (300, 900), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 9), None, 0, 255, cv2.NORM_MINMAX)


def view(ground: Pictures, x: float, y: float = 60, zoom: float = 1.0) -> Pictures:
    size = (int(WIDTH / zoom), int(HEIGHT / zoom))
    seen = ground[int(y) : int(y) + size[1], int(x) : int(x) + size[0]]
    return cv2.resize(seen, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float64)


def hold(ground: Pictures, count: int, speed: float = 1.0, x: float = 100) -> list[Pictures]:
    return [view(ground, x + speed * number) for number in range(count)]


A, B, C = place(1), place(2), place(3)

ENCODERS = {
    "keys at cuts": {"crf": "23", "preset": "veryfast"},
    "keys at fixed places": {"crf": "23", "x264-params": "keyint=20:min-keyint=20:scenecut=0"},
    "no keys": {"crf": "23", "x264-params": "keyint=1000:scenecut=0:b-adapt=0:bframes=3"},
    "all keys": {"crf": "23", "x264-params": "keyint=1"},
    "starved": {"b": "40k", "x264-params": "vbv-maxrate=40:vbv-bufsize=20:keyint=50:scenecut=0"},
}


def film(path: Path, frames: list[Pictures], options: dict[str, str]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in frames:
            gray = np.clip(np.round(frame), 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(gray, format="gray")))
        container.mux(stream.encode(None))
    return path


def found(path: Path) -> list[tuple[float, float, str]]:
    """Transitions by number of their frames."""
    facts = probe(path)
    clock, first = facts.picture.clock, facts.picture.first or 0

    def number(tick: int) -> float:
        return round(float(clock.exact(tick) - clock.exact(first)) * FPS, 3)

    return [(number(t.start_tick), number(t.end_tick), t.kind) for t in detect(path, facts)]


@pytest.mark.parametrize("encoder", ENCODERS)
def test_cuts_are_exact_however_the_film_is_encoded(tmp_path: Path, encoder: str) -> None:
    frames = hold(A, 31) + hold(B, 40, -1, 300) + hold(C, 20, 0)
    cuts = found(film(tmp_path / "film.mp4", frames, ENCODERS[encoder]))
    assert cuts == [(31, 31, "cut"), (71, 71, "cut")]


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_short_cutaway_is_cut_off_on_both_sides(tmp_path: Path, encoder: str) -> None:
    frames = hold(A, 30, 0) + hold(B, 9, 0) + hold(A, 30, 0)
    cuts = found(film(tmp_path / "film.mp4", frames, ENCODERS[encoder]))
    assert cuts == [(30, 30, "cut"), (39, 39, "cut")]


@pytest.mark.parametrize("keys", [1000, 30])
@pytest.mark.parametrize("at", [29, 34, 40])
def test_a_short_cutaway_is_one_even_where_every_eighth_frame_is_referred_to(
    tmp_path: Path, at: int, keys: int
) -> None:
    layout = f"keyint={keys}:min-keyint={keys}:scenecut=0:b-adapt=0:bframes=7"
    frames = hold(A, at, 0) + hold(B, 9, 0) + hold(A, 40, 0)
    cuts = found(film(tmp_path / "film.mp4", frames, {"crf": "23", "x264-params": layout}))
    assert cuts == [(at, at, "cut"), (at + 9, at + 9, "cut")]


def test_frames_around_a_surge_are_decoded_at_once(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", hold(A, 41) + hold(B, 40), ENCODERS["no keys"])
    facts = probe(path)
    step = round(1 / FPS / facts.picture.clock.num * facts.picture.clock.den)
    seen = [(tick - (facts.picture.first or 0)) // step for tick, *_ in thumbnails(path, facts)]
    assert len(seen) < 50
    assert {40, 41, 42, 43, 44} <= set(seen)


@pytest.mark.parametrize("encoder", ["no keys", "keys at cuts", "starved"])
def test_in_passing_those_frames_are_seen_that_others_refer_to(
    tmp_path: Path, encoder: str
) -> None:
    path = film(tmp_path / "film.mp4", hold(A, 41) + hold(B, 40), ENCODERS[encoder])
    facts = probe(path)
    seen: list[int] = []
    every = list(thumbnails(path, facts, see=lambda tick, frame: seen.append(tick)))
    assert seen == [tick for tick, _ in decode_from(path, facts, None, None, needed=True)]
    assert len(seen) < len(every) or encoder == "keys at cuts"


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_dissolve_over_key_frames_is_one_span(tmp_path: Path, encoder: str) -> None:
    shares = [(n + 1) / 17 for n in range(16)]
    mixed = [(1 - s) * view(A, 100) + s * view(B, 100) for s in shares]
    frames = hold(A, 32, 0) + mixed + hold(B, 32, 0)
    ((start, end, kind),) = found(film(tmp_path / "film.mp4", frames, ENCODERS[encoder]))
    assert kind == "gradual"
    assert abs(start - 31) <= 4
    assert abs(end - 48) <= 4


@pytest.mark.parametrize("encoder", ["keys at cuts", "no keys", "starved"])
def test_the_same_place_seen_closer_is_another_shot(tmp_path: Path, encoder: str) -> None:
    nearer = [view(A, 160 + n, 90, 1.8) for n in range(30)]
    cuts = found(film(tmp_path / "film.mp4", hold(A, 30) + nearer, ENCODERS[encoder]))
    assert cuts == [(30, 30, "cut")]


@pytest.mark.parametrize("encoder", ["keys at fixed places", "no keys", "starved"])
def test_a_flash_and_a_pan_are_no_cuts(tmp_path: Path, encoder: str) -> None:
    frames = hold(A, 70, 3)
    for number, gain in ((30, 120), (31, 160), (32, 60)):
        frames[number] = np.minimum(255, frames[number] + gain)
    assert found(film(tmp_path / "film.mp4", frames, ENCODERS[encoder])) == []


@pytest.mark.parametrize("encoder", ["keys at fixed places", "no keys", "starved"])
def test_new_words_on_a_slide_are_a_cut(tmp_path: Path, encoder: str) -> None:
    slide = np.full((HEIGHT, WIDTH), 235.0)
    cv2.rectangle(slide, (12, 12), (200, 26), 40, -1)
    after = slide.copy()
    for row in range(50, 110, 12):
        cv2.rectangle(after, (16, row), (220, row + 5), 60, -1)
    frames = [slide] * 45 + [after] * 45
    ((start, end, kind),) = found(film(tmp_path / "film.mp4", frames, ENCODERS[encoder]))
    assert (start, end, kind) == (45, 45, "cut")


def test_what_was_left_out_between_two_pictures_is_known(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", hold(A, 60), ENCODERS["no keys"])
    facts = probe(path)
    seen = list(thumbnails(path, facts))
    step = round(1 / FPS / facts.picture.clock.num * facts.picture.clock.den)
    assert len(seen) < 40
    for (before, *_), (tick, certain, *_) in pairwise(seen):
        assert certain == (tick - before == step)


@pytest.mark.parametrize("encoder", ["no keys", "keys at cuts"])
@pytest.mark.parametrize("length", [3, 4, 6, 9])
@pytest.mark.parametrize("ground", [0.0, 128.0, 235.0])
def test_a_fade_through_a_plain_colour_is_one_transition(
    tmp_path: Path, ground: float, length: int, encoder: str
) -> None:
    """So many frames out and in, of which every fourth is looked at where there are no keys."""
    shares = [number / length for number in range(1, length + 1)]
    sides = [[view(place, 140 + number) for number in range(length)] for place in (A, B)]
    out = [
        frame * (1 - share) + ground * share for frame, share in zip(sides[0], shares, strict=True)
    ]
    back = [
        frame * share + ground * (1 - share) for frame, share in zip(sides[1], shares, strict=True)
    ]
    frames = [*hold(A, 40), *out, *back, *hold(B, 40)]
    path = film(tmp_path / "film.mp4", frames, ENCODERS[encoder])
    facts = probe(path)
    (found,) = detect(path, facts)
    ends = [facts.picture.clock.seconds(at) * FPS for at in (found.start_tick, found.end_tick)]
    assert found.kind == "gradual"
    assert 35 <= ends[0] <= 40 and 38 + 2 * length <= ends[1] <= 44 + 2 * length


def test_a_short_dark_shot_between_two_cuts_stays_a_shot(tmp_path: Path) -> None:
    dim = [frame * 0.5 for frame in hold(C, 18)]
    path = film(tmp_path / "film.mp4", hold(A, 40) + dim + hold(B, 40), ENCODERS["no keys"])
    assert [one.kind for one in detect(path, probe(path))] == ["cut", "cut"]
