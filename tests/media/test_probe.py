"""Facts against truth: rendered films, and 53 broken or odd files from the wild."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from clipmill.schemas.errors import Damaged, MediaError, NoVideo, OverLimit
from clipmill.schemas.records import Part, Video
from clipmill.stages.media.limits import Limits
from clipmill.stages.media.probe import probe
from clipmill.stages.source.probe_media import ProbeMedia, Settings
from tests.rendered import Rendered

Film = Callable[[str], Rendered]


def test_each_of_the_broken_files_is_classed_and_counted_as_expected(real_media: Path) -> None:
    expected = json.loads((real_media / "broken" / "EXPECTED.json").read_text())
    assert len(expected) == 53
    wrong = []
    for name, truth in expected.items():
        turn = 0
        try:
            found = probe(real_media / "broken" / name)
            kind = "partial" if found.damaged else "odd_but_usable"
            frames = found.decoded_frames
            # A mirrored picture has two descriptions; the truth's is the other one.
            turn = (found.picture.rotation + 180 * found.picture.mirrored) % 360
        except MediaError as error:
            kind = error.kind
            frames = 0 if kind == "undecodable" else None
        wanted = (truth["class"], truth["decoded_frames"], (truth["rotation"] or 0) % 360)
        if (kind, frames, turn) != wanted:
            wrong.append((name, (kind, frames, turn), wanted))
    assert not wrong


@pytest.mark.parametrize("name", ["plain", "vfr", "vfr_mkv", "transport", "no_times", "raw_stream"])
def test_frames_are_counted_exactly_and_sound_films_have_no_damage(film: Film, name: str) -> None:
    found = probe(film(name).path)
    assert found.decoded_frames == 120
    assert found.damage == []


def test_the_picture_is_tiled_from_first_frame_to_the_end_of_the_last(film: Film) -> None:
    truth = film("plain")
    found = probe(truth.path)
    assert (found.span.start, found.span.end) == (truth.ticks[0], truth.end)
    assert found.duration_s == pytest.approx(4.8)


def test_without_counting_the_extent_is_the_same(film: Film) -> None:
    for name in ("plain", "late_picture", "vfr_mkv"):
        counted, quick = (probe(film(name).path, count_frames=flag) for flag in (True, False))
        assert quick.decoded_frames is None
        assert quick.picture.first == counted.picture.first
        assert quick.duration_s == pytest.approx(counted.duration_s, abs=0.03)


def test_a_late_picture_keeps_its_distance_from_the_sound(film: Film) -> None:
    found = probe(film("late_picture").path)
    picture = found.picture
    assert picture.clock.seconds(picture.first or 0) == pytest.approx(0.5)
    assert found.sound[0].clock.seconds(found.sound[0].first or 0) == pytest.approx(0, abs=0.03)


def test_turn_and_pixel_shape_are_read(film: Film) -> None:
    assert probe(film("turned").path).picture.rotation == 90
    wide = probe(film("wide_pixels").path).picture
    assert Fraction(wide.sar_num, wide.sar_den) == 2


def test_the_first_of_two_pictures_is_used(film: Film) -> None:
    found = probe(film("two_pictures").path)
    assert [s.clock.name for s in found.streams if s.kind == "video"] == ["v0", "v1"]
    assert (found.picture.width, found.picture.height) == (192, 128)


def test_a_file_cut_short_is_damaged_and_says_how_much_is_missing(
    film: Film, tmp_path: Path
) -> None:
    whole = film("vfr_mkv").path.read_bytes()
    short = tmp_path / "short.mkv"
    short.write_bytes(whole[: len(whole) // 2])
    found = probe(short)
    assert 0 < (found.decoded_frames or 0) < 120
    assert any("truncated" in line for line in found.damage)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(max_gb=0.000001), "GB"),
        (Limits(max_pixels=1000), "pixels"),
        (Limits(max_fps=10), "frames per second"),
        (Limits(max_hours=0.0005), "h, the limit"),
        (Limits(max_streams=1), "streams"),
    ],
)
def test_every_limit_is_enforced(film: Film, limits: Limits, words: str) -> None:
    with pytest.raises(OverLimit, match=words):
        probe(film("plain").path, limits)


def test_strict_refuses_what_lenient_notes(film: Film, tmp_path: Path) -> None:
    whole = film("vfr_mkv").path.read_bytes()
    short = tmp_path / "short.mkv"
    short.write_bytes(whole[: len(whole) // 2])
    part = Part(Video(id="short", source=str(short)))
    with pytest.raises(Damaged, match="truncated") as caught:
        ProbeMedia(Settings(strict=True)).process(part)
    assert caught.value.input == "short"
    assert part.video.probe is None
    lenient = ProbeMedia(Settings()).process(part)
    assert lenient.video.probe is not None
    assert lenient.video.probe.damaged


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    import wave

    path = tmp_path / "sound.mp4"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))
    with pytest.raises(NoVideo):
        probe(path)
