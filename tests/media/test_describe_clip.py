"""Measured descriptions against frames whose motion, light and colour are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.errors import MediaError
from clipmill.schemas.records import Part, Video
from clipmill.stages.caption.describe_clip import DescribeClip, Description, Settings, measure

FPS = 8
View = tuple[float, float, float]  # where the camera looks, and its magnification
STILL: Callable[[float], View] = lambda t: (800.0, 450.0, 1.0)  # noqa: E731


@pytest.fixture(scope="module")
def scenery() -> np.ndarray[Any, Any]:
    """A wide textured picture for a camera to move over."""
    noise = np.random.default_rng(0).integers(0, 255, (900, 1600, 3), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX)


def film(
    scenery: Any, look: Callable[[float], View], seconds: float = 2.0, noise: float = 2.0
) -> list[tuple[float, Any]]:
    """Frames of 320 x 180 as a camera would see the scenery, with sensor noise."""
    source = np.random.default_rng(1)
    frames = []
    for number in range(round(seconds * FPS) + 1):
        x, y, zoom = look(number / FPS)
        matrix = np.array([[zoom, 0, 160 - zoom * x], [0, zoom, 90 - zoom * y]])
        seen = cv2.warpAffine(scenery, matrix, (320, 180)).astype(np.float32)
        seen += source.normal(0, noise, seen.shape)
        frames.append((number / FPS, np.clip(seen, 0, 255).astype(np.uint8)))
    return frames


def solid(*colour: int) -> Any:
    return np.full((180, 320, 3), colour, np.uint8)


@pytest.mark.parametrize(
    ("look", "label"),
    [
        (STILL, "static"),
        (lambda t: (800 + 80 * t, 450, 1), "pan_right"),
        (lambda t: (800 - 15 * t, 450, 1), "pan_left"),
        (lambda t: (800 - 160 * t, 450, 1), "pan_left"),
        (lambda t: (800, 450 - 40 * t, 1), "tilt_up"),
        (lambda t: (800, 450 + 40 * t, 1), "tilt_down"),
        (lambda t: (800, 450, 1.2**t), "zoom_in"),
        (lambda t: (800, 450, 1.08**-t), "zoom_out"),
        (lambda t: (800 + 50 * t, 450 + 50 * t, 1), "mixed"),
        (lambda t: (800 + 60 * np.sin(3 * t), 450, 1), "mixed"),
    ],
)
def test_the_camera_is_named_by_its_own_direction(
    scenery: Any, look: Callable[[float], View], label: str
) -> None:
    assert measure(film(scenery, look)).labels["camera"] == label


def test_motion_is_picture_diagonals_per_second(scenery: Any) -> None:
    found = measure(film(scenery, lambda t: (800 + 80 * t, 450, 1)))
    assert found.scores["motion"] == pytest.approx(80 / np.hypot(320, 180), rel=0.1)
    assert found.labels["motion"] == "high"


def test_an_object_that_crosses_does_not_move_the_camera(scenery: Any) -> None:
    frames = film(scenery, STILL)
    for seconds, picture in frames:
        left = int(20 + 90 * seconds)
        picture[50:130, left : left + 80] = scenery[:80, :80]
    found = measure(frames)
    assert found.labels["camera"] == "static"
    assert found.scores["motion"] > 0.01


def test_an_object_carried_along_does_not_stop_a_pan(scenery: Any) -> None:
    frames = film(scenery, lambda t: (800 + 60 * t, 450, 1))
    for _, picture in frames:
        picture[50:130, 120:200] = scenery[:80, :80]
    assert measure(frames).labels["camera"] == "pan_right"


def test_noise_on_a_still_picture_is_not_motion(scenery: Any) -> None:
    found = measure(film(scenery, STILL, noise=4.0))
    assert found.scores["motion"] < 0.004
    assert found.labels["motion"] == "still"
    assert found.scores["frozen_share"] == 0.0


def test_a_cut_inside_does_not_invent_a_move(scenery: Any) -> None:
    def cut(t: float) -> View:
        return (500.0, 300.0, 1.0) if t < 1 else (1100.0, 600.0, 1.0)

    assert measure(film(scenery, cut)).labels["camera"] == "static"


@pytest.mark.parametrize(
    ("colour", "light", "name"),
    [
        ((0, 0, 0), "dark", "black"),
        ((255, 255, 255), "bright", "white"),
        ((128, 128, 128), "medium", "grey"),
        ((220, 20, 30), "medium", "red"),
        ((30, 60, 180), "medium", "blue"),
        ((250, 230, 70), "bright", "yellow"),
        ((60, 140, 50), "medium", "green"),
        ((110, 70, 40), "medium", "brown"),
        ((140, 138, 130), "medium", "grey"),  # concrete
        ((210, 180, 140), "bright", "brown"),  # sand
        ((54, 125, 166), "medium", "cyan"),  # water
        ((20, 30, 80), "dark", "blue"),  # the sky at night
    ],
)
def test_light_and_colour_are_named(colour: tuple[int, int, int], light: str, name: str) -> None:
    found = measure([(0.0, solid(*colour)), (0.1, solid(*colour))])
    assert found.labels["brightness"] == light
    assert found.labels["colour"] == name
    luma = np.dot(colour, (0.299, 0.587, 0.114)) / 255
    assert found.scores["brightness"] == pytest.approx(luma, abs=0.01)


def test_a_flat_picture_has_no_camera_to_name() -> None:
    found = measure([(number / FPS, solid(90, 90, 90)) for number in range(9)])
    assert "camera" not in found.labels
    assert found.scores["motion"] == 0.0


def test_black_and_frozen_stretches_are_shares_of_the_time(scenery: Any) -> None:
    moving = [picture for _, picture in film(scenery, lambda t: (800 + 80 * t, 450, 1))]
    pictures = [solid(8, 8, 8)] * 5 + moving[:10] + [moving[10]] * 5
    found = measure((number / FPS, picture) for number, picture in enumerate(pictures))
    assert found.scores["black_share"] == pytest.approx(5 / 20)
    assert found.scores["frozen_share"] == pytest.approx((4 + 4) / 19)
    assert "25% of the time it shows black" in found.sentence()


def test_an_uneven_sample_counts_for_as_long_as_it_lasts(scenery: Any) -> None:
    moving = [picture for _, picture in film(scenery, lambda t: (800 + 80 * t, 450, 1))]
    frames = [(0.0, solid(5, 5, 5)), (0.5, solid(5, 5, 5))]
    frames += [(1.0 + n / 16, moving[n]) for n in range(17)]
    found = measure(frames)
    assert found.scores["black_share"] == pytest.approx(0.5, abs=0.05)
    assert found.scores["frozen_share"] == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("seconds", [1.0, 3.0])
def test_a_turned_picture_is_measured_alike(scenery: Any, seconds: float) -> None:
    level = film(scenery, lambda t: (800 + 60 * t, 450, 1), seconds)
    upright = [(at, np.ascontiguousarray(np.rot90(picture))) for at, picture in level]
    before, after = measure(level), measure(upright)
    assert after.labels == before.labels | {"camera": "tilt_up"}
    assert after.scores == pytest.approx(before.scores, rel=0.05)


def test_blur_lowers_sharpness_and_contrast_alone_does_not(scenery: Any) -> None:
    crisp = measure(film(scenery, STILL, noise=0)).scores
    blurred = cv2.GaussianBlur(scenery, (0, 0), 8)
    pale = (scenery // 2 + 60).astype(np.uint8)
    assert measure(film(blurred, STILL, noise=0)).scores["sharpness"] < crisp["sharpness"] / 2
    faded = measure(film(pale, STILL, noise=0)).scores
    assert faded["sharpness"] == pytest.approx(crisp["sharpness"], rel=0.15)
    assert faded["contrast"] < 0.6 * crisp["contrast"]


def test_one_frame_tells_light_but_not_motion() -> None:
    found = measure([(0.0, solid(250, 250, 250))])
    assert found.scores["brightness"] > 0.9
    assert not {"motion", "frozen_share"} & found.scores.keys()
    assert not {"motion", "camera"} & found.labels.keys()


def test_no_frames_describe_nothing() -> None:
    assert measure([]) == Description()
    assert measure([]).sentence() == ""


@pytest.mark.parametrize("size", [(6, 10), (2, 640), (640, 2)])
def test_odd_sizes_are_measured_too(size: tuple[int, int]) -> None:
    frames = [(n / FPS, np.full((*size, 3), 40 * n, np.uint8)) for n in range(4)]
    assert measure(frames).scores["brightness"] == pytest.approx(60 / 255, abs=0.01)


def test_what_is_written_is_what_is_declared(scenery: Any) -> None:
    found = measure(film(scenery, lambda t: (800 + 80 * t, 450, 1)))
    written = {f"scores:{name}" for name in found.scores}
    written |= {f"labels:{name}" for name in found.labels}
    written |= {f"texts:slot:{name}" for name in found.slots()} | {"texts:described"}
    assert written == DescribeClip(Settings()).adds()
    assert found.sentence().startswith("Measured from the picture: the camera pans right")


def described(path: Path, spans: list[Span]) -> list[Any]:
    """The segments of a file after the stage has seen it."""
    from clipmill.stages.media.probe import probe

    video = Video(path.name, str(path), probe=probe(path))
    video.add_segments("shots", spans)
    DescribeClip(Settings()).process(Part(video))
    return video.segments


def test_each_segment_of_a_file_is_described_by_its_own_frames(
    scenery: Any, tmp_path: Path
) -> None:
    pan = film(scenery, lambda t: (700 + 80 * t, 450, 1), seconds=2.0)
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for picture in [picture for _, picture in pan[:16]] + [solid(5, 5, 5)] * 16:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    # On another clock than the picture's, overlapping, and in no order.
    spans = [
        Span(MILLISECONDS, *ends) for ends in ((2000, 4000), (0, 2000), (0, 4000), (9000, 9500))
    ]
    black, panned, both, nothing = described(path, spans)
    assert black.scores["black_share"] == 1.0
    assert panned.labels["camera"] == "pan_right"
    assert panned.scores["black_share"] == 0.0
    assert both.scores["black_share"] == pytest.approx(0.5)
    assert not nothing.scores and not nothing.texts
    (text,) = panned.texts_of("slot:camera")
    assert text.text == "the camera pans right"
    assert (text.author.stage, text.author.model) == ("describe_clip", "")


def test_a_shot_shorter_than_the_sampling_step_still_has_motion(
    scenery: Any, tmp_path: Path
) -> None:
    path = tmp_path / "short.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=50)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for number in range(10):
            frame = cv2.warpAffine(
                scenery, np.array([[1, 0, -700.0 - 2 * number], [0, 1, -400.0]]), (320, 180)
            )
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    (segment,) = described(path, [Span(MILLISECONDS, 0, 100)])
    assert segment.labels["camera"] == "pan_right"


def test_a_video_that_was_not_probed_is_refused() -> None:
    video = Video("v", "v.mp4")
    video.add_segments("shots", [Span(MILLISECONDS, 0, 1000)])
    with pytest.raises(MediaError, match="probed"):
        DescribeClip(Settings()).process(Part(video))


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("videos/traffic_camera.mp4", {"camera": "static", "brightness": "medium"}),
        ("videos/cctv_bottle.mp4", {"camera": "static"}),
        ("broken/black_and_silent_10s.mp4", {"motion": "still", "colour": "black"}),
    ],
)
def test_real_footage_is_described_as_it_looks(
    real_media: Path, name: str, labels: dict[str, str]
) -> None:
    (segment,) = described(real_media / name, [Span(MILLISECONDS, 0, 6000)])
    assert labels.items() <= segment.labels.items()
    assert segment.scores["black_share"] == float("black" in name)
