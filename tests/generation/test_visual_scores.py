"""Size, bars, blur and overlays against what was painted, and on real films."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import planted
import pytest
from numpy.typing import NDArray
from PIL import Image

from clipmill.schemas.records import Frame, Part, Video
from clipmill.stages.compose.paint import overlay, text_patch
from clipmill.stages.frames.sample_frames import SampleFrames
from clipmill.stages.frames.sample_frames import Settings as Frames
from clipmill.stages.media.probe import probe
from clipmill.stages.score.score_overlay import ScoreOverlay
from clipmill.stages.score.score_overlay import Settings as Overlay
from clipmill.stages.score.score_visual import ScoreVisual, Settings
from clipmill.stages.split.split_shots import Settings as Shots
from clipmill.stages.split.split_shots import SplitShots

Picture = NDArray[np.uint8]
SIZE = {"width": 192, "height": 144}


@pytest.fixture(autouse=True)
def larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planted, "BOARD", planted.BOARD.model_copy(update=SIZE))


def films(count: int, seed: int, scenes: int = 6, frames: int = 2) -> list[Part]:
    return planted.painted(count, frames=frames, seed=seed, scenes=scenes).parts


def redrawn(part: Part, change: Callable[[Picture, int], Picture]) -> Part:
    """The part with every picture changed; `change` is told the number of the scene."""
    for number, segment in enumerate(part.video.segments):
        own = part.frames[segment.id]
        part.frames[segment.id] = [_changed(frame, change, number) for frame in own]
    return part


def _changed(frame: Frame, change: Callable[[Picture, int], Picture], number: int) -> Frame:
    picture = np.array(Image.open(io.BytesIO(frame.jpeg)).convert("RGB"))
    file = io.BytesIO()
    Image.fromarray(change(picture, number)).save(file, "JPEG", quality=92)
    return Frame(frame.clock, frame.tick, file.getvalue(), frame.width, frame.height)


def scores(part: Part, name: str) -> list[float | None]:
    ScoreVisual(Settings()).process(part)
    ScoreOverlay(Overlay()).process(part)
    return [segment.scores.get(name) for segment in part.video.segments]


@pytest.mark.parametrize("bars", [(18, 18, 0, 0), (0, 0, 24, 24), (12, 20, 8, 0), (0, 0, 0, 0)])
def test_bars_are_what_was_painted_black_a_black_frame_among_the_others_counts_for_nothing(
    bars: tuple[int, int, int, int],
) -> None:
    top, bottom, left, right = bars

    def barred(picture: Picture, number: int) -> Picture:
        made = np.full_like(picture, 4)
        made[top : 144 - bottom, left : 192 - right] = picture[
            top : 144 - bottom, left : 192 - right
        ]
        return made

    share = 1 - (144 - top - bottom) * (192 - left - right) / (144 * 192)
    for part in films(3, seed=11):
        dark = iter([True, *[False] * 100])
        redrawn(part, lambda picture, n: 0 * picture if next(dark) else barred(picture, n))  # noqa: B023
        assert scores(part, "bars") == pytest.approx([share] * 6, abs=0.012)


def test_a_night_without_a_single_light_has_no_bars() -> None:
    [part] = films(1, seed=1)
    assert scores(redrawn(part, lambda picture, _: picture // 20), "bars") == [0.0] * 6


def test_blur_rises_with_every_blurring() -> None:
    levels = []
    for sigma in (0.0, 1.0, 2.0, 4.0):
        found = []
        for part in films(4, seed=7):
            if sigma:
                redrawn(part, lambda p, _: cv2.GaussianBlur(p, (0, 0), sigma))  # noqa: B023
            found += scores(part, "blur")
        levels.append(np.array(found, float))
    for less, more in itertools.pairwise(levels):
        assert (more > less).mean() >= 0.95 and more.mean() > less.mean() + 0.1
    assert np.quantile(levels[0], 0.9) < np.quantile(levels[3], 0.1)


def test_size_and_shape_are_those_a_viewer_sees() -> None:
    [part] = films(1, seed=2)
    assert part.video.probe is not None
    picture = part.video.probe.picture
    picture.width, picture.height, picture.sar_num, picture.sar_den = 720, 576, 16, 15
    assert scores(part, "short_side")[0] == 576
    assert scores(part, "aspect")[0] == pytest.approx(4 / 3)
    picture.rotation = 90
    assert scores(part, "aspect")[0] == pytest.approx(3 / 4)
    part.frames.clear()
    for segment in part.video.segments:
        segment.scores.clear()
    assert scores(part, "short_side")[0] == 576 and scores(part, "blur") == [None] * 6


MARKS = [(text_patch("SAMPLE", 18, opacity), place)
         for opacity in (0.45, 0.7, 1.0)
         for place in ((0.97, 0.04), (0.05, 0.95), (0.5, 0.5))]  # fmt: skip


@pytest.mark.parametrize("mark", range(len(MARKS)))
def test_a_watermark_is_found_wherever_it_lies_and_however_pale(mark: int) -> None:
    patch, place = MARKS[mark]

    def marked(picture: Picture, _: int) -> Picture:
        overlay(picture, patch, place)
        return picture

    for part in films(3, seed=mark):
        found = scores(redrawn(part, marked), "overlay")
        assert min(share for share in found if share is not None) > 0.003
        # No more than the patch: what lies elsewhere stands still in one scene only.
        assert max(share for share in found if share is not None) < 0.06


def test_pictures_without_a_watermark_have_none_barred_or_not() -> None:
    def barred(picture: Picture, _: int) -> Picture:
        picture[:14] = picture[-14:] = 3
        return picture

    found = [share for part in films(12, seed=31) for share in scores(part, "overlay")]
    found += [s for part in films(6, seed=31) for s in scores(redrawn(part, barred), "overlay")]
    assert sum(share < 0.002 for share in found if share is not None) >= 0.97 * len(found)


def test_a_watermark_that_comes_later_is_not_held_against_what_was_before() -> None:
    patch = text_patch("SAMPLE", 18, 1.0)

    def late(picture: Picture, number: int) -> Picture:
        if number >= 1:
            overlay(picture, patch, (0.97, 0.04))
        return picture

    for part in films(3, seed=5, scenes=12):
        found = scores(redrawn(part, late), "overlay")
        assert found[0] < 0.002 < 0.003 < min(found[1:])  # type: ignore[operator, type-var]


def test_one_scene_says_nothing_about_what_stands_still() -> None:
    [part] = films(1, seed=3, scenes=1, frames=4)
    assert scores(part, "overlay") == [None]


CLEAN = ("bikes_street.mp4", "googlework_paris.mp4")


def shots_of(path: Path) -> Part:
    part = Part(Video(path.stem, str(path), probe=probe(path)))
    keep = {"fps": 1.0, "max_side": 512}
    for stage in (SplitShots(Shots(keep=keep)), SampleFrames(Frames(policy="kept", **keep))):
        part = stage.process(part)
    return part


def test_the_watermark_of_a_real_film_is_found_and_other_films_have_none(real_media: Path) -> None:
    marked = shots_of(real_media / "videos" / "zh_cartoon_watermark.mp4")
    assert min(share or 0 for share in scores(marked, "overlay")) > 0.01
    for name in CLEAN:
        part = shots_of(real_media / "videos" / name)
        found = [share for share in scores(part, "overlay") if share is not None]
        assert found and max(found) < 0.002, name


def test_real_films_have_the_bars_that_they_show(real_media: Path) -> None:
    shown = {"chaplin_letterbox.mp4": 0.22, "w3c_rabbit_silent.mp4": 0.33, "dog_sam2.mp4": 0.0}
    for name, share in shown.items():
        path = real_media / "videos" / name
        part = Part(Video(name, str(path), probe=probe(path)))
        assert part.video.probe is not None
        part.video.add_segments("shots", [part.video.probe.span])
        SampleFrames(Frames(policy="uniform", count=3)).process(part)
        assert scores(part, "bars") == pytest.approx([share], abs=0.02), name
        assert part.video.segments[0].scores["blur"] < 0.6, name
