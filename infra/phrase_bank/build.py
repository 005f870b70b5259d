"""Build the phrase bank: the narrator's recorded phrases with exact word times.

Run once by hand on a machine with Debian's `flite` libraries; what it writes is committed, so that
rendering needs no synthesiser. Phrases are cut out of whole carrier sentences at flite's own word
times: a phrase spoken alone ends in a fall and a recogniser reads it worse in mid-sentence. Of
flite's voices `rms` is the one that pocketsphinx reads best by far (`slt`: four times its errors).

    python infra/phrase_bank/build.py stages/compose/phrases
"""

from __future__ import annotations

import argparse
import ctypes
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipmill.stages.compose.wording import FILLERS, SPOKEN_BACKDROPS, SPOKEN_MOTIONS
from clipmill.stages.compose.world import COLOURS, SHAPES

VOICE = "rms"
RATE = 16_000
BITRATE = 32_000
GAP = RATE // 5
"""Silence between phrases in the container, so that coding smears nothing across."""


class _Wave(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_char_p),
        ("rate", ctypes.c_int),
        ("samples", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("data", ctypes.POINTER(ctypes.c_short)),
    )


@dataclass(frozen=True)
class Spoken:
    """A phrase: its sound and, per word, text and half-open extent in samples."""

    role: str
    text: str
    pcm: NDArray[np.int16]
    words: list[tuple[str, int, int]]


class Flite:
    """Speech with word times, read from flite's own utterance structure."""

    def __init__(self, voice: str) -> None:
        pointer, text = ctypes.c_void_p, ctypes.c_char_p
        self._lib: Any = ctypes.CDLL("libflite.so.1", mode=ctypes.RTLD_GLOBAL)
        for name in ("usenglish", "cmulex"):
            ctypes.CDLL(f"libflite_{name}.so.1", mode=ctypes.RTLD_GLOBAL)
        for name, result, arguments in (
            ("flite_synth_text", pointer, [text, pointer]),
            ("utt_wave", ctypes.POINTER(_Wave), [pointer]),
            ("utt_relation", pointer, [pointer, text]),
            ("relation_head", pointer, [pointer]),
            ("item_next", pointer, [pointer]),
            ("ffeature_string", text, [pointer, text]),
            ("ffeature_float", ctypes.c_float, [pointer, text]),
            ("delete_utterance", None, [pointer]),
        ):
            function = getattr(self._lib, name)
            function.restype, function.argtypes = result, arguments
        self._lib.flite_init()
        register = getattr(ctypes.CDLL(f"libflite_cmu_us_{voice}.so.1"), f"register_cmu_us_{voice}")
        register.restype, register.argtypes = pointer, [text]
        self._voice = register(None)

    def say(self, sentence: str) -> tuple[NDArray[np.int16], list[tuple[str, int, int]]]:
        utterance = self._lib.flite_synth_text(sentence.encode(), self._voice)
        wave = self._lib.utt_wave(utterance).contents
        if wave.rate != RATE:
            raise ValueError(f"the voice speaks at {wave.rate} Hz, not {RATE}")
        pcm = np.ctypeslib.as_array(wave.data, (wave.samples,)).copy()
        words = []
        item = self._lib.relation_head(self._lib.utt_relation(utterance, b"Word"))
        phones = b"R:SylStructure.daughter%b.daughter%b.R:Segment%b.end"
        while item:
            start, end = (
                self._lib.ffeature_float(item, phones % form)
                for form in ((b"", b"", b".p"), (b"n", b"n", b""))
            )
            name = self._lib.ffeature_string(item, b"name").decode()
            words.append((name, round(start * RATE), round(end * RATE)))
            item = self._lib.item_next(item)
        self._lib.delete_utterance(utterance)
        return pcm, words


def cut(flite: Flite, role: str, before: str, phrase: str, after: str) -> Spoken:
    """`phrase` as spoken between `before` and `after`."""
    pcm, words = flite.say(f"{before} {phrase} {after}".strip() + ".")
    first, count = len(before.split()), len(phrase.split())
    own = words[first : first + count]
    if [word for word, _, _ in own] != phrase.split():
        raise ValueError(f"flite reads {phrase!r} as {own}")
    start = own[0][1] if before else max(0, own[0][1] - RATE // 16)
    end = own[-1][2] if after else min(len(pcm), own[-1][2] + RATE // 12)
    return Spoken(role, phrase, pcm[start:end], [(w, a - start, b - start) for w, a, b in own])


def phrases(flite: Flite) -> list[Spoken]:
    """Every phrase of the narration's grammar, each in the place it takes in a sentence."""
    bank = [
        cut(flite, "subject", "", f"the {colour} {shape}", "moves to the left")
        for colour in COLOURS
        for shape in SHAPES
    ]
    for motion in (form for forms in SPOKEN_MOTIONS.values() for form in forms):
        bank.append(cut(flite, "motion", "the blue circle", motion, "over the grass"))
        bank.append(cut(flite, "motion.", "the blue circle", motion, ""))
    for place in SPOKEN_BACKDROPS.values():
        bank.append(cut(flite, "place.", "the blue circle moves to the left", place, ""))
    return bank + [cut(flite, "sentence.", "", filler, "") for filler in FILLERS]


def encode(path: Path, pcm: NDArray[np.int16]) -> None:
    import av

    with av.open(str(path), "w", format="ogg") as container:
        container.flags |= av.container.Flags.bitexact.value
        stream: Any = container.add_stream("libopus", rate=RATE, layout="mono")
        stream.bit_rate = BITRATE
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where bank.opus and bank.json go")
    folder: Path = parser.parse_args().folder
    silence = np.zeros(GAP, np.int16)
    sound, table, position = [silence], [], GAP
    for spoken in phrases(Flite(VOICE)):
        table.append(
            {
                "role": spoken.role,
                "text": spoken.text,
                "start": position,
                "end": position + len(spoken.pcm),
                "words": [list(word) for word in spoken.words],
            }
        )
        sound += [spoken.pcm, silence]
        position += len(spoken.pcm) + GAP
    encode(folder / "bank.opus", np.concatenate(sound))
    rows = ",\n".join(json.dumps(row) for row in table)
    (folder / "bank.json").write_text(
        f'{{"voice": "{VOICE}", "rate": {RATE}, "phrases": [\n{rows}\n]}}\n', encoding="utf-8"
    )


if __name__ == "__main__":
    main()
