"""The real pyannote pipeline behind `assign_speakers`: turns, words and their voices."""

from __future__ import annotations

import itertools
import subprocess
import wave
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from two_voices import RATE, Conversation, conversation, sentences_of, write_pipeline

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.errors import ModelError
from clipmill.schemas.records import Author, Part, Transcript, Utterance, Video, Word
from clipmill.stages.asr_text.assign_speakers import AssignSpeakers, Settings
from clipmill.stages.media.probe import probe
from clipmill.stages.models.diarizer import Pyannote


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pipeline(tmp_path_factory.mktemp("models") / "speakers")


@pytest.fixture(scope="module")
def spoken() -> Conversation:
    return conversation(np.random.default_rng(5), 30.0)


def test_turns_are_those_of_the_two_voices(pipeline: Path, spoken: Conversation) -> None:
    turns = Pyannote(str(pipeline), device="cpu").turns(spoken.pcm, 2, 2)
    assert {turn.speaker for turn in turns} == {"SPEAKER_00", "SPEAKER_01"}
    for turn, following in itertools.pairwise(turns):
        assert 0 <= turn.start < turn.end <= following.start
    assert turns[-1].end <= len(spoken.pcm) * 1000 / RATE
    heard = np.zeros(len(spoken.pcm) * 1000 // RATE + 1, np.int64)
    for turn in turns:
        heard[turn.start : turn.end] = 1 + int(turn.speaker[-1])
    told = spoken.voice_at[:: RATE // 1000][: len(heard)]
    heard = heard[: len(told)]
    right = max(np.mean(heard == told), np.mean(heard == np.array([0, 2, 1])[told]))
    print(f"{right:.1%} of the time right, {len(turns)} turns")
    assert right >= 0.9


def test_every_word_gets_its_speaker(pipeline: Path, spoken: Conversation, tmp_path: Path) -> None:
    """One utterance over everything, as a recogniser leaves it that knows no voices."""
    words = [Word(text, start, end) for text, start, end, _ in spoken.words]
    text = " ".join(word.text for word in words)
    whole = [Utterance(text, words[0].start, words[-1].end, words)]
    path = film(spoken, tmp_path)
    video = Video("v", str(path), probe=probe(path))
    video.transcripts = [Transcript(MILLISECONDS, Author("t"), "speech", "en", 0, whole)]
    stage = AssignSpeakers(Settings(model=str(pipeline), device="cpu", least=2, most=2))
    stage.setup()
    stage.process(Part(video))
    before, after = video.transcripts
    assert before.utterances == whole
    assert (after.author.stage, after.author.model) == ("assign_speakers", pipeline.name)
    found = [(word, u.speaker) for u in after.utterances for word in u.words]
    assert [word for word, _ in found] == words
    pairs = {(speaker, voice) for (_, speaker), (*_, voice) in
             zip(found, spoken.words, strict=True)}  # fmt: skip
    assert len(pairs) == 2 and len({speaker for speaker, _ in pairs}) == 2, pairs
    runs = sentences_of(spoken.words)
    assert [u.text for u in after.utterances] == [" ".join(w[0] for w in run) for run in runs]


def film(spoken: Conversation, folder: Path) -> Path:
    sound, path = folder / "told.wav", folder / "film.mp4"
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", "NONE"))
        file.writeframes(spoken.pcm.tobytes())
    picture = f"testsrc=size=64x48:rate=10:duration={len(spoken.pcm) / RATE:.2f}"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", picture]
    subprocess.run([*command, "-i", str(sound), "-c:a", "aac", str(path)], check=True)
    return path


def test_a_pipeline_that_is_not_there_says_what_to_do() -> None:
    with pytest.raises(ModelError, match="HF_TOKEN"):
        Pyannote("nobody/no-such-pipeline", device="cpu")
