"""The bar code in every frame tells whether the right one came, whatever the container does."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Frame, Part, Segment, Video
from clipmill.stages.frames.sample_frames import Policy, SampleFrames, Settings
from clipmill.stages.media.frames import sample, scan
from clipmill.stages.media.probe import probe
from tests.rendered import Rendered, number_of

Film = Callable[[str], Rendered]
ALL = ["plain", "vfr", "vfr_mkv", "transport", "no_times", "raw_stream", "no_keys", "late_picture"]


def numbers(frames: list[Frame]) -> list[int]:
    return [number_of(np.asarray(Image.open(BytesIO(frame.jpeg)))) for frame in frames]


@pytest.mark.parametrize("name", ALL)
def test_a_scan_gives_every_frame_once_at_its_true_time(film: Film, name: str) -> None:
    truth = film(name)
    found = probe(truth.path)
    clock = found.picture.clock
    seen = list(scan(truth.path, found))
    assert [number_of(pixels) for _, pixels in seen] == list(range(120))
    times = [clock.exact(tick) - clock.exact(seen[0][0]) for tick, _ in seen]
    wanted = [(tick - truth.ticks[0]) * truth.time_base for tick in truth.ticks]
    assert times == wanted


@pytest.mark.parametrize("name", ALL)
def test_single_frames_are_found_in_any_order(film: Film, name: str) -> None:
    truth = film(name)
    found = probe(truth.path)
    ticks = [tick for tick, _ in scan(truth.path, found, width=16, gray=True)]
    wanted = [77, 3, 119, 0, 30, 29, 64, 77]
    frames = sample(truth.path, found, [ticks[number] for number in wanted])
    assert numbers(frames) == wanted
    assert [frame.tick for frame in frames] == [ticks[number] for number in wanted]


@pytest.mark.parametrize("name", ["vfr", "transport", "no_keys"])
def test_a_span_holds_the_frames_that_start_inside_it(film: Film, name: str) -> None:
    truth = film(name)
    found = probe(truth.path)
    ticks = [tick for tick, _ in scan(truth.path, found, width=16, gray=True)]
    span = Span(found.picture.clock, ticks[45], ticks[77])
    inside = [number_of(pixels) for _, pixels in scan(truth.path, found, span)]
    assert inside == list(range(45, 77))


def test_a_time_between_frames_shows_the_earlier_one(film: Film) -> None:
    truth = film("plain")
    found = probe(truth.path)
    between = truth.ticks[50] + (truth.ticks[51] - truth.ticks[50]) // 2
    assert numbers(sample(truth.path, found, [between])) == [50]
    beyond = truth.end + 10**6
    assert numbers(sample(truth.path, found, [-(10**6), beyond])) == [0, 119]


def test_pictures_come_upright_and_with_square_pixels(film: Film) -> None:
    turned = film("turned")
    pixels = next(scan(turned.path, probe(turned.path)))[1]
    assert pixels.shape == (192, 128, 3)
    assert number_of(np.rot90(pixels, -1)) == 0
    wide = film("wide_pixels")
    assert next(scan(wide.path, probe(wide.path)))[1].shape == (128, 384, 3)


def test_thinning_takes_the_first_frame_at_or_after_each_instant(film: Film) -> None:
    truth = film("plain")
    found = probe(truth.path)
    seen = [number_of(pixels) for _, pixels in scan(truth.path, found, fps=5)]
    assert seen == list(range(0, 120, 5))


@pytest.mark.parametrize(
    ("policy", "count", "fps", "wanted"),
    [
        ("uniform", 4, 1.0, [35, 45, 55, 65]),
        ("middle", 8, 1.0, [50]),
        ("first-middle-last", 8, 1.0, [30, 50, 69]),
        ("fps", 8, 2.5, [35, 45, 55, 65]),
        ("fps", 2, 25.0, [40, 60]),
    ],
)
def test_every_policy_takes_the_frames_it_promises(
    film: Film, policy: Policy, count: int, fps: float, wanted: list[int]
) -> None:
    truth = film("plain")
    video = Video(id="v", source=str(truth.path), probe=probe(truth.path))
    clock = video.probe.picture.clock if video.probe else MILLISECONDS
    shots = [Span(clock, 0, truth.ticks[30]), Span(clock, truth.ticks[30], truth.ticks[70])]
    video.add_segments("shots", shots)
    part = SampleFrames(Settings(policy=policy, count=count, fps=fps)).process(Part(video))
    assert numbers(part.frames["shots-00001"]) == wanted


def key_frames(truth: Rendered) -> list[int]:
    with av.open(str(truth.path)) as container:
        ticks = [p.pts for p in container.demux(video=0) if p.size and p.is_keyframe]
    return [truth.ticks.index(tick) for tick in ticks]


def sampled(truth: Rendered, **options: object) -> list[int]:
    video = Video("v", str(truth.path), probe=probe(truth.path))
    video.add_segments("shots", [Span(probe(truth.path).picture.clock, 0, truth.end)])
    part = SampleFrames(Settings(**options)).process(Part(video))  # type: ignore[arg-type]
    frames = part.frames["shots-00000"]
    assert [frame.tick for frame in frames] == [truth.ticks[n] for n in numbers(frames)]
    return numbers(frames)


@pytest.mark.parametrize("name", ["plain", "vfr"])
@pytest.mark.parametrize("count", [1, 4, 24])
def test_cheap_pictures_are_key_frames_of_their_slice_or_exact(
    film: Film, name: str, count: int
) -> None:
    truth = film(name)
    keys = key_frames(truth)
    exact = sampled(truth, count=count)
    cheap = sampled(truth, count=count, at="key")
    assert len(cheap) == len(exact) == count
    taken = 0
    for slice_, (picture, middle) in enumerate(zip(cheap, exact, strict=True)):
        low, high = (Fraction(truth.end * (slice_ + n), count) for n in (0, 1))
        inside = [key for key in keys if low <= truth.ticks[key] < high]
        at = (low + high) // 2
        nearest = min(inside, key=lambda key: abs(truth.ticks[key] - at), default=middle)
        assert picture == nearest
        taken += bool(inside)
    assert taken


def test_without_key_frames_cheap_pictures_are_the_exact_ones(film: Film) -> None:
    truth = film("no_keys")
    assert sampled(truth, count=6, at="key")[1:] == sampled(truth, count=6)[1:]
    short = sampled(film("plain"), policy="first-middle-last", at="key")
    assert short == sampled(film("plain"), policy="first-middle-last")


def test_a_short_segment_yields_each_of_its_frames_once(film: Film) -> None:
    truth = film("plain")
    found = probe(truth.path)
    span = Span(found.picture.clock, truth.ticks[10], truth.ticks[12])
    video = Video(id="v", source=str(truth.path), probe=found)
    video.segments = [Segment("shots-00000", "shots", span)]
    part = SampleFrames(Settings(count=8)).process(Part(video))
    assert numbers(part.frames["shots-00000"]) == [10, 11]


def test_pictures_are_no_larger_than_asked(film: Film) -> None:
    truth = film("turned")
    frame = sample(truth.path, probe(truth.path), [0], max_side=96)[0]
    assert (frame.width, frame.height) == (64, 96)
    assert Image.open(BytesIO(frame.jpeg)).size == (64, 96)


def test_sampled_times_match_the_labelled_reading_of_a_real_file(real_media: Path) -> None:
    path = real_media / "broken" / "first_pts_10s.mp4"
    found = probe(path)
    assert found.picture.clock.seconds(found.picture.first or 0) == 0
    frame = sample(path, found, [found.picture.clock.tick(Fraction(2))])[0]
    assert frame.clock.seconds(frame.tick) == pytest.approx(2.0)
