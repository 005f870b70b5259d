"""Our own detector: exact on rendered films, right about what is no cut, good on real ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Part, Video
from clipmill.stages.media.frames import scan
from clipmill.stages.media.probe import probe
from clipmill.stages.media.thumbnails import thumbnails
from clipmill.stages.split import fast_shots
from clipmill.stages.split.dissolves import find_gradual
from clipmill.stages.split.fast_shots import Film, Transition, Tuning, detect, find_cuts
from clipmill.stages.split.split_shots import Settings, SplitShots, shots_between
from tests.rendered import Rendered

Pictures = np.ndarray[Any, np.dtype[Any]]
FPS = 25


def scenery(seed: int, light: float = 1.0) -> Pictures:
    """A wide picture to look at through a 64 x 36 window."""
    noise = np.random.default_rng(seed).integers(0, 255, (108, 400), dtype=np.uint8)
    soft = cv2.GaussianBlur(noise, (0, 0), 3)
    return cv2.normalize(soft, None, 0, 255, cv2.NORM_MINMAX).astype(np.float64) * light


def view(place: Pictures, x: float = 100, y: float = 30) -> Pictures:
    return place[int(y) : int(y) + 36, int(x) : int(x) + 64]


def hold(place: Pictures, count: int, speed: float = 0.0, x: float = 100) -> list[Pictures]:
    """A shot of `count` frames whose camera moves by `speed` pixels a frame."""
    return [view(place, x + speed * number) for number in range(count)]


def film_of(frames: list[Pictures], noise: float = 1.0) -> Film:
    source = np.random.default_rng(99)
    noisy = [frame + source.normal(0, noise, frame.shape) for frame in frames]
    pictures = np.clip(np.round(noisy), 0, 255).astype(np.uint8)
    ticks = list(range(len(frames)))
    gray = np.full((len(frames), 2, 9, 16), 128, np.uint8)
    return Film(pictures, gray, ticks, np.array(ticks) / FPS, [False] * len(frames))


def cuts(film: Film) -> list[int]:
    return [cut.index for cut in find_cuts(film, Tuning())]


def gradual(film: Film) -> list[tuple[int, int]]:
    tuning = Tuning()
    return find_gradual(
        film.pictures,
        film.colours,
        film.seconds,
        cuts(film),
        tuning.cut,
        tuning.most,
        tuning.mixture,
    )


A, B, C = scenery(1), scenery(2), scenery(3)


def test_a_new_scene_is_a_cut_on_its_first_frame() -> None:
    film = film_of(hold(A, 20, 1) + hold(B, 30, -1) + hold(C, 5))
    assert cuts(film) == [20, 50]
    assert gradual(film) == []


def test_a_cut_between_dark_shots_is_found() -> None:
    film = film_of(hold(scenery(1, 0.25), 20, 1) + hold(scenery(2, 0.25), 20, 1))
    assert cuts(film) == [20]


def test_a_dissolve_between_places_as_bright_as_each_other_is_one() -> None:
    film = film_of([view(A) * 0.02 + 120] * 60)
    film.colours[:, 0] = np.interp(np.arange(60), [20, 40], [90, 165])[:, None, None]
    assert gradual(film) == [(20, 40)]


def test_coloured_light_on_a_place_is_no_dissolve() -> None:
    film = film_of(hold(A, 60))
    film.colours[:, 0] = np.interp(np.arange(60), [20, 40], [90, 165])[:, None, None]
    assert gradual(film) == []


@pytest.mark.parametrize("gains", [[200], [160, 200, 120], [90, 200, 220, 150, 60]])
def test_a_flash_is_no_cut(gains: list[int]) -> None:
    shot = hold(A, 40, 0.5)
    for number, gain in enumerate(gains, start=18):
        shot[number] = np.minimum(255, shot[number] + gain)
    assert cuts(film_of(shot)) == []


def test_a_cut_with_a_flash_behind_it_is_a_cut() -> None:
    frames = hold(A, 20, 0.5) + hold(B, 20, 0.5)
    frames[23] = np.minimum(255, frames[23] + 150)
    assert cuts(film_of(frames)) == [20]


def test_a_shot_of_a_third_of_a_second_is_no_flash() -> None:
    assert cuts(film_of(hold(A, 20) + hold(B, 9) + hold(A, 20))) == [20, 29]


def test_what_lies_long_before_a_cut_is_no_witness_where_frames_are_sparse() -> None:
    film = film_of(hold(A, 10) + hold(B, 2) + hold(A, 10))
    film.seconds = np.array([*range(10), 10, 10.1, *range(11, 21)]) * 0.32
    assert cuts(film) == [10, 12]


def test_a_whip_pan_is_no_cut() -> None:
    swing = [100 + 100 * (1 - np.cos(np.pi * n / 16)) for n in range(17)]  # 20 pixels at its peak
    places = [100.0] * 10 + swing + [300.0] * 10
    film = film_of([view(A, x) for x in places])
    assert cuts(film) == []
    assert gradual(film) == []


def swing(
    place: Pictures, width: float, shares: list[float], axis: int = 1, then: Pictures | None = None
) -> list[Pictures]:
    """A camera swung along an axis and smeared by its speed, `shares` of the way at each frame."""
    frames = []
    for number, share in enumerate(shares):
        speed = abs(share - shares[max(0, number - 1)]) * width
        ground = place if then is None or share < 0.5 else then
        x, y = (share * width, 0.0) if axis else (0.0, share * width)
        seen = view(np.tile(ground, (1 if axis else 6, 1)), 20 + x, 20 + y)
        size = max(1, round(speed))
        frames.append(cv2.blur(seen, (size, 1) if axis else (1, size)))
    return frames


THERE = [(1 - float(np.cos(np.pi * n / 9))) / 2 for n in range(1, 10)]  # in a third of a second
STILL_LIFE = cv2.GaussianBlur(
    np.random.default_rng(7).integers(0, 255, (108, 400)).astype(np.float64), (0, 0), 1
)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("back", [False, True])
def test_a_camera_swung_so_fast_that_all_is_smeared_is_no_cut(axis: int, back: bool) -> None:
    way = [0.0] * 12 + THERE + (THERE[::-1] + [0.0] * 12 if back else [1.0] * 12)
    film = film_of(swing(STILL_LIFE, 250, way, axis))
    assert cuts(film) == []
    assert gradual(film) == []


def test_a_short_smooth_shot_between_detailed_ones_is_cut_off_on_both_sides() -> None:
    smooth = cv2.blur(view(STILL_LIFE) * 0.7, (31, 1))
    film = film_of(hold(STILL_LIFE, 20) + [smooth] * 12 + hold(STILL_LIFE, 20, x=250))
    assert cuts(film) == [20, 32]


def test_a_caption_that_pops_up_is_no_cut() -> None:
    shot = hold(A, 40, 0.5)
    for number in range(20, 40):
        shot[number] = shot[number].copy()
        shot[number][24:34, 4:60] = 255
    assert cuts(film_of(shot)) == []


def test_new_words_on_a_slide_are_a_cut() -> None:
    slide = np.full((36, 64), 240.0)
    after = slide.copy()
    after[8:20:4, 6:40] = 60
    assert cuts(film_of([slide] * 30 + [after] * 30, noise=0)) == [30]


def test_stop_motion_is_not_a_row_of_slides() -> None:
    shot = [view(A, 100 + number // 3) for number in range(60)]
    assert cuts(film_of(shot, noise=0)) == []


@pytest.mark.parametrize("length", [8, 15, 25])
def test_a_dissolve_is_gradual_and_not_a_cut(length: int) -> None:
    shares = [(number + 1) / (length + 1) for number in range(length)]
    mixed = [(1 - s) * view(A) + s * view(B) for s in shares]
    film = film_of(hold(A, 30) + mixed + hold(B, 30))
    assert cuts(film) == []
    ((start, end),) = gradual(film)
    assert abs(start - 29) <= 3
    assert abs(end - (30 + length)) <= 3


def test_a_fade_to_black_and_back_is_gradual() -> None:
    down = [view(A) * (1 - s / 10) for s in range(1, 11)]
    up = [view(B) * s / 10 for s in range(1, 11)]
    film = film_of(hold(A, 30) + down + up + hold(B, 30))
    assert cuts(film) == []
    spans = gradual(film)
    assert spans[0][0] in range(26, 32)
    assert spans[-1][1] in range(47, 54)


def test_light_that_goes_up_is_no_transition() -> None:
    shot = [np.minimum(255, view(A) * (0.3 + 0.7 * min(1, n / 20))) for n in range(40)]
    assert gradual(film_of(shot)) == []


def test_a_pan_is_no_transition() -> None:
    assert gradual(film_of(hold(A, 80, 2))) == []


def test_too_few_frames_hold_no_transition() -> None:
    for count in (1, 2, 3):
        film = film_of(hold(A, count))
        assert cuts(film) == []
        assert gradual(film) == []


Films = Callable[[str], Rendered]


@pytest.mark.parametrize(
    "name",
    [
        *("plain", "vfr", "vfr_mkv", "transport", "late_picture", "turned"),
        *("no_times", "raw_stream", "odd_10bit", "no_keys", "two_pictures"),
    ],
)
def test_cuts_are_exact_whatever_the_container_and_whatever_was_skipped(
    film: Films, name: str
) -> None:
    truth = film(name)
    facts = probe(truth.path)
    ticks = [tick for tick, _ in scan(truth.path, facts, width=16, gray=True)]
    found = detect(truth.path, facts)
    assert [ticks.index(cut.start_tick) for cut in found] == truth.cuts
    assert {cut.kind for cut in found} == {"cut"}


def test_frames_that_no_other_needs_are_not_decoded(film: Films) -> None:
    truth = film("plain")
    assert len(list(thumbnails(truth.path, probe(truth.path)))) < 0.8 * len(truth.ticks)


def test_a_long_film_is_the_sum_of_its_pieces(film: Films, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = film("vfr")
    facts = probe(truth.path)
    whole = detect(truth.path, facts)
    monkeypatch.setattr(fast_shots, "MARGIN", 8)
    for chunk in (1, 5, 13, 29):
        monkeypatch.setattr(fast_shots, "CHUNK", chunk)
        assert detect(truth.path, facts) == whole


@pytest.mark.parametrize(
    ("name", "hits", "alarms"),
    [
        ("bikes_street.mp4", 5, 0),
        ("googlework_paris.mp4", 20, 0),
        ("nasa_webb_two_streams.mp4", 1, 0),
        ("zh_cartoon_watermark.mp4", 2, 0),
        ("tears_of_steel_battle.webm", 24, 0),
    ],
)
def test_labelled_footage_is_cut_to_the_frame(
    real_media: Path, name: str, hits: int, alarms: int
) -> None:
    path = real_media / "videos" / name
    truth = json.loads(path.with_suffix(".cuts.json").read_text())
    facts = probe(path)
    ticks = [tick for tick, _ in scan(path, facts, width=16, gray=True)]
    found = [ticks.index(cut.start_tick) for cut in detect(path, facts) if cut.kind == "cut"]
    right = set(found) & set(truth["cuts"])
    assert (len(right), len(found) - len(right)) == (hits, alarms)


def test_a_dissolve_in_real_footage_is_a_span(real_media: Path) -> None:
    path = real_media / "videos" / "nasa_webb_two_streams.mp4"
    facts = probe(path)
    ((start, end),) = [
        (item.start_tick, item.end_tick) for item in detect(path, facts) if item.kind == "gradual"
    ]
    clock = facts.picture.clock
    assert clock.seconds(start) == pytest.approx(126 / 25, abs=0.25)
    assert clock.seconds(end) == pytest.approx(146 / 25, abs=0.25)


def test_split_shots_takes_the_detector(film: Films) -> None:
    truth = film("plain")
    video = Video("plain", str(truth.path), probe=probe(truth.path))
    SplitShots(Settings(detector="fast")).process(Part(video))
    spans = [segment.span for segment in video.layer("shots")]
    assert [span.start for span in spans] == [truth.ticks[0], *truth.cut_ticks]
    assert [span.end for span in spans] == [*truth.cut_ticks, truth.end]


def test_shots_are_what_no_transition_touches() -> None:
    def spans(*pairs: tuple[int, int]) -> list[Span]:
        return [Span(MILLISECONDS, *pair) for pair in pairs]

    whole = Span(MILLISECONDS, 0, 10_000)
    changes = [
        Transition(200, 200, "cut"),
        Transition(3000, 4000, "gradual"),
        Transition(3900, 3900, "cut"),
        Transition(9500, 10_000, "gradual"),
    ]
    assert shots_between(whole, changes, 0.6) == spans((200, 3000), (4000, 9500))
    assert shots_between(whole, changes, 0.1) == spans((0, 200), (200, 3000), (4000, 9500))
    assert shots_between(Span(MILLISECONDS, 0, 50), [], 0.6) == spans((0, 50))


def test_a_picture_is_never_left_without_a_shot() -> None:
    whole = Span(MILLISECONDS, 0, 500)
    cut, all_of_it = Transition(200, 200, "cut"), Transition(0, 500, "gradual")
    assert shots_between(whole, [cut], 0.4) == [Span(MILLISECONDS, 200, 500)]
    assert shots_between(whole, [all_of_it], 0.4) == [whole]
    assert shots_between(whole, [], 0.6) == [whole]


@pytest.mark.parametrize(
    "name", ["broken/rotated_bunny_5_1.mp4", "broken/weird_aspect_damaged.mpg"]
)
def test_a_short_or_damaged_file_still_has_a_shot(real_media: Path, name: str) -> None:
    video = Video(name, str(real_media / name), probe=probe(real_media / name))
    SplitShots(Settings()).process(Part(video))
    assert video.layer("shots")


def test_every_shot_of_a_quick_montage_is_kept(real_media: Path) -> None:
    path = real_media / "videos" / "googlework_paris.mp4"
    video = Video("montage", str(path), probe=probe(path))
    SplitShots(Settings()).process(Part(video))
    assert len(video.layer("shots")) == 21
