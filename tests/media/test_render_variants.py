"""Planted defects are in the pixels, one to a video, and everything else is clean."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from clipmill.stages.compose.render_synthetic import RenderedVideo, Settings, render
from clipmill.stages.media.frames import scan
from clipmill.stages.media.probe import probe

DEFECTS = (
    "static", "duplicate", "watermark", "wrong_aspect", "low_resolution", "text_heavy",
    "two_scenes", "too_fast", "wrong_caption",
)  # fmt: skip
PLAN = Settings(
    count=18, seed=1, width=192, height=144, fps=12, min_scenes=1, max_scenes=1, min_seconds=1.5,
    max_seconds=2.0, narration=False, upsets=0.0, words=0.0, variants=DEFECTS, variant_share=0.5,
)  # fmt: skip


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RenderedVideo]:
    """One video for every defect, and the last clean one."""
    return {
        video.truth.variant: video for video in render(PLAN, tmp_path_factory.mktemp("defects"))
    }


def film(video: RenderedVideo) -> np.ndarray:
    return np.stack([pixels for _, pixels in scan(video.path, probe(video.path))])


def test_the_stated_share_of_videos_has_one_defect_each(tmp_path: Path) -> None:
    small = PLAN.model_copy(update={"count": 10, "width": 64, "height": 48, "variant_share": 0.4})
    variants = [video.truth.variant for video in render(small, tmp_path)]
    assert variants.count("clean") == 6
    assert [name for name in variants if name != "clean"] == list(DEFECTS[:4])


def test_every_defect_is_planted(videos: dict[str, RenderedVideo]) -> None:
    assert set(videos) == {"clean", *DEFECTS}


def test_static_never_changes_and_clean_does(videos: dict[str, RenderedVideo]) -> None:
    """Blurred, since the coding of fine grass keeps getting better over a still picture."""
    change = {}
    for name in ("static", "clean"):
        soft = [cv2.GaussianBlur(pixels, (0, 0), 4).astype(int) for pixels in film(videos[name])]
        change[name] = max(np.abs(pixels - soft[0]).max() for pixels in soft)
    assert change["static"] < 12
    assert change["clean"] > 50


def test_shape_and_size_defects_are_in_the_stream(videos: dict[str, RenderedVideo]) -> None:
    wide, small = (probe(videos[name].path).picture for name in ("wrong_aspect", "low_resolution"))
    assert wide.width is not None and wide.height is not None
    assert wide.width / wide.height > 3
    assert small.width is not None and small.width <= PLAN.width / 3


def test_a_duplicate_shows_its_original_in_other_bytes(videos: dict[str, RenderedVideo]) -> None:
    copy = videos["duplicate"]
    original = copy.path.with_name(f"{copy.truth.duplicate_of}.mp4")
    assert copy.path.read_bytes() != original.read_bytes()
    pairs = zip(film(copy), [p for _, p in scan(original, probe(original))], strict=True)
    for one, two in pairs:
        small = [cv2.resize(cv2.GaussianBlur(p, (0, 0), 6), (16, 12)).ravel() for p in (one, two)]
        assert np.corrcoef(*small)[0, 1] > 0.9


def test_two_scenes_hide_one_hard_cut(videos: dict[str, RenderedVideo]) -> None:
    pixels = film(videos["two_scenes"]).astype(int)
    (cut,) = videos["two_scenes"].truth.cuts
    assert np.abs(np.diff(pixels, axis=0)).mean(axis=(1, 2, 3)).argmax() + 1 == cut.frame


def test_too_fast_changes_far_more_than_clean(videos: dict[str, RenderedVideo]) -> None:
    fast, clean = (
        np.abs(np.diff(film(videos[name]).astype(int), axis=0)).mean()
        for name in ("too_fast", "clean")
    )
    assert fast > 3 * clean


def test_text_defects_put_bright_letters_where_none_were(videos: dict[str, RenderedVideo]) -> None:
    def letters(name: str) -> float:
        return float((film(videos[name])[3].min(axis=2) > 215).mean())

    assert letters("text_heavy") > 0.02
    mark = film(videos["watermark"])[:, :22, -70:].astype(int)
    rest = film(videos["watermark"])[:, 30:52, -70:].astype(int)
    edges = [np.abs(np.diff(part, axis=2)).mean() for part in (mark, rest)]
    assert edges[0] > 2 * edges[1] or edges[0] > 20


def test_a_wrong_caption_fits_no_slot(videos: dict[str, RenderedVideo]) -> None:
    truth = videos["wrong_caption"].truth
    assert truth.scenes[0].things[0].colour not in truth.given_caption
    assert truth.given_caption not in truth.scenes[0].brief
    clean = videos["clean"].truth
    assert clean.given_caption in clean.scenes[0].brief
