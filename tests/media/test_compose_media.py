"""Composed and transformed files: frames and beeps read from the output itself agree with the plan.

The sources carry their frame number as a bar code, so what each output frame shows is read from
its own pixels and compared with the manifest.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clipmill.schemas.clocks import Span
from clipmill.schemas.errors import ClipmillError, MediaError
from clipmill.stages.compose import compose_clips, transform_video
from clipmill.stages.compose.compose_clips import compose
from clipmill.stages.compose.timeline import Clip, Manifest, Piece
from clipmill.stages.compose.transform_video import transform
from clipmill.stages.media import sandbox
from clipmill.stages.media.audio import audio
from clipmill.stages.media.frames import scan
from clipmill.stages.media.probe import probe
from tests.rendered import beeps_in, number_of
from tests.rendered import render as render_film

RATE = 48_000


@pytest.fixture(scope="module", autouse=True)
def child() -> Iterator[None]:
    yield
    sandbox.close()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """A host of 100 frames with two beeps and needles of 20 and 30 frames, 25 frames a second."""
    folder = tmp_path_factory.mktemp("sources")
    films = [
        render_film(folder / "host.mp4", [50, 50], beeps=[0.6, 3.0]),
        render_film(folder / "a.mp4", [20], beeps=[0.2]),
        render_film(folder / "b.mp4", [30], beeps=[0.4]),
    ]
    return [Clip(film.path.stem, film.path, text=f"clip {film.path.stem}") for film in films]


def numbers(path: Path) -> list[int]:
    return [number_of(pixels) for _, pixels in scan(path, probe(path))]


def stated(manifest: Manifest, lengths: dict[str, int]) -> list[int]:
    """The frame numbers that the manifest's pieces say, for sources of 25 frames a second."""
    found: list[int] = []
    for piece in manifest.pieces:
        first = round(piece.span.start_s * 25)
        count = piece.end_frame - piece.start_frame
        shown = [first + int((k + 0.5) * piece.speed) for k in range(count)]
        found += shown[::-1] if piece.backwards else shown
        assert max(shown) < lengths[piece.source]
    return found


LENGTHS = {"host": 100, "a": 20, "b": 30}


def heard(path: Path) -> list[float]:
    return beeps_in(np.concatenate(list(audio(path, probe(path), rate=RATE))), RATE)


def placed(piece: Piece, beeps: dict[str, list[float]]) -> list[float]:
    """Where a source's beeps are in the output."""
    return [
        piece.start_s + at - piece.span.start_s
        for at in beeps[piece.source]
        if piece.span.start_s <= at < piece.span.end_s
    ]


@pytest.mark.parametrize("operation", ["concat", "permute", "insert"])
def test_every_output_frame_and_beep_is_where_the_manifest_says(
    operation: str, clips: list[Clip], tmp_path: Path
) -> None:
    chosen = compose_clips.Settings.model_validate({"operation": operation, "seed": 3})
    out = tmp_path / "out.mp4"
    manifest = compose(clips, chosen, out)
    assert numbers(out) == stated(manifest, LENGTHS)
    assert manifest.frames == 150
    assert manifest.parents == ["host", "a", "b"]
    beeps = {"host": [0.6, 3.0], "a": [0.2], "b": [0.4]}
    expected = [at for piece in manifest.pieces for at in placed(piece, beeps)]
    assert heard(out) == pytest.approx(expected, abs=0.02)
    assert [piece.text for piece in manifest.pieces if piece.source == "a"] == ["clip a"]
    assert Manifest.load(out.with_suffix(".json")) == manifest


def test_the_same_seed_gives_the_same_manifest_and_another_seed_another(
    clips: list[Clip], tmp_path: Path
) -> None:
    def digest(seed: int) -> str:
        chosen = compose_clips.Settings(operation="insert", seed=seed, width=32, height=32)
        return compose(clips, chosen, tmp_path / "out.mp4").digest()

    assert digest(1) == digest(1)
    assert digest(1) != digest(2)


