"""What a recogniser says although nobody did, told by the text, its times and the voice below it.

Whisper writes fluent text for anything it is given: it falls into loops, fills a pause with the
thanks of some other video, and puts a paragraph into half a second. Its own fallbacks catch part of
it, a batched run has none. Rules on the result hold for every engine, cost microseconds and need
none of its inner scores; the price is that a hallucination without such a sign passes. What breaks
a rule stays in the transcript with its `doubt`, so that it can be counted and looked at.

    loop      the same words again and again: the first saying is kept, the rest is doubted; or a
              text that packs better than 2.4 to 1 (Radford et al. 2023, section 4.5)
    rate      more letters in a second than anybody can say
    unvoiced  no voice was found anywhere below it
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from clipmill.schemas.records import Utterance, Word
from clipmill.stages.models.vad import RATE, WINDOW

PACKED = 2.4  # length of a text over that of its compressed form; prose of a few lines: below 2
LOOP_TIMES = 5  # sayings in a row; "no, no, no, no" is said by people
LOOP_WORDS = 12  # words of a loop together
LONGEST = 30  # words of what is said again and again
LETTERS_PER_S = 40.0  # auctioneers and rappers reach 30
SHORTEST_S = 0.2  # times of a word or two are not exact enough for a rate
WINDOW_MS = WINDOW * 1000 / RATE


def doubted(utterance: Utterance, voiced: npt.NDArray[np.bool_] | None) -> Iterator[Utterance]:
    """The utterance as it is, with a doubt, or parted into what was said and its loop.

    `voiced` tells of every window of the stretch, whose beginning is the utterance's time zero,
    whether a voice was found in it.
    """
    text = utterance.text.strip()
    if voiced is not None and not _has_voice(utterance, voiced):
        yield replace(utterance, doubt="unvoiced")
    elif _is_too_fast(text, utterance.end - utterance.start):
        yield replace(utterance, doubt="rate")
    elif (onset := loop_onset([word.text for word in utterance.words])) is not None:
        yield _part(utterance, utterance.words[:onset])
        yield replace(_part(utterance, utterance.words[onset:]), doubt="loop")
    elif len(text) >= 60 and packing(text) > PACKED:
        yield replace(utterance, doubt="loop")
    else:
        yield utterance


def loop_onset(words: Sequence[str]) -> int | None:
    """Where words begin to be said again and again, behind their first saying; None: nowhere."""
    keys = ["".join(filter(str.isalnum, word.casefold())) for word in words]
    for start in range(len(keys)):
        for length in range(1, min(LONGEST, (len(keys) - start) // LOOP_TIMES) + 1):
            same = 0  # words behind the first saying that repeat the one `length` before
            while (
                start + length + same < len(keys)
                and keys[start + length + same] == keys[start + same]
            ):
                same += 1
            if same + length >= max(LOOP_TIMES * length, LOOP_WORDS):
                return start + length
    return None


def packing(text: str) -> float:
    """How many times shorter a text becomes by compression, as Whisper measures it."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def _is_too_fast(text: str, length_ms: int) -> bool:
    letters = sum(map(str.isalnum, text))
    return letters > LETTERS_PER_S * max(length_ms / 1000, SHORTEST_S)


def _has_voice(utterance: Utterance, voiced: npt.NDArray[np.bool_]) -> bool:
    """Whether one window under the utterance, or one beside it, holds a voice."""
    first = max(int(utterance.start / WINDOW_MS) - 1, 0)
    last = int(utterance.end / WINDOW_MS) + 2
    return bool(voiced[first:last].any())


def _part(utterance: Utterance, words: list[Word]) -> Utterance:
    text = " ".join(word.text for word in words)
    return replace(utterance, text=text, start=words[0].start, end=words[-1].end, words=words)
