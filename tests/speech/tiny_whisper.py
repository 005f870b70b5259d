"""A Whisper of random weights in the form faster-whisper loads, made without torch.

It hears nothing sensible, but its windows, time marks, language tokens and word alignment go
through the very code that a real model goes through. Or it says one sentence whatever it hears, so
that what becomes of its text can be compared with something.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
from ctranslate2.specs.whisper_spec import WhisperSpec
from faster_whisper.tokenizer import _LANGUAGE_CODES
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

WIDTH, MELS, POSITIONS, WORDS = 32, 80, 448, 128
PROMPT = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")


def write_tiny_whisper(folder: Path, says: str = "") -> Path:
    """A multilingual model of one encoder and two decoder layers, about 1 MB.

    With `says`, at most 27 letters, it takes every sound for English and writes those, where it is
    asked for no time marks.
    """
    tokenizer = _tokenizer()
    tokens = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    spec = WhisperSpec(1, 2, 2, 2)
    _fill(spec, len(tokens))
    if says:
        _script(spec, [tokenizer.token_to_id(token) for token in _written(says)])
    spec.register_vocabulary(tokens)
    end = tokenizer.token_to_id("<|endoftext|>")
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = [end]
    spec.config.alignment_heads = [(1, 0)]
    spec.config.lang_ids = [tokenizer.token_to_id(f"<|{code}|>") for code in _LANGUAGE_CODES]
    spec.validate()
    spec.optimize(quantization="int8")
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def _tokenizer() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(alphabet)}
    vocabulary[""] = len(vocabulary)  # an empty token is how CTranslate2 knows a multilingual model
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [
            "<|endoftext|>",
            "<|startoftranscript|>",
            *(f"<|{code}|>" for code in _LANGUAGE_CODES),
            "<|translate|>",
            "<|transcribe|>",
            "<|startoflm|>",
            "<|startofprev|>",
            "<|nospeech|>",
            "<|notimestamps|>",
            *(f"<|{step * 0.02:.2f}|>" for step in range(1501)),
        ]
    )
    return tokenizer


def _fill(spec: WhisperSpec, words: int) -> None:
    random = np.random.default_rng(7)

    def weights(*shape: int) -> np.ndarray:
        return random.normal(0, 1 / math.sqrt(shape[-1]), shape).astype(np.float32)

    def linear(layer: object, rows: int, columns: int) -> None:
        layer.weight, layer.bias = weights(rows, columns), np.zeros(rows, np.float32)

    def norm(layer: object) -> None:
        layer.gamma, layer.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)

    def attention(layer: object, own: bool) -> None:
        norm(layer.layer_norm)
        widths = (3, 1) if own else (1, 2, 1)
        for part, width in zip(layer.linear, widths, strict=True):
            linear(part, WIDTH * width, WIDTH)

    def feed_forward(layer: object) -> None:
        norm(layer.layer_norm)
        linear(layer.linear_0, 2 * WIDTH, WIDTH)
        linear(layer.linear_1, WIDTH, 2 * WIDTH)

    encoder, decoder = spec.encoder, spec.decoder
    for convolution, channels in ((encoder.conv1, MELS), (encoder.conv2, WIDTH)):
        convolution.weight = weights(WIDTH, channels, 3)
        convolution.bias = np.zeros(WIDTH, np.float32)
    encoder.position_encodings.encodings = weights(1500, WIDTH)
    decoder.position_encodings.encodings = weights(POSITIONS, WIDTH)
    decoder.embeddings.weight = weights(words, WIDTH)
    linear(decoder.projection, words, WIDTH)
    for block in (encoder, decoder):
        norm(block.layer_norm)
    for layer in itertools.chain(encoder.layer, decoder.layer):
        attention(layer.self_attention, own=True)
        feed_forward(layer.ffn)
    for layer in decoder.layer:
        attention(layer.attention, own=False)


def _written(says: str) -> list[str]:
    """What the decoder answers at each place: the language, the rest of its prompt, the letters."""
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(says)
    script = [*PROMPT[1:], *(letter for piece, _ in letters for letter in piece), "<|endoftext|>"]
    assert len(script) <= WIDTH, "longer than the model is wide"
    return script


def _script(spec: WhisperSpec, script: list[int]) -> None:
    """Make the decoder see nothing but the place it is at, and answer with the script's token."""
    decoder = spec.decoder
    decoder.embeddings.weight[:] = 0
    decoder.projection.weight[:] = 0
    decoder.position_encodings.encodings[:] = 0
    for layer in decoder.layer:
        for linear in (layer.self_attention.linear[-1], layer.attention.linear[-1]):
            linear.weight[:] = 0
        layer.ffn.linear_1.weight[:] = 0
    for place, token in enumerate(script):
        decoder.position_encodings.encodings[place, place] = 1
        decoder.projection.weight[token, place] = 10
