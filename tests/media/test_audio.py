"""Beeps at known times must be heard at those times on the picture's time line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clipmill.stages.media.audio import audio, has_audio
from clipmill.stages.media.probe import probe
from tests.rendered import Rendered, beeps_in

Film = Callable[[str], Rendered]
NEAR = 0.003  # seconds; a tone's onset passes the detector's threshold within a period or three


def heard(
    path: Path, start_s: float | None = None, end_s: float | None = None
) -> NDArray[np.int16]:
    return np.concatenate(list(audio(path, probe(path), start_s=start_s, end_s=end_s)))


@pytest.mark.parametrize("name", ["plain", "vfr_mkv", "late_sound", "late_picture"])
def test_beeps_are_heard_at_their_presentation_times(film: Film, name: str) -> None:
    truth = film(name)
    assert beeps_in(heard(truth.path), 16_000) == pytest.approx(truth.beeps, abs=NEAR)


def test_a_late_track_begins_with_silence(film: Film) -> None:
    samples = heard(film("late_sound").path)
    assert not samples[: int(0.69 * 16_000)].any()


def test_beeps_keep_their_distance_to_the_picture_in_a_transport_stream(film: Film) -> None:
    truth = film("transport")
    found = probe(truth.path)
    first = found.picture.clock.seconds(found.picture.first or 0)
    # The stream has no edit list, so the encoder's 1024 samples of priming are part of the sound.
    wanted = [first + at for at in truth.beeps]
    assert beeps_in(heard(truth.path), 16_000) == pytest.approx(wanted, abs=NEAR)


def test_a_stretch_begins_and_ends_to_the_sample(film: Film) -> None:
    path = film("plain").path
    samples = heard(path, 1.9, 2.4)
    assert len(samples) == 8000
    assert beeps_in(samples, 16_000) == pytest.approx([0.1], abs=NEAR)


def test_a_stretch_beyond_the_end_is_filled_with_silence(film: Film) -> None:
    samples = heard(film("plain").path, 4.0, 7.0)
    assert len(samples) == 48_000
    assert not samples[-16_000:].any()


def test_chunks_add_up_to_the_same_sound_however_it_is_asked_for(film: Film) -> None:
    path = film("plain").path
    whole = heard(path, 0.0, 4.0)
    halves = np.concatenate([heard(path, 0.0, 1.7), heard(path, 1.7, 4.0)])
    assert len(halves) == len(whole)
    # A stretch is placed to the nearest sample: half of one, 31 us, turns a 1 kHz tone of amplitude
    # 16384 by 0.196 radians, which is 3217 levels.
    assert np.abs(whole.astype(int) - halves).max() < 3300


def test_a_film_without_sound_yields_nothing(film: Film) -> None:
    path = film("turned").path
    found = probe(path)
    assert not has_audio(found)
    assert list(audio(path, found)) == []
    assert list(audio(path, found, start_s=0, end_s=1)) == []


def test_six_channels_are_mixed_down_and_not_silent(real_media: Path) -> None:
    path = real_media / "broken" / "rotated_bunny_5_1.mp4"
    found = probe(path)
    samples = heard(path)
    assert found.sound[0].channels == 6
    assert np.abs(samples).max() > 100
    assert len(samples) / 16_000 == pytest.approx(2.0, abs=0.1)
