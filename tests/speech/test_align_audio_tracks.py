"""A narration track found on the picture's time line, in files with two sound tracks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.records import Author, Part, Transcript, Utterance, Video, Word
from clipmill.stages.asr_text.align_audio_tracks import AlignAudioTracks, Settings
from clipmill.stages.media.probe import probe

RATE = 16_000


def film(seed: int, seconds: int = 20) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    sound = rng.normal(0, 20, seconds * RATE)
    for start in np.cumsum(rng.exponential(0.6, 25)):
        if start < seconds - 1:
            at, time = int(start * RATE), np.arange(RATE // 4) / RATE
            tone = np.sin(2 * np.pi * rng.uniform(200, 4000) * time) * np.exp(-8 * time)
            sound[at : at + len(tone)] += 3000 * tone
    return sound


def part(folder: Path, *tracks: NDArray[np.float64]) -> Part:
    """A video with these sound tracks; words on track 1 at 1 s, 5 s and 9 s of that track."""
    inputs, maps = [], []
    for number, wave in enumerate(tracks):
        np.clip(wave, -32768, 32767).astype("<i2").tofile(folder / f"{number}.raw")
        inputs += ["-f", "s16le", "-ar", str(RATE), "-ac", "1", "-i", str(folder / f"{number}.raw")]
        maps += ["-map", f"{number + 1}:a"]
    path = folder / "film.mp4"
    picture = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=24"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *picture, *inputs, "-map", "0:v"]
    command += [*maps, "-c:v", "libx264", "-c:a", "aac", str(path)]
    subprocess.run(command, check=True)
    video = Video("v", str(path), probe=probe(path))
    words = [Word(f"w{at}", at * 1000, at * 1000 + 400) for at in (1, 5, 9)]
    said = [Utterance(word.text, word.start, word.end, [word]) for word in words]
    author = Author("transcribe", "m", "1")
    video.transcripts = [Transcript(MILLISECONDS, author, "speech", "en", 1, said)]
    return Part(video)


def starts(transcript: Transcript) -> list[int]:
    return [word.start for utterance in transcript.utterances for word in utterance.words]


def test_words_of_a_late_track_move_back_and_those_before_the_picture_are_left_out(
    tmp_path: Path,
) -> None:
    own = film(1)
    late = np.concatenate([np.zeros(round(3.5 * RATE)), 0.5 * own])
    video = AlignAudioTracks(Settings()).process(part(tmp_path, own, late)).video
    spoken, moved = video.transcripts
    assert starts(spoken) == [1000, 5000, 9000], "the old one stays"
    assert starts(moved) == pytest.approx([1500, 5500], abs=60)
    assert (moved.author.stage, moved.author.model) == ("align_audio_tracks", "m")
    assert float(video.texts[0].text) == pytest.approx(3.5, abs=0.06)
    assert video.texts[0].role == "audio_offset"


def test_words_of_an_early_track_move_on(tmp_path: Path) -> None:
    own = film(2)
    video = AlignAudioTracks(Settings()).process(part(tmp_path, own, own[2 * RATE :])).video
    assert starts(video.transcripts[1]) == pytest.approx([3000, 7000, 11_000], abs=60)


@pytest.mark.parametrize("tracks", [(1, 3), (1,)])
def test_unrelated_or_missing_tracks_are_left_alone(
    tracks: tuple[int, ...], tmp_path: Path
) -> None:
    video = AlignAudioTracks(Settings()).process(part(tmp_path, *map(film, tracks))).video
    assert len(video.transcripts) == 1 and video.texts == []


def test_an_offset_beyond_the_reach_is_not_found(tmp_path: Path) -> None:
    own = film(1)
    late = np.concatenate([np.zeros(4 * RATE), own])
    stage = AlignAudioTracks(Settings(max_offset_s=2.0, min_confidence=2.0))
    assert len(stage.process(part(tmp_path, own, late)).video.transcripts) == 1
