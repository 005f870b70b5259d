"""Where sentences end and which words are said twice: rules over timed words.

Marks decide where a text has them, pauses where it has none; a text is taken to have marks when
they come at least as often as long sentences would bring them. Rules know no grammar: they cost
nothing, work in every language with such marks, and give the same result everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clipmill.stages.asr_text.timed_words import Spoken

ENDS = ".?!\u2026\u3002\uff1f\uff01\u061f\u0964"
CLOSERS = "\"')]}\u201d\u2019\u00bb\u300d\u300f"
LONGEST_REPEAT = 60  # words; a cue that is shown again is shorter

_TITLES = (
    "mr mrs ms dr prof st sr jr rev hon gen col capt lt sgt gov sen rep mt vs fig hr fr sra srta"
    " mme mlle bzw ca cf eg ie approx dept est vol"
)
TITLES = frozenset(_TITLES.split())
"""Never end a sentence: something is named right behind them."""
_SHORTENED = "etc inc ltd co corp no nr usw a.m p.m u.s u.k e.g i.e d.h z.b"
SHORTENED = frozenset(_SHORTENED.split())
"""End a sentence only where a capital letter follows."""
_ASKING = (
    "who what when where why which whose how is are was were do does did can could will would"
    " shall should has have had isn't aren't don't doesn't didn't can't won't"
)
ASKING = frozenset(_ASKING.split())


@dataclass(frozen=True, slots=True)
class Rules:
    """Limits in milliseconds and words."""

    pause_ms: int = 400
    long_pause_ms: int = 3000
    max_words: int = 60
    repeat_words: int = 3
    repeat_gap_ms: int = 2000


def without_repeats(words: Sequence[Spoken], rules: Rules) -> list[Spoken]:
    """Words without immediate repetitions of at least `repeat_words`; the first saying is kept.

    A run that is said again later than `repeat_gap_ms` after its end counts as meant.
    """
    kept: list[Spoken] = []
    shortest = rules.repeat_words
    if not shortest:
        return list(words)
    for word in words:
        kept.append(word)
        for length in range(shortest, min(LONGEST_REPEAT, len(kept) // 2) + 1):
            first, second = kept[-2 * length : -length], kept[-length:]
            if (
                second[-1].key == first[-1].key
                and second[0].start - first[-1].end <= rules.repeat_gap_ms
                and any(own.key for own in first)
                and all(a.key == b.key for a, b in zip(first, second, strict=True))
            ):
                del kept[-length:]
                kept[-1] = replace(kept[-1], heard_until=word.end)
                break
    return kept


def is_punctuated(words: Sequence[Spoken], max_words: int) -> bool:
    """Whether the text's own marks can be trusted: one in `max_words` words or more."""
    marks = sum(ends_sentence(word, None) for word in words)
    return marks * max_words >= len(words) > 0


def ends_sentence(word: Spoken, following: Spoken | None) -> bool:
    """Whether a sentence ends with this word, judged by its mark and the next word's first."""
    bare = word.text.rstrip(CLOSERS)
    if not bare or bare[-1] not in ENDS:
        return False
    if bare[-1] not in ".\u2026":
        return True
    core = bare.rstrip(".\u2026").lstrip("\"'([{\u201c\u2018\u00ab\u300c").casefold()
    lower = following is not None and following.text[:1].islower()
    if bare.endswith(("...", "\u2026")):
        return not lower
    if core.replace(".", "") in TITLES or (len(core) == 1 and core.isalpha() and core != "i"):
        return False
    if core in SHORTENED or "." in core:
        capital = following is None or following.text[:1].isupper()
        return capital and not (core in ("no", "nr") and following is not None)
    return not lower or len(core) > 1


def sentences(words: Sequence[Spoken], rules: Rules) -> list[list[Spoken]]:
    """Words cut into sentences, in order, each word in exactly one."""
    marked = is_punctuated(words, rules.max_words)
    limit = rules.long_pause_ms if marked else rules.pause_ms
    if not words:
        return []
    found: list[list[Spoken]] = [[]]
    for word, following in zip(words, [*words[1:], None], strict=True):
        found[-1].append(word)
        if following is None:
            break
        turn = word.speaker != following.speaker and following.cue != word.cue
        silent_from = word.end if word.heard_until is None else word.heard_until
        pause = following.start - silent_from >= limit
        if turn or pause or (marked and ends_sentence(word, following)):
            found.append([])
    return [piece for whole in found for piece in _short_enough(whole, rules.max_words)]


def _short_enough(words: list[Spoken], most: int) -> list[list[Spoken]]:
    """Halves at the longest pause, or else at the cue border nearest the middle, until they fit."""
    if len(words) <= most:
        return [words]

    def worth(place: int) -> tuple[int, bool, int]:
        before, after = words[place - 1], words[place]
        return (
            max(after.start - before.end, 0) // 50,  # pauses alike to 50 ms are alike
            before.cue != after.cue,
            -abs(2 * place - len(words)),
        )

    margin = max(1, len(words) // 5)  # no crumbs of one or two words
    cut = max(range(margin, len(words) - margin + 1), key=worth)
    return [*_short_enough(words[:cut], most), *_short_enough(words[cut:], most)]


def punctuated(text: str, language: str | None) -> str:
    """A sentence without marks, written as one: a capital letter first, a mark at the end."""
    if not text or text[-1] in ENDS + CLOSERS or not text[-1].isalnum():
        return text
    if not any(letter.lower() != letter.upper() for letter in text):
        return text  # a script without capitals has marks of its own
    first = text.split(maxsplit=1)[0].casefold()
    mark = "?" if language in (None, "en") and first in ASKING else "."
    return text[0].upper() + text[1:] + mark
