"""Models made on the spot, and speech whose place is known.

The Whisper says one sentence whatever it hears; the alignment model has random weights, so where it
puts a word inside a stretch means nothing, but that it is asked can be seen.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["RAY_AUTH_MODE"] = "disabled"
sys.path.append(str(HERE.parents[1] / "tests" / "speech"))

from tiny_whisper import write_tiny_whisper  # noqa: E402

from clipmill.stages.compose.speech import RATE, say  # noqa: E402
from clipmill.stages.models.recognizers.whisperx import WhisperX  # noqa: E402
from clipmill.stages.models.vad import Pcm  # noqa: E402

SAYS = "the red circle goes up"
TOLD = (
    ["the red circle", "moves to the left", "over the grass"],
    ["the blue star", "goes up", "in the sky"],
)


@dataclass(frozen=True)
class Told:
    """Sound with sentences in it, and where they are, in milliseconds."""

    pcm: Pcm
    spans: list[tuple[int, int]]


@pytest.fixture(scope="session")
def told() -> Told:
    """Five sentences, each after a silence of 4 s."""
    pieces: list[Pcm] = []
    spans = []
    at = 0
    for number in range(5):
        spoken = say(TOLD[number % 2]).pcm
        pieces += [np.zeros(4 * RATE, np.int16), spoken]
        start = at + 4 * RATE
        at = start + len(spoken)
        spans.append((start * 1000 // RATE, at * 1000 // RATE))
    # Silence at the very end would stay with the last stretch: nothing tells that it is one.
    return Told(np.concatenate(pieces), spans)


@pytest.fixture(scope="session")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_whisper(tmp_path_factory.mktemp("models") / "whisper", says=SAYS)


@pytest.fixture(scope="session")
def aligner(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Writes a wav2vec2 of one layer that reads letters, its weights drawn from a seed."""
    import torch
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    def write(seed: int) -> Path:
        folder = tmp_path_factory.mktemp("models") / f"aligner-{seed}"
        folder.mkdir()
        letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz'"]
        vocabulary = folder / "letters.json"
        vocabulary.write_text(json.dumps({letter: n for n, letter in enumerate(letters)}))
        tokenizer = Wav2Vec2CTCTokenizer(str(vocabulary), word_delimiter_token="|")
        sound = Wav2Vec2FeatureExtractor(return_attention_mask=False)
        Wav2Vec2Processor(sound, tokenizer).save_pretrained(folder)
        torch.manual_seed(seed)
        config = Wav2Vec2Config(
            vocab_size=len(letters),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            conv_dim=(32,) * 7,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=2,
        )
        model = Wav2Vec2ForCTC(config)
        with torch.no_grad():
            model.lm_head.weight *= 100  # as they come, weights answer every sound alike
        model.save_pretrained(folder)
        return folder

    return write


@pytest.fixture(scope="session")
def whisperx(whisper: Path, aligner: Callable[[int], Path]) -> WhisperX:
    return WhisperX(str(whisper), align_model=str(aligner(1)), device="cpu", batch=3)
