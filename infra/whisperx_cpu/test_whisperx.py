"""The real WhisperX: batches, places, alignment, languages, and as a stage in its environment."""

from __future__ import annotations

import itertools
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import imageio_ffmpeg
import numpy as np
import pytest
from conftest import HERE, SAYS, Told

from clipmill.schemas.errors import ModelError, RecipeError
from clipmill.schemas.records import Utterance
from clipmill.stages.models.recognizer import Recognition, SpeechRecognizer
from clipmill.stages.models.recognizers.whisperx import WhisperX
from clipmill.stages.models.vad import RATE

OUTSIDE_MS = 300  # a stretch keeps 0.2 s of sound on both sides, and voice activity has a grain


def words_of(utterance: Utterance) -> list[str]:
    return [word.text for word in utterance.words]


@pytest.fixture(scope="module")
def heard(whisperx: WhisperX, told: Told) -> Recognition:
    return SpeechRecognizer(whisperx).recognize([told.pcm])


def test_every_sentence_is_one_utterance_at_its_place(heard: Recognition, told: Told) -> None:
    assert [utterance.text for utterance in heard.utterances] == [SAYS] * 5
    for utterance, (start, end) in zip(heard.utterances, told.spans, strict=True):
        assert start - OUTSIDE_MS <= utterance.start < utterance.end <= end + OUTSIDE_MS


def test_every_word_has_a_time_and_a_confidence(heard: Recognition) -> None:
    for utterance in heard.utterances:
        assert words_of(utterance) == SAYS.split()
        assert all(word.start < word.end for word in utterance.words)
        for word, following in itertools.pairwise(utterance.words):
            assert word.start <= following.start
        assert utterance.start <= utterance.words[0].start
        assert utterance.words[-1].end <= utterance.end
        assert all(0 <= word.confidence <= 1 for word in utterance.words if word.confidence)
        assert all(word.confidence is not None for word in utterance.words)


def test_the_language_is_recognised(heard: Recognition) -> None:
    assert heard.language == "en"


@pytest.mark.parametrize("batch", [1, 2, 16])
def test_how_many_stretches_go_together_changes_nothing(
    batch: int, whisper: Path, whisperx: WhisperX, heard: Recognition, told: Told
) -> None:
    other = WhisperX(str(whisper), align_model=whisperx._align_model, device="cpu", batch=batch)
    found = SpeechRecognizer(other).recognize([told.pcm])
    assert [u.text for u in found.utterances] == [u.text for u in heard.utterances]
    for one, two in zip(found.utterances, heard.utterances, strict=True):
        assert [(w.start, w.end) for w in one.words] == [(w.start, w.end) for w in two.words]


def test_the_times_of_words_are_those_of_the_alignment_model(
    whisper: Path, aligner: Callable[[int], Path], heard: Recognition, told: Told
) -> None:
    other = WhisperX(str(whisper), align_model=str(aligner(2)), device="cpu")
    found = SpeechRecognizer(other).recognize([told.pcm])
    assert [u.text for u in found.utterances] == [u.text for u in heard.utterances]
    assert [w.start for u in found.utterances for w in u.words] != [
        w.start for u in heard.utterances for w in u.words
    ]


def test_a_language_without_an_alignment_model_keeps_the_times_of_its_stretches(
    whisper: Path, told: Told
) -> None:
    recognizer = SpeechRecognizer(WhisperX(str(whisper), device="cpu"))
    found = recognizer.recognize([told.pcm], "la")
    assert found.language == "la" and len(found.utterances) == 5
    for utterance, (start, end) in zip(found.utterances, told.spans, strict=True):
        assert utterance.words == []
        assert abs(utterance.start - start) <= OUTSIDE_MS
        assert abs(utterance.end - end) <= OUTSIDE_MS


def test_noise_and_silence_give_no_words(whisperx: WhisperX) -> None:
    noise = np.random.default_rng(1).normal(0, 3000, 10 * RATE).astype(np.int16)
    found = SpeechRecognizer(whisperx).recognize([np.zeros(5 * RATE, np.int16), noise])
    assert found == Recognition(None, [])


def test_a_language_the_model_lacks_and_a_model_that_is_not_there_say_what_to_do(
    whisper: Path, whisperx: WhisperX, told: Told
) -> None:
    with pytest.raises(RecipeError, match="does not know the language 'tlh'"):
        SpeechRecognizer(whisperx).recognize([told.pcm], "tlh")
    with pytest.raises(RecipeError, match="needs a model"):
        WhisperX("")
    lost = WhisperX(str(whisper), align_model="nobody/no-such-aligner", device="cpu")
    with pytest.raises(ModelError, match="no-such-aligner"):
        SpeechRecognizer(lost).recognize([told.pcm])


RECIPE = """
recipe: 1
name: heard
stages:
  - probe_media
  - transcribe: {{engine: whisperx, model: {model}, align_model: {aligner}, device: cpu}}
    env: {env}
    resources: {{cpus: 1, timeout_s: 600}}
    actors: 1
  - restore_sentences
pack: {{layer: sentences, text: [asr]}}
"""


@pytest.fixture
def film(told: Told, tmp_path: Path) -> Path:
    """A video with the sentences as its sound."""
    sound, folder = tmp_path / "told.wav", tmp_path / "in"
    folder.mkdir()
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", "NONE"))
        file.writeframes(told.pcm.tobytes())
    picture = f"testsrc=size=64x48:rate=10:duration={len(told.pcm) / RATE:.2f}"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", picture]
    command += ["-i", str(sound), "-c:v", "libx264", "-c:a", "aac", str(folder / "film.mp4")]
    subprocess.run(command, check=True)
    return folder / "film.mp4"


def test_the_stage_runs_here_in_a_run_whose_driver_has_no_whisperx(
    film: Path, told: Told, whisper: Path, whisperx: WhisperX, tmp_path: Path
) -> None:
    driver = HERE.parents[1] / ".venv" / "bin"
    if not (driver / "clipmill").exists():
        pytest.skip("the project's own environment is not there: make check builds it")
    assert subprocess.run(
        [driver / "python", "-c", "import whisperx"], capture_output=True
    ).returncode
    recipe, out = tmp_path / "heard.yaml", tmp_path / "out"
    recipe.write_text(
        RECIPE.format(model=whisper, aligner=whisperx._align_model, env=sys.executable)
    )
    done = subprocess.run(
        [driver / "clipmill", "run", recipe, film.parent, "--out", out],
        capture_output=True, text=True, timeout=600, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr

    def rows(query: str) -> list[tuple[Any, ...]]:
        return duckdb.sql(query.format(out=out)).fetchall()

    words = rows("select text, start_s, end_s from '{out}/tables/words/*.parquet' order by start_s")
    assert [text for text, *_ in words] == SAYS.split() * 5
    for number, (_, start, end) in enumerate(words):
        first, last = told.spans[number // 5]
        assert first / 1000 - 0.35 <= start <= end <= last / 1000 + 0.35
    assert (out / "shards").is_dir()