def test_overlapping_clips_fade_into_each_other(clips: list[Clip], tmp_path: Path) -> None:
    chosen = compose_clips.Settings(operation="overlap", overlap_s=0.32)
    out = tmp_path / "out.mp4"
    manifest = compose(clips[:2], chosen, out)
    host, needle = manifest.pieces
    assert (host.end_frame, needle.start_frame, manifest.frames) == (100, 92, 112)
    shown = numbers(out)
    assert shown[:92] == list(range(92))
    assert shown[100:] == list(range(8, 20))
    light = [pixels[:100].mean() for _, pixels in scan(out, probe(out))]
    before, after = light[91], light[100]
    shares = [(value - before) / (after - before) for value in light[92:100]]
    assert shares == sorted(shares)
    assert 0.3 < shares[3] < 0.6


def test_a_span_of_a_clip_is_cut_exactly(clips: list[Clip], tmp_path: Path) -> None:
    part = Clip("host", clips[0].path, Span.of_seconds(1.0, 2.4))
    out = tmp_path / "out.mp4"
    compose([part], compose_clips.Settings(), out)
    assert numbers(out) == list(range(25, 60))


def test_another_size_and_rate_keep_the_times(clips: list[Clip], tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    chosen = compose_clips.Settings(width=320, height=128, fps=50)
    manifest = compose(clips[:2], chosen, out)
    assert manifest.pieces[1].start_s == 4.0
    shown = [number_of(pixels[:, 64:256]) for _, pixels in scan(out, probe(out))]
    assert shown == [k // 2 for k in range(200)] + [k // 2 for k in range(40)]


def test_an_impossible_span_and_an_unreadable_clip_are_named(
    clips: list[Clip], tmp_path: Path
) -> None:
    bad = Clip("host", clips[0].path, Span.of_seconds(3.0, 9.0))
    with pytest.raises(ClipmillError, match=r"3\.000-9\.000 s is not inside") as caught:
        compose([bad], compose_clips.Settings(), tmp_path / "out.mp4")
    assert caught.value.input == "host"
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(clips[0].path.read_bytes()[:300])
    with pytest.raises(MediaError):
        compose([Clip("torn", torn)], compose_clips.Settings(), tmp_path / "out.mp4")
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("operation", ["reverse", "speed", "shuffle", "drop", "mask"])
def test_a_transformed_clip_shows_the_frames_its_manifest_says(
    operation: str, clips: list[Clip], tmp_path: Path
) -> None:
    chosen = transform_video.Settings.model_validate({"operation": operation, "seed": 2})
    out = tmp_path / "out.mp4"
    manifest = transform(clips[0], chosen, out)
    expected = stated(manifest, LENGTHS)
    shown = numbers(out)
    assert len(shown) == manifest.frames == len(expected)
    black = {
        number
        for piece in manifest.pieces
        if piece.role == "masked"
        for number in range(piece.start_frame, piece.end_frame)
    }
    assert 48 <= len(black) <= 52 if operation == "mask" else not black
    for number, (seen, want) in enumerate(zip(shown, expected, strict=True)):
        assert seen == (0 if number in black else want)


def test_reversed_and_faster_sound_moves_with_the_picture(
    clips: list[Clip], tmp_path: Path
) -> None:
    back, fast = tmp_path / "back.mp4", tmp_path / "fast.mp4"
    transform(clips[0], transform_video.Settings(operation="reverse"), back)
    transform(clips[0], transform_video.Settings(operation="speed", speed=2), fast)
    assert heard(back) == pytest.approx([4 - 3.1, 4 - 0.7], abs=0.02)
    assert heard(fast) == pytest.approx([0.3, 1.5], abs=0.02)


def test_degrading_keeps_time_and_loses_detail(clips: list[Clip], tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    transform(clips[1], transform_video.Settings(operation="degrade", strength=0.8), out)
    old = [pixels for _, pixels in scan(clips[1].path, probe(clips[1].path))]
    new = [pixels for _, pixels in scan(out, probe(out))]
    assert len(new) == len(old)
    detail = [np.abs(np.diff(film[5].astype(int), axis=1)).mean() for film in (old, new)]
    assert detail[1] < detail[0] / 1.5


def test_frames_that_last_longer_than_a_second_are_held(tmp_path: Path) -> None:
    slides = render_film(tmp_path / "slides.mp4", [1, 1, 1, 1], fps=1, durations=[512 * 3] * 4)
    out = tmp_path / "out.mp4"
    part = Clip("slides", slides.path, Span.of_seconds(5.0, 7.0))
    compose([part], compose_clips.Settings(fps=5), out)
    assert numbers(out) == [1] * 5 + [2] * 5
