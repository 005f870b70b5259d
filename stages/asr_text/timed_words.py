"""Every word of a transcript with a time, whatever the transcript was made of.

Recognisers and rolling captions time each word; other subtitles time a cue, and there each word
gets its share of the cue by its letters. That is a guess of a few tenths of a second, so whoever
has a second transcript with word times can take those instead (`retimed`): the two are aligned
monotonically inside a time window, which is linear in length where full dynamic time warping is
quadratic and would run out of memory on a film.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from clipmill.schemas.clocks import MILLISECONDS, Clock
from clipmill.schemas.records import Transcript, Utterance, Video

_PIECE = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\u0e00-\u0eff]|[^\s\u2e80-\u9fff]+")
"""A word, or one letter of a script that is written without spaces."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A word, its half-open extent in milliseconds of presentation time, and where it stood."""

    text: str
    start: int
    end: int
    cue: int  # number of its utterance
    place: int = 0  # number of the word in its transcript
    gap: str = " "  # what parts it in writing from the word before
    speaker: str | None = None
    heard_until: int | None = None  # where words behind it were taken out: the end of those
    language: str | None = None
    confidence: float | None = None

    @property
    def key(self) -> str:
        """The word as it is compared: lower case letters and digits only."""
        return "".join(letter for letter in self.text.casefold() if letter.isalnum())


def transcript_of(video: Video, track: int | None = None, by: str = "") -> Transcript | None:
    """The first transcript of a track and of a stage, where these are given."""
    for transcript in video.transcripts:
        if track is not None and transcript.track != track:
            continue
        if by and transcript.author.stage != by:
            continue
        return transcript
    return None


def timed_words(transcript: Transcript) -> list[Spoken]:
    """All words in the order of their utterances; starts never run backwards inside one."""
    found: list[Spoken] = []
    for number, utterance in enumerate(transcript.said):
        last = 0
        sure = [word.confidence for word in utterance.words] or itertools.repeat(None)
        for (text, start, end, gap), confidence in zip(timed_pieces(utterance), sure, strict=False):
            first = max(_ms(transcript.clock, start), last)
            after = max(_ms(transcript.clock, end), first)
            word = Spoken(text, first, after, number, len(found), gap, utterance.speaker)
            language = utterance.language or transcript.language
            found.append(replace(word, language=language, confidence=confidence))
            last = first
    return found


def has_word_times(transcript: Transcript) -> bool:
    return any(utterance.words for utterance in transcript.said)


class InALanguage(Protocol):
    @property
    def language(self) -> str | None: ...


def most_spoken(words: Sequence[InALanguage]) -> str | None:
    """The language most of the words are in; of as many, the one that comes first."""
    counted = Counter(word.language for word in words)
    return max(counted, key=lambda language: counted[language], default=None)


def joined(words: Sequence[Spoken]) -> str:
    """The words as one text."""
    return "".join(f"{word.gap}{word.text}" for word in words).strip()


def matches(
    words: Sequence[Spoken], others: Sequence[Spoken], window_ms: int
) -> list[tuple[int, int]]:
    """The longest monotone pairing (place in `words`, place in `others`) of equal words.

    A pair's starts lie at most `window_ms` apart. Hunt and Szymanski's algorithm (1977), on the
    pairs inside the window only: O(p log p) for p such pairs.
    """
    ordered = sorted(range(len(others)), key=lambda place: others[place].start)
    starts = [others[place].start for place in ordered]
    tails: list[int] = []  # smallest last position in `ordered` of a chain of each length
    chains: list[tuple[int, int, int | None]] = []  # (word, position, chain before)
    ends: list[int] = []  # chain that `tails` speaks of
    for number, word in enumerate(words):
        if not word.key:
            continue
        first = bisect_left(starts, word.start - window_ms)
        last = bisect_left(starts, word.start + window_ms + 1)
        for position in range(last - 1, first - 1, -1):  # downwards: one word pairs once
            if others[ordered[position]].key != word.key:
                continue
            length = bisect_left(tails, position)
            chains.append((number, position, ends[length - 1] if length else None))
            if length == len(tails):
                tails.append(position)
                ends.append(len(chains) - 1)
            else:
                tails[length], ends[length] = position, len(chains) - 1
    found: list[tuple[int, int]] = []
    at: int | None = ends[-1] if ends else None
    while at is not None:
        number, position, at = chains[at]
        found.append((number, ordered[position]))
    return found[::-1]


def retimed(
    words: Sequence[Spoken], others: Sequence[Spoken], pairs: Sequence[tuple[int, int]]
) -> list[Spoken]:
    """`words` with the times of the words they are paired with.

    Unpaired words between two paired ones share the time between them by their letters; those
    before the first and after the last pair move along with it.
    """
    if not pairs:
        return list(words)
    moved = list(words)
    for number, other in pairs:
        moved[number] = replace(words[number], start=others[other].start, end=others[other].end)
    first, last = pairs[0][0], pairs[-1][0]
    for group, anchor in ((range(first), first), (range(last + 1, len(words)), last)):
        shift = moved[anchor].start - words[anchor].start
        for number in group:
            word = words[number]
            begin = max(word.start + shift, 0)
            moved[number] = replace(word, start=begin, end=max(word.end + shift, begin))
    for (left, _), (right, _) in itertools.pairwise(pairs):
        _fill(moved, left, right)
    return moved


def _fill(moved: list[Spoken], left: int, right: int) -> None:
    """Give the words between two paired ones their share of the time between those."""
    begin, end = moved[left].end, max(moved[right].start, moved[left].end)
    total = sum(len(word.text) for word in moved[left + 1 : right]) or 1
    done = 0
    for number in range(left + 1, right):
        start = begin + (end - begin) * done // total
        done += len(moved[number].text)
        stop = begin + (end - begin) * done // total
        moved[number] = replace(moved[number], start=start, end=stop)


def timed_pieces(utterance: Utterance) -> Iterator[tuple[str, int, int, str]]:
    """(word, start, end, what parts it from the word before) in ticks of its transcript's clock."""
    if utterance.words:
        # Recognisers part words of Chinese or Japanese too, though nobody writes a space there.
        gap = " " if " " in utterance.text or len(utterance.words) == 1 else ""
        for word in utterance.words:
            yield word.text, word.start, word.end, gap
        return
    length, lasts = max(len(utterance.text), 1), utterance.end - utterance.start
    for piece in _PIECE.finditer(utterance.text):
        before = utterance.text[piece.start() - 1 : piece.start()] if piece.start() else " "
        start = utterance.start + lasts * piece.start() // length
        end = utterance.start + lasts * piece.end() // length
        yield piece.group(), start, end, "" if before.strip() else " "


def _ms(clock: Clock, tick: int) -> int:
    return tick if clock == MILLISECONDS else MILLISECONDS.tick(clock.exact(tick))
