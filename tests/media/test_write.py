"""The encoder door: exact timestamps, whole files or none, sizes refused with a cure."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from clipmill.schemas.errors import ClipmillError
from clipmill.stages.media.frames import scan
from clipmill.stages.media.probe import probe
from clipmill.stages.media.write import VideoWriter, write_video

GRAY = np.full((48, 64, 3), 120, np.uint8)


def test_colours_survive_within_a_few_levels(tmp_path: Path) -> None:
    colours = [(214, 36, 40), (34, 150, 60), (40, 74, 214), (244, 222, 40), (246, 246, 246)]
    shown = [np.full((48, 64, 3), colour, np.uint8) for colour in colours]
    path = tmp_path / "colours.mp4"
    assert write_video(path, shown, 5) == 5
    for colour, (_, pixels) in zip(colours, scan(path, probe(path)), strict=True):
        assert np.abs(pixels.astype(int) - colour).max() <= 6


def test_given_timestamps_are_the_files_timestamps(tmp_path: Path) -> None:
    times = [0, 40, 41, 300, 1000, 1033]
    path = tmp_path / "vfr.mp4"
    with VideoWriter(path, 64, 48, 25, time_base=Fraction(1, 1000)) as writer:
        for time in times:
            writer.write(GRAY, time)
    facts = probe(path)
    seconds = [facts.picture.clock.seconds(tick) for tick, _ in scan(path, facts)]
    assert seconds == pytest.approx([time / 1000 for time in times], abs=1e-6)


def test_key_frames_stand_where_asked(tmp_path: Path) -> None:
    import av

    path = tmp_path / "gop.mp4"
    noise = np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3)).astype(np.uint8)
    write_video(path, noise, 10, gop=5, scene_keyframes=False, b_frames=0)
    with av.open(str(path)) as container:
        keys = [frame.key_frame for frame in container.decode(video=0)]
    assert [number for number, key in enumerate(keys) if key] == [0, 5, 10, 15]


def test_an_error_while_writing_leaves_no_file(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="picture of shape"),
        VideoWriter(tmp_path / "a.mp4", 64, 48, 25) as writer,
    ):
        writer.write(GRAY)
        writer.write(GRAY[:, :32])
    assert list(tmp_path.iterdir()) == []


def test_odd_sizes_are_refused_with_a_cure(tmp_path: Path) -> None:
    with pytest.raises(ClipmillError, match="65x48") as caught:
        VideoWriter(tmp_path / "a.mp4", 65, 48, 25)
    assert "even" in caught.value.cure


def test_no_picture_makes_no_file(tmp_path: Path) -> None:
    assert write_video(tmp_path / "a.mp4", [], 25) == 0
    assert list(tmp_path.iterdir()) == []
