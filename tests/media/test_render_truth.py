"""The truth of rendered videos, checked against decoded pixels by means the renderer lacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from clipmill.stages.compose.paint import ScenePainter
from clipmill.stages.compose.render_synthetic import RenderedVideo, Settings, pictures, render
from clipmill.stages.compose.scenes import plan, random_scene
from clipmill.stages.compose.truth import SceneTruth, Truth
from clipmill.stages.compose.world import MOTIONS, RGB, Storyboard
from clipmill.stages.media.frames import scan
from clipmill.stages.media.probe import probe

Film = NDArray[np.uint8]

BUSY = Settings(
    count=4, seed=7, width=192, height=144, fps=15, min_scenes=4, max_scenes=5,
    min_seconds=3.0, max_seconds=3.4, narration=False, gradual=0.4, upsets=0.6, words=0.0,
)  # fmt: skip
PLAIN = Settings(
    count=20, seed=2, width=160, height=120, fps=10, min_scenes=1, max_scenes=1,
    min_seconds=1.5, max_seconds=1.5, narration=False, upsets=0.0, words=0.0, moving_camera=0.0,
    second_things=0.0, sounds=0.0,
)  # fmt: skip


@cache
def film(path: Path) -> Film:
    return np.stack([pixels for _, pixels in scan(path, probe(path))])


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> list[RenderedVideo]:
    return render(BUSY, tmp_path_factory.mktemp("busy"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> list[RenderedVideo]:
    return render(PLAIN, tmp_path_factory.mktemp("plain"))


def changes(pixels: Film) -> NDArray[np.float64]:
    """Mean absolute change from the frame before; the first frame has 0."""
    away = np.abs(np.diff(pixels.astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
    return np.concatenate([[0.0], away])


def masks(pixels: Film, colour: str) -> NDArray[np.bool_]:
    """Where the picture has the named colour, by distance in RGB."""
    away = np.abs(pixels.astype(np.int16) - np.array(RGB[colour])).max(axis=3)
    return np.asarray(away < 40)


def centres(found: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.array([np.argwhere(mask).mean(axis=0)[::-1] for mask in found])


def test_counts_and_sizes_are_those_of_the_file(busy: list[RenderedVideo]) -> None:
    for video in busy:
        facts = probe(video.path)
        assert facts.decoded_frames == video.truth.frames
        assert facts.duration_s == pytest.approx(video.truth.seconds, abs=1e-6)
        assert film(video.path).shape[1:3] == (video.truth.height, video.truth.width)
        assert facts.damage == []


def jumps(pixels: Film) -> set[int]:
    """Frames that differ from the one before three times as much as any frame nearby does."""
    away = changes(pixels)
    found = set()
    for number in range(4, len(away) - 4):
        around = np.delete(away[number - 3 : number + 4], 3)
        if away[number] > max(5.0, 3 * around.max()):
            found.add(number)
    return found


def test_hard_cuts_are_at_the_stated_frames_and_nowhere_else(busy: list[RenderedVideo]) -> None:
    total = 0
    for video in busy:
        truth = video.truth
        allowed = {
            number
            for span in (*truth.upsets, *truth.transitions)
            for number in range(span.start_frame, span.end_frame + 1)
        }
        cuts = {cut.frame for cut in truth.cuts}
        assert jumps(film(video.path)) - allowed == cuts
        assert all(cut.seconds == pytest.approx(cut.frame / truth.fps) for cut in truth.cuts)
        total += len(cuts)
    assert total >= 6


def test_scenes_and_borders_agree(busy: list[RenderedVideo]) -> None:
    for video in busy:
        truth = video.truth
        borders = [scene.start_frame for scene in truth.scenes][1:]
        middles = [(span.start_frame + span.end_frame) // 2 for span in truth.transitions]
        assert sorted([cut.frame for cut in truth.cuts] + middles) == borders
        assert truth.scenes[-1].end_frame == truth.frames


def test_a_dissolve_is_a_blend_of_its_neighbours(busy: list[RenderedVideo]) -> None:
    spans = [
        (film(video.path), span)
        for video in busy
        for span in video.truth.transitions
        if span.kind == "dissolve"
    ]
    assert spans
    for pixels, span in spans:
        old = pixels[span.start_frame - 1].astype(float)
        new = pixels[span.end_frame].astype(float)
        shares = []
        for number in range(span.start_frame, span.end_frame):
            shown = pixels[number].astype(float)
            way = (new - old).ravel()
            shares.append(float((shown - old).ravel() @ way / (way @ way)))
        assert shares[0] < 0.25
        assert shares[-1] > 0.75
        assert shares == sorted(shares)


def test_a_fade_passes_through_black(busy: list[RenderedVideo]) -> None:
    spans = [
        (film(video.path), span)
        for video in busy
        for span in video.truth.transitions
        if span.kind == "fade"
    ]
    assert spans
    for pixels, span in spans:
        light = pixels[span.start_frame - 1 : span.end_frame + 1].mean(axis=(1, 2, 3))
        assert light.min() < 0.25 * min(light[0], light[-1])
        assert abs(int(light.argmin()) - len(light) // 2) <= 1


def test_flashes_are_white_and_leave_the_scene_as_it_was(busy: list[RenderedVideo]) -> None:
    found = 0
    for video in busy:
        pixels = film(video.path)
        for upset in video.truth.upsets:
            if upset.kind == "flash":
                found += 1
                assert pixels[upset.start_frame : upset.end_frame].mean() > 225
                before, after = pixels[upset.start_frame - 1], pixels[upset.end_frame]
                assert max(before.mean(), after.mean()) < 215
                assert np.abs(before.astype(int) - after).mean() < 25
    assert found >= 2


def test_a_whip_pan_moves_everything_and_comes_back() -> None:
    rng = np.random.default_rng(1)
    shaken = PLAIN.model_copy(update={"upsets": 1.0, "min_seconds": 3.0, "max_seconds": 3.0})
    board = next(
        planned
        for planned in (plan(shaken, "clean", rng) for _ in range(50))
        if any(upset.kind == "whip_pan" for upset in planned.scenes[0].upsets)
    )
    shown = np.stack(list(pictures(board)))
    upset = board.scenes[0].upsets[0]
    first, last = round(upset.start * board.fps), round(upset.end * board.fps)
    inside = np.abs(shown[(first + last) // 2].astype(int) - shown[first]).mean()
    across = np.abs(shown[last].astype(int) - shown[first]).mean()
    assert inside > 2 * across


def _left(x: NDArray[np.float64], area: NDArray[np.float64]) -> bool:
    return bool(x[-1, 0] < x[0, 0] - 30 and abs(x[-1, 1] - x[0, 1]) < 4)


SEEN: dict[str, Callable[[NDArray[np.float64], NDArray[np.float64]], bool]] = {
    "left": _left,
    "right": lambda x, area: bool(x[-1, 0] > x[0, 0] + 30 and abs(x[-1, 1] - x[0, 1]) < 4),
    "up": lambda x, area: bool(x[-1, 1] < x[0, 1] - 30 and abs(x[-1, 0] - x[0, 0]) < 4),
    "down": lambda x, area: bool(x[-1, 1] > x[0, 1] + 30 and abs(x[-1, 0] - x[0, 0]) < 4),
    "grow": lambda x, area: bool(area[-1] > 3 * area[0]),
    "shrink": lambda x, area: bool(area[-1] < area[0] / 3),
    "rotate": lambda x, area: bool(np.ptp(x, axis=0).max() < 8 and np.ptp(area) < 0.25 * area[0]),
    "still": lambda x, area: bool(np.ptp(x, axis=0).max() < 1 and np.ptp(area) < 0.1 * area[0]),
}


def test_things_move_as_stated(plain: list[RenderedVideo]) -> None:
    for video in plain:
        (scene,) = video.truth.scenes
        thing = scene.things[0]
        found = masks(film(video.path), thing.colour)
        area = found.sum(axis=(1, 2)).astype(float)
        assert SEEN[thing.motion](centres(found), area), (video.path.name, thing)
    assert {video.truth.scenes[0].things[0].motion for video in plain} == set(MOTIONS)


def test_what_spins_changes_its_outline_and_what_is_still_does_not(
    plain: list[RenderedVideo],
) -> None:
    for video in plain:
        thing = video.truth.scenes[0].things[0]
        if thing.motion in ("rotate", "still"):
            found = masks(film(video.path), thing.colour)
            same = [(found[0] & mask).sum() / (found[0] | mask).sum() for mask in found[1:]]
            assert (min(same) < 0.85) == (thing.motion == "rotate"), (video.path.name, thing)


def test_boxes_enclose_the_things(plain: list[RenderedVideo]) -> None:
    for video in plain:
        truth = video.truth
        found = masks(film(video.path), truth.scenes[0].things[0].colour)
        for box in truth.boxes:
            rows, columns = np.nonzero(found[box.frame])
            seen = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            stated = (box.x0, box.y0, box.x1, box.y1)
            assert np.abs(np.subtract(seen, stated)).max() <= 3.5, (video.path.name, box)


@pytest.mark.parametrize("camera", ["pan_left", "pan_right", "zoom_in", "zoom_out", "static"])
def test_the_backdrop_moves_against_the_camera(camera: str) -> None:
    """Phase correlation of the left and of the right third of the picture."""
    rng = np.random.default_rng(5)
    quiet = PLAIN.model_copy(update={"fps": 24})
    scene = random_scene(rng, 48, quiet)
    scene = replace(scene, backdrop="grass", things=(), camera=camera)  # type: ignore[arg-type]
    painter = ScenePainter(scene, 320, 240, 24)
    one, two = (
        cv2.cvtColor(painter.frame(number), cv2.COLOR_RGB2GRAY).astype(np.float32)
        for number in (20, 22)
    )
    window = cv2.createHanningWindow((100, 100), cv2.CV_32F)
    left, right = (
        cv2.phaseCorrelate(
            np.ascontiguousarray(one[70:170, at : at + 100]),
            np.ascontiguousarray(two[70:170, at : at + 100]),
            window,
        )[0][0]
        for at in (0, 220)
    )
    expected = {
        "pan_left": (1, 1), "pan_right": (-1, -1), "zoom_in": (-1, 1), "zoom_out": (1, -1),
        "static": (0, 0),
    }[camera]  # fmt: skip
    assert (
        round(np.sign(left) * (abs(left) > 0.3)),
        round(np.sign(right) * (abs(right) > 0.3)),
    ) == expected


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    few = BUSY.model_copy(update={"count": 1, "narration": True, "max_scenes": 2, "min_scenes": 2})
    one, two = (render(few, tmp_path / name)[0] for name in ("one", "two"))
    other = render(few.model_copy(update={"seed": 8}), tmp_path / "other")[0]
    assert one.path.read_bytes() == two.path.read_bytes()
    assert one.truth_path.read_bytes() == two.truth_path.read_bytes()
    assert one.path.read_bytes() != other.path.read_bytes()


def test_truth_is_written_apart_and_reads_back(busy: list[RenderedVideo]) -> None:
    for video in busy:
        assert video.truth_path.parent != video.path.parent
        assert Truth.load(video.truth_path) == video.truth
        assert not {"title", "comment", "description"} & probe(video.path).tags.keys()


def test_the_word_on_the_screen_can_be_read(tmp_path: Path) -> None:
    rapidocr = pytest.importorskip("rapidocr")
    reader = rapidocr.RapidOCR()
    wordy = PLAIN.model_copy(update={"count": 2, "words": 1.0, "width": 320, "height": 240})
    for video in render(wordy, tmp_path):
        scene: SceneTruth = video.truth.scenes[0]
        result = reader(cv2.cvtColor(film(video.path)[5], cv2.COLOR_RGB2BGR))
        assert scene.word in "".join(result.txts or ()).upper().replace(" ", "")


def test_a_storyboard_paints_as_many_frames_as_it_plans() -> None:
    rng = np.random.default_rng(2)
    scene = random_scene(rng, 12, PLAIN)
    board = Storyboard(64, 48, 10, (replace(scene, into="fade", into_frames=4), scene))
    assert len(list(pictures(board))) == 24
