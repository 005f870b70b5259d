"""Composed and transformed files against their manifests, read from the output files alone.

The bar code of every output frame says which frame of which source it shows; beeps say when its
sound is heard. The same acceptance is then given an operator that changes nothing, and must fail.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from clipmill.stages.compose import compose_clips, transform_video
from clipmill.stages.compose.compose_clips import compose
from clipmill.stages.compose.timeline import Clip, Manifest
from clipmill.stages.compose.transform_video import transform
from clipmill.stages.media import sandbox
from tests.diagnostic.marked import APART, FPS, decode, film, runs, sound
from tests.rendered import number_of

FRAMES = {1: 90, 2: 20, 3: 30}
BEEPS = {1: 2.9, 2: 0.3, 3: 0.5}
OPERATIONS = ["concat", "permute", "insert", "reverse", "speed"]


@pytest.fixture(scope="module", autouse=True)
def child() -> Iterator[None]:
    yield
    sandbox.close()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder = tmp_path_factory.mktemp("sources")
    return [
        Clip(str(n), film(folder / f"{n}.mp4", n, count, BEEPS[n])) for n, count in FRAMES.items()
    ]


def made(operation: str, clips: list[Clip], out: Path, seed: int = 4) -> Manifest:
    values = {"operation": operation, "seed": seed}
    if operation in ("reverse", "speed"):
        return transform(clips[0], transform_video.Settings.model_validate(values), out)
    return compose(clips, compose_clips.Settings.model_validate(values), out)


def hold(out: Path, manifest: Manifest) -> int:
    """Every border within one frame, every frame the one that is stated, sound within 20 ms."""
    pictures = decode(out)
    assert abs(len(pictures) - manifest.frames) <= 1
    shown = [divmod(number_of(pixels), APART) for pixels in pictures]
    borders = [(run.start, run.end, str(run.name)) for run in runs(pictures)]
    stated = [(p.start_frame, p.end_frame, p.source) for p in manifest.pieces]
    assert len(borders) == len(stated), (borders, stated)
    for (start, end, source), (start2, end2, source2) in zip(borders, stated, strict=True):
        assert source == source2 and abs(start - start2) <= 1 and abs(end - end2) <= 1
    beeps = []
    for piece in manifest.pieces:
        first, last = piece.span.start_s, piece.span.end_s
        for frame in range(piece.start_frame, piece.end_frame):
            passed = (frame - piece.start_frame + 0.5) / FPS * piece.speed
            expected = (last - passed if piece.backwards else first + passed) * FPS
            assert abs(shown[frame][1] - int(expected)) <= 1, (frame, shown[frame], expected)
        beep = BEEPS[int(piece.source)] + (0.1 if piece.backwards else 0)  # its start or its end
        if first <= beep < last:
            away = last - beep if piece.backwards else beep - first
            beeps.append(piece.start_s + away / piece.speed)
    assert sound(out) == pytest.approx(sorted(beeps), abs=0.02)
    return len(borders)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_markers_in_the_output_give_the_borders_of_the_manifest(
    operation: str, clips: list[Clip], tmp_path: Path
) -> None:
    for seed in (4, 5):
        out = tmp_path / f"{seed}.mp4"
        hold(out, made(operation, clips, out, seed))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operator_that_changes_nothing_does_not_pass(
    operation: str, clips: list[Clip], tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    manifest = made(operation, clips, out)
    shutil.copyfile(clips[0].path, out)
    with pytest.raises(AssertionError):
        hold(out, manifest)


@pytest.mark.parametrize("operation", ["permute", "insert", "shuffle"])
def test_the_same_seed_gives_the_same_manifest_hash(
    operation: str, clips: list[Clip], tmp_path: Path
) -> None:
    def digest(seed: int) -> str:
        values = {"operation": operation, "seed": seed}
        if operation == "shuffle":
            chosen = transform_video.Settings.model_validate(values)
            return transform(clips[1], chosen, tmp_path / "out.mp4").digest()
        small = compose_clips.Settings.model_validate(values | {"width": 32, "height": 32})
        return compose(clips, small, tmp_path / "out.mp4").digest()

    assert digest(1) == digest(1)
    assert len({digest(seed) for seed in range(2, 6)}) > 1
