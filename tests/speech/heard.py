"""The one yardstick that heard words are measured with."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from clipmill.stages.models.recognizer import Recognition
from clipmill.stages.models.vad import Pcm


def sound(path: Path) -> Pcm:
    """A whole file as 16 kHz mono, by the ffmpeg program: independent of the code under test."""
    raw = ["-f", "s16le", "-ar", "16000", "-ac", "1"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error"]
    command += [*(raw if path.suffix == ".raw" else []), "-i", str(path), *raw, "-"]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.int16)


def words_of(text: str) -> list[str]:
    """The normaliser: lower case letters and inner apostrophes; hyphens part words."""
    text = text.lower().replace("\u2019", "'").replace("-", " ")
    return [word.strip("'") for word in re.sub(r"[^a-z' ]", " ", text).split() if word.strip("'")]


def heard_words(recognition: Recognition) -> list[str]:
    return words_of(" ".join(utterance.text for utterance in recognition.utterances))


def errors(truth: list[str], heard: list[str]) -> int:
    """Words replaced, lost or added (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(truth, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            least = min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
            diagonal, row[j] = row[j], least
    return row[-1]
