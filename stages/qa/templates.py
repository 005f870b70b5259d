"""Questions that measured facts decide, with their answers and the time that proves them.

One function per kind of fact. Each yields every question it can decide; choosing among them is the
stage's work. Yes and no are equally likely by construction, and a wrong option is always one that
the facts rule out clearly. Questions about two neighbouring segments speak of the stretch of video
that their evidence covers, and carry the scope `neighbours`; all others need their own clip only.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from clipmill.schemas.clocks import Span
from clipmill.stages.qa.facts import ALIKE, CAMERA, Facts, follows

Type = Literal["open", "choice", "yes_no", "counting", "order", "temporal"]

LONGER = 1.25
"""One of two durations is called longer from this ratio on; less is hard to see."""
_SHORTEST_WORD = 4  # letters; recognisers are least sure of the short ones
_LONGEST_ANSWER = 300  # characters


@dataclass(frozen=True, slots=True)
class Draft:
    """A question with its one right answer. `options` holds the answer, or is empty."""

    type: Type
    fact: str
    question: str
    answer: str
    evidence: tuple[Span, ...]
    options: tuple[str, ...] = ()
    scope: Literal["clip", "neighbours"] = "clip"


def about_clip(facts: Facts, rng: random.Random, others: frozenset[str]) -> list[Draft]:
    """Every question that a clip's own facts decide. `others`: words said in other clips."""
    return [
        *_camera(facts, rng),
        *_level(facts, rng, "motion", facts.motion, "How much motion is there in the picture?"),
        *_level(facts, rng, "brightness", facts.brightness, "How bright is the picture?"),
        *_colour(facts, rng),
        *_speech(facts, rng, others),
        *_screen(facts),
        _draft(facts, "temporal", "span", "How long does this clip last?", _seconds(facts.span)),
    ]


def about_neighbours(first: Facts, second: Facts, rng: random.Random) -> list[Draft]:
    """Every question that two segments decide of which the second follows the first."""
    if not follows(first.span, second.span):
        return []
    drafts = []
    evidence = (first.span, second.span)
    for fact, one, two in _contrasts(first, second):
        options = _shuffled(rng, [one, two])
        drafts.append(
            Draft(
                "order",
                fact,
                f"In this stretch of video, which comes first: {options[0]} or {options[1]}?",
                one,
                evidence,
                options,
                "neighbours",
            )
        )
    long, short = first.span.duration_s, second.span.duration_s
    if max(long, short) >= LONGER * min(long, short) > 0:
        drafts.append(
            Draft(
                "temporal",
                "span",
                "This stretch of video has two segments. Which one lasts longer?",
                "the first" if long > short else "the second",
                evidence,
                ("the first", "the second"),
                "neighbours",
            )
        )
    return drafts


def _camera(facts: Facts, rng: random.Random) -> Iterator[Draft]:
    own = facts.camera
    if own is None:
        return
    moves = "no" if own == "static" else "yes"
    yield _draft(facts, "yes_no", "camera", "Does the camera move?", moves)
    if own == "mixed":
        return
    others = [name for name in CAMERA if name != own]
    yield _draft(facts, "open", "camera", "What does the camera do?", f"It {CAMERA[own]}.")
    options = _shuffled(rng, [own, *rng.sample(others, 3)])
    yield _draft(
        facts,
        "choice",
        "camera",
        "What does the camera do?",
        f"It {CAMERA[own]}.",
        tuple(f"It {CAMERA[name]}." for name in options),
    )
    asked, answer = (own, "yes") if rng.random() < 0.5 else (rng.choice(others), "no")
    yield _draft(facts, "yes_no", "camera", f"Is it true that the camera {CAMERA[asked]}?", answer)


_LEVELS = {
    "motion": {"still": "none at all", "high": "very much"},
    "brightness": {"dark": "dark", "bright": "bright"},
}


def _level(
    facts: Facts, rng: random.Random, fact: str, own: str | None, question: str
) -> Iterator[Draft]:
    """Only the two ends of a scale: its middle is a matter of taste."""
    if own is None:
        return
    words = _LEVELS[fact]
    yield _draft(facts, "choice", fact, question, words[own], _shuffled(rng, list(words.values())))
    asked = rng.choice(list(words))
    claim = {
        "still": "Is the picture completely still?",
        "high": "Is there very much motion in the picture?",
        "dark": "Is the picture dark?",
        "bright": "Is the picture bright?",
    }[asked]
    yield _draft(facts, "yes_no", fact, claim, "yes" if asked == own else "no")


