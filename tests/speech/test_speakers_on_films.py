"""Speakers as a stage, on the sound of a film; who tells voices apart stands at the edge.

The real pipeline is run by `make test-whisperx`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.records import Author, Part, Transcript, Utterance, Video
from clipmill.stages.asr_text import assign_speakers
from clipmill.stages.asr_text.assign_speakers import AssignSpeakers, Settings
from clipmill.stages.asr_text.restore_sentences import RestoreSentences
from clipmill.stages.asr_text.restore_sentences import Settings as Sentences
from clipmill.stages.media.probe import probe
from clipmill.stages.models.diarizer import Turn
from clipmill.stages.models.vad import RATE, Pcm


class ByLoudness:
    """Tells a loud voice from a quiet one, in tenths of a second."""

    model, revision = "loudness", "1"

    def turns(self, sound: Pcm, least: int | None, most: int | None) -> Sequence[Turn]:
        tenths = sound[: len(sound) // 1600 * 1600].reshape(-1, 1600)
        loud = np.abs(tenths.astype(np.int32)).mean(1) > 2000
        return [Turn(n * 100, n * 100 + 100, "loud" if own else "quiet")
                for n, own in enumerate(loud)]  # fmt: skip


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Part:
    """Four seconds on track 1: loud until 2 s, then quiet; track 0 is all quiet."""
    monkeypatch.setattr(assign_speakers, "Pyannote", lambda *_, **__: ByLoudness())
    tone = np.sin(2 * np.pi * 300 * np.arange(4 * RATE) / RATE)
    steps = np.where(np.arange(4 * RATE) < 2 * RATE, 12_000, 900)
    inputs = []
    for number, wave in enumerate((900 * tone, steps * tone)):
        file = tmp_path / f"{number}.raw"
        wave.astype("<i2").tofile(file)
        inputs += ["-f", "s16le", "-ar", str(RATE), "-ac", "1", "-i", str(file)]
    path = tmp_path / "film.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i",
               "testsrc=size=64x48:rate=10:duration=4", *inputs, "-map", "0:v", "-map", "1:a",
               "-map", "2:a", "-c:a", "aac", str(path)]  # fmt: skip
    subprocess.run(command, check=True)
    cues = [Utterance("there it is", 200, 1800), Utterance("no it is not", 2200, 3800)]
    video = Video("v", str(path), probe=probe(path))
    video.transcripts = [Transcript(MILLISECONDS, Author("written"), "subtitle", "en", None, cues)]
    return Part(video)


def speakers(part: Part, **settings: object) -> list[str | None]:
    stage = AssignSpeakers(Settings(**settings))  # type: ignore[arg-type]
    stage.setup()
    stage.process(part)
    return [u.speaker for t in part.video.transcripts[1:] for u in t.utterances]


def test_cues_get_the_speaker_who_is_heard_on_the_track_and_end_sentences(part: Part) -> None:
    assert speakers(part, track=1, by="written") == ["loud", "quiet"]
    written, told = part.video.transcripts
    assert all(utterance.speaker is None for utterance in written.utterances)
    assert told.author == Author("assign_speakers", "loudness", "1") and told.track == 1
    for by in ("written", "assign_speakers"):
        RestoreSentences(Sentences(by=by, layer=by, pause_s=2.0)).process(part)
    said = {by: [s.texts_of("asr")[0].text for s in part.video.layer(by)]
            for by in ("written", "assign_speakers")}  # fmt: skip
    assert said["written"] == ["There it is no it is not."], "the pause ends no sentence"
    assert said["assign_speakers"] == ["There it is.", "No it is not."], "the other voice does"


def test_another_track_is_another_sound_and_what_is_too_long_is_left_alone(part: Part) -> None:
    assert speakers(part, track=0) == ["quiet", "quiet"]
    del part.video.transcripts[1:]
    assert speakers(part, track=1, longest_s=3.0) == []
    assert speakers(part, track=5) == []
