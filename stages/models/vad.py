"""Voice activity: cut a stream of sound into the stretches that hold speech.

A recogniser given rain or music answers with words all the same, so nothing reaches it that this
detector did not call speech. The network is Silero's (MIT), in the ONNX form that the
faster-whisper wheel carries; it needs onnxruntime alone, and its memory is three small arrays, so
a stream of any length costs the same. A stretch that outgrows the recogniser's window is cut where
the voice is weakest and the pieces touch, so no word is lost or heard twice at a joint.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clipmill.schemas.errors import MissingExtra

Pcm = npt.NDArray[np.int16]

RATE = 16_000
WINDOW = 512  # samples the network judges at once: 32 ms
CONTEXT = 64  # samples of the window before, which the network wants in front
BATCH = 64  # windows per call of the network
# Speech ends this far below the threshold where it begins (Silero's own value), and must rise as
# far above it somewhere: heavy rain was seen to hold 0.50 to 0.62 for 0.3 s, voices pass 0.8.
HYSTERESIS = 0.15


@dataclass(frozen=True, slots=True)
class SpeechRules:
    """What counts as a stretch of speech; seconds, and a probability for `threshold`."""

    threshold: float = 0.5
    min_speech: float = 0.2  # of sound above the threshold; less is a click, not a word
    min_silence: float = 1.0  # a shorter pause does not end a stretch
    pad: float = 0.2  # kept on both sides, for soft beginnings and ends
    max_length: float = 30.0


@dataclass(frozen=True, slots=True)
class Speech:
    """A stretch of speech: its first sample, counted from presentation zero, and its sound.

    `voiced` tells of each of its windows whether a voice was found there; pauses are part of it.
    """

    start: int
    pcm: Pcm
    voiced: npt.NDArray[np.bool_]

    @property
    def start_ms(self) -> float:
        return self.start * 1000 / RATE


class VoiceActivity:
    """The network; one instance serves many streams, one after another or interleaved."""

    def __init__(self) -> None:
        try:
            import onnxruntime
        except ImportError as missing:
            raise _no_network("onnxruntime") from missing
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            str(_weights()), providers=["CPUExecutionProvider"], sess_options=options
        )

    def windows(self, pcm: Iterable[Pcm]) -> Iterator[tuple[Pcm, float]]:
        """Every window of the stream with its probability of speech.

        Blocks may have any length; the last window is filled up with silence.
        """
        hidden = np.zeros((1, 1, 128), np.float32)
        cell = np.zeros((1, 1, 128), np.float32)
        before: npt.NDArray[np.float32] = np.zeros(CONTEXT, np.float32)
        for batch in _batches(pcm):
            sound = (batch.reshape(-1, WINDOW) / 32768).astype(np.float32)
            tails = np.vstack([before[None], sound[:-1, -CONTEXT:]])
            before = sound[-1, -CONTEXT:]
            scores, hidden, cell = self._session.run(
                None, {"input": np.hstack([tails, sound]), "h": hidden, "c": cell}
            )
            yield from zip(batch.reshape(-1, WINDOW), scores.reshape(-1).tolist(), strict=True)

    def speech(self, pcm: Iterable[Pcm], rules: SpeechRules) -> Iterator[Speech]:
        """The stretches of speech in time order, never overlapping, at most `max_length` long."""
        return stretches(self.windows(pcm), rules)


def stretches(windows: Iterable[tuple[Pcm, float]], rules: SpeechRules) -> Iterator[Speech]:
    """Scored windows put together by the rules; at most `max_length` of sound is held."""
    pad, silence = _count(rules.pad), _count(rules.min_silence)
    longest = max(_count(rules.max_length), 2 * pad + 2)
    held: list[tuple[Pcm, float]] = []  # the stretch, or the padding before one
    first = 0  # index of the first window held
    speaking = False
    follows = False  # whether the stretch goes on from one that was cut and kept
    quiet = 0  # windows since the last one with a voice
    for window, score in windows:
        held.append((window, score))
        if not speaking:
            if score >= rules.threshold:
                speaking, quiet = True, 0
            elif len(held) > pad:
                held.pop(0)
                first += 1
            continue
        voiced = score >= rules.threshold - HYSTERESIS
        quiet = 0 if voiced else quiet + 1
        if quiet >= max(silence, 1):
            keep = max(len(held) - max(quiet - pad, 0), 0)
            if _is_speech(held[:keep], rules, follows):
                yield _speech(held[:keep], first, rules)
            # What follows the padding may be the padding of the next stretch, never both.
            rest = max(keep, len(held) - pad)
            held, first, speaking, follows = held[rest:], first + rest, False, False
        elif len(held) >= longest:
            cut = _weakest(held)
            follows = _is_speech(held[:cut], rules, follows)
            if follows:
                yield _speech(held[:cut], first, rules)
            held, first = held[cut:], first + cut
    if speaking and _is_speech(held, rules, follows):
        yield _speech(held, first, rules)


def _is_speech(held: list[tuple[Pcm, float]], rules: SpeechRules, follows: bool) -> bool:
    """Whether a stretch is to be heard; behind a cut even the end of a word is."""
    scores = [score for _, score in held]
    voiced = sum(score >= rules.threshold for score in scores)
    sure = max(scores, default=0.0) >= min(rules.threshold + HYSTERESIS, 0.95)
    return voiced > 0 and (follows or (sure and voiced * WINDOW >= rules.min_speech * RATE))


def _speech(held: list[tuple[Pcm, float]], first: int, rules: SpeechRules) -> Speech:
    voiced = np.array([score >= rules.threshold - HYSTERESIS for _, score in held])
    return Speech(first * WINDOW, np.concatenate([window for window, _ in held]), voiced)


def _weakest(held: list[tuple[Pcm, float]]) -> int:
    """Where to cut a stretch that grew too long: its least voiced window in the second half.

    Loudness decides between windows that score alike, so a voice without any pause is cut in the
    gap before a consonant rather than inside a vowel.
    """
    half = len(held) // 2

    def voice(index: int) -> tuple[float, float]:
        window, score = held[index]
        return round(score, 2), float(np.abs(window.astype(np.int32)).mean())

    return min(range(half, len(held)), key=voice)


def _batches(pcm: Iterable[Pcm]) -> Iterator[Pcm]:
    size = WINDOW * BATCH
    rest = np.empty(0, np.int16)
    for block in pcm:
        rest = np.concatenate([rest, block])
        while len(rest) >= size:
            yield rest[:size]
            rest = rest[size:]
    if len(rest):
        yield np.pad(rest, (0, -len(rest) % WINDOW))


def _count(seconds: float) -> int:
    return round(seconds * RATE / WINDOW)


def _weights() -> Path:
    # Found without importing the package, which would load ctranslate2 and a second FFmpeg.
    package = importlib.util.find_spec("faster_whisper")
    if package is None or package.origin is None:
        raise _no_network("faster_whisper")
    found = sorted(Path(package.origin).parent.glob("assets/silero_vad*.onnx"))
    if not found:
        raise _no_network("faster_whisper")
    return found[-1]


def _no_network(package: str) -> MissingExtra:
    return MissingExtra(
        f"voice activity needs {package}",
        cure="pip install 'clipmill[speech]' or set engine: subtitles",
        stage="transcribe",
    )
