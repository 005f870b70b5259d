"""Words against what was said: which, when, and on which scene.

One normaliser for both sides: lower case, letters, digits and apostrophes; everything else parts
words. Errors are the least number of words to replace, insert or delete (Levenshtein), over all
words said in all videos, so long videos count for more. Word times are judged on the words that
were read right, by their starts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import median

from clipmill.pipeline.selfcheck.figures import Case, Figure, Miss, share
from clipmill.stages.compose.truth import WordTruth

Pair = tuple[int | None, int | None]

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


def words_of(text: str) -> list[str]:
    """The words of a text as they are compared."""
    return _WORD.findall(text.casefold().replace("\u2019", "'"))


def transcribe(cases: list[Case]) -> list[Figure]:
    """Word error rate, and the median distance of word starts in seconds."""
    errors = said = 0
    away: list[float] = []
    misses: list[Miss] = []
    for case in cases:
        true, heard = _said(case), _heard(case)
        said += len(true)
        at = 0.0
        for left, right in align([word.text for word in true], [text for text, _ in heard]):
            one = true[left] if left is not None else None
            two = heard[right] if right is not None else None
            at = one.start_s if one else at
            if one and two and one.text == two[0]:
                if two[1] is not None:
                    away.append(abs(two[1] - one.start_s))
                continue
            errors += 1
            misses.append(
                case.miss(
                    at,
                    f"said {one.text!r}, heard {two[0]!r}"
                    if one and two
                    else f"said {one.text!r}, not heard"
                    if one
                    else f"heard {two[0]!r}, not said"
                    if two
                    else "",
                )
            )
    rate = errors / said if said else None
    note = "" if said else "nothing is said in these videos"
    late = median(away) if away else None
    return [
        Figure(
            "transcribe",
            "word error rate",
            rate,
            said,
            ceiling=0.0,
            bar=0.15,
            lower=True,
            note=note,
            misses=misses,
        ),
        Figure(
            "transcribe",
            "word starts, median error",
            late,
            len(away),
            ceiling=0.0,
            bar=0.1,
            lower=True,
            unit="seconds",
            note=note if late is not None else "no word was heard right",
        ),
    ]


def assign_speech(cases: list[Case]) -> Figure:
    """Share of all words said that stand, in order, in the text of the scene they are said in.

    The ceiling leaves out words that were not heard and scenes without a shot.
    """
    right = reachable = total = 0
    misses: list[Miss] = []
    written = any(shot.texts_of("asr") for case in cases for shot in case.shots)
    for case in cases:
        true, heard = _said(case), _heard(case)
        read = {
            left
            for left, right_ in align([word.text for word in true], [text for text, _ in heard])
            if left is not None and right_ is not None and true[left].text == heard[right_][0]
        }
        total += len(true)
        for scene, shot in case.scenes():
            inside = [
                number
                for number, word in enumerate(true)
                if scene.start_s <= (word.start_s + word.end_s) / 2 < scene.end_s
            ]
            if shot is None:
                continue
            texts = shot.texts_of("asr")
            own = words_of(texts[-1].text) if texts else []
            stated = [true[number].text for number in inside]
            agreed = {
                left
                for left, other in align(stated, own)
                if left is not None and other is not None and stated[left] == own[other]
            }
            right += len(agreed)
            reachable += len(read & set(inside))
            misses += [
                case.miss(true[number].start_s, f"{true[number].text!r} is not on its scene")
                for place, number in enumerate(inside)
                if number in read and place not in agreed
            ]
    if not written and total:
        return Figure("assign_speech", "words on the right scene", None, note="not in this recipe")
    # A word may be read twice as well as once; what is right was reachable.
    return share(
        "assign_speech",
        "words on the right scene",
        right,
        total,
        max(right, reachable),
        misses=misses,
    )


def align(one: Sequence[str], two: Sequence[str]) -> list[Pair]:
    """A cheapest way to turn one list into the other: pairs of places, None for a gap.

    Cost 1 for a replacement, an insertion and a deletion. Time and memory grow with the product of
    the lengths.
    """
    rows = [list(range(len(two) + 1))]
    for number, word in enumerate(one, 1):
        before, row = rows[-1], [number]
        for place, other in enumerate(two, 1):
            row.append(
                min(before[place - 1] + (word != other), before[place] + 1, row[place - 1] + 1)
            )
        rows.append(row)
    pairs: list[Pair] = []
    left, right = len(one), len(two)
    while left or right:
        cost = rows[left][right]
        if left and right and cost == rows[left - 1][right - 1] + (one[left - 1] != two[right - 1]):
            left, right = left - 1, right - 1
            pairs.append((left, right))
        elif left and cost == rows[left - 1][right] + 1:
            left -= 1
            pairs.append((left, None))
        else:
            right -= 1
            pairs.append((None, right))
    return pairs[::-1]


def distance(one: Sequence[str], two: Sequence[str]) -> int:
    """The cost of `align`."""
    return sum(
        left is None or right is None or one[left] != two[right] for left, right in align(one, two)
    )


def _said(case: Case) -> list[WordTruth]:
    return [
        WordTruth(part, word.start_s, word.end_s)
        for line in case.truth.narration
        for word in line.words
        for part in words_of(word.text)
    ]


def _heard(case: Case) -> list[tuple[str, float | None]]:
    """(word, start in seconds or None) of the video's first transcript."""
    if not case.video.transcripts:
        return []
    transcript = case.video.transcripts[0]
    heard: list[tuple[str, float | None]] = []
    for utterance in transcript.said:
        if utterance.words:
            for word in utterance.words:
                start = transcript.clock.seconds(word.start)
                heard += [(part, start) for part in words_of(word.text)]
        else:
            heard += [(part, None) for part in words_of(utterance.text)]
    return heard