def _colour(facts: Facts, rng: random.Random) -> Iterator[Draft]:
    own = facts.colour
    if own is None:
        return
    wrong = [name for name in ALIKE if not _alike(own, name) and name not in facts.colours]
    question = "Which of these colours covers the most of the picture?"
    if len(wrong) >= 3:
        options = _shuffled(rng, [own, *rng.sample(wrong, 3)])
        yield _draft(facts, "choice", "colour", question, own, options)
    if wrong:
        asked, answer = (own, "yes") if rng.random() < 0.5 else (rng.choice(wrong), "no")
        yield _draft(
            facts, "yes_no", "colour", f"Is {asked} the main colour of the picture?", answer
        )
    if facts.colours <= {own}:
        yield _draft(facts, "open", "colour", "What is the main colour of the picture?", own)


def _speech(facts: Facts, rng: random.Random, others: frozenset[str]) -> Iterator[Draft]:
    if not facts.words:
        return
    if len(facts.said) <= _LONGEST_ANSWER:
        yield _draft(facts, "open", "asr", "What is said?", facts.said)
    counts = Counter(word for word in facts.words if len(word) >= _SHORTEST_WORD)
    for word, count in counts.items():
        if count > 1:
            question = f'How many times is the word "{word}" said?'
            yield _draft(facts, "counting", "asr", question, str(count), at=_spoken(facts, word))
    once = [word for word, count in counts.items() if count == 1]  # in order of speech
    if len(once) >= 2:
        early, late = sorted(rng.sample(range(len(once)), 2))
        first, second = once[early], once[late]
        options = _shuffled(rng, [first, second])
        yield _draft(
            facts,
            "order",
            "asr",
            f'Which word is said first, "{options[0]}" or "{options[1]}"?',
            first,
            options,
            (*_spoken(facts, first), *_spoken(facts, second)),
        )
    if once and facts.times:
        word = rng.choice(once)
        at = _spoken(facts, word)
        after = at[0].start_s - facts.span.start_s
        yield _draft(
            facts,
            "temporal",
            "asr",
            f'At which second of the clip is the word "{word}" said?',
            f"{after:.1f}",
            at=at,
        )
    # Without a word known to be missing every answer would be yes, which teaches to say yes.
    missing = sorted(w for w in others - set(facts.words) if len(w) >= _SHORTEST_WORD)
    if missing and counts:
        asked = rng.choice(sorted(counts) if rng.random() < 0.5 else missing)
        heard = asked in counts
        yield _draft(
            facts,
            "yes_no",
            "asr",
            f'Is the word "{asked}" said?',
            "yes" if heard else "no",
            at=_spoken(facts, asked) if heard else (),
        )


def _screen(facts: Facts) -> Iterator[Draft]:
    if facts.seen and len(facts.seen) <= _LONGEST_ANSWER:
        yield _draft(facts, "open", "ocr", "What text can be read in the picture?", facts.seen)


def _contrasts(first: Facts, second: Facts) -> Iterator[tuple[str, str, str]]:
    """(fact, phrase for the first, phrase for the second) where the two differ clearly."""
    if first.camera in CAMERA and second.camera in CAMERA and first.camera != second.camera:
        phrases = [
            f"the part where the camera {CAMERA[name]}" for name in (first.camera, second.camera)
        ]
        yield "camera", phrases[0], phrases[1]
    if first.colour and second.colour and not _alike(first.colour, second.colour):
        yield (
            "colour",
            f"the part that is mostly {first.colour}",
            f"the part that is mostly {second.colour}",
        )
    if first.brightness and second.brightness and first.brightness != second.brightness:
        yield "brightness", f"the {first.brightness} part", f"the {second.brightness} part"


def _draft(
    facts: Facts,
    type: Type,
    fact: str,
    question: str,
    answer: str,
    options: tuple[str, ...] = (),
    at: tuple[Span, ...] = (),
) -> Draft:
    return Draft(type, fact, question, answer, at or (facts.span,), options)


def _spoken(facts: Facts, word: str) -> tuple[Span, ...]:
    """When a word is said, as often as it is; empty where no transcript says."""
    return tuple(span for own, span in zip(facts.words, facts.times, strict=False) if own == word)


def _seconds(span: Span) -> str:
    return f"{span.duration_s:.1f} seconds"


def _alike(one: str, two: str) -> bool:
    return one == two or two in ALIKE[one] or one in ALIKE[two]


def _shuffled(rng: random.Random, items: list[str]) -> tuple[str, ...]:
    return tuple(rng.sample(items, len(items)))
