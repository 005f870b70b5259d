"""audit_shortcuts: which questions of an output can be answered without watching its videos.

One question says nothing: any guess may be right. So the set is judged, per task: guessers that see
no video, or one frame of it, learn from half of the videos and guess on the other, both ways. Where
one is right more often than chance allows, the set has a shortcut, and the questions it got right
are listed. It is a report and no stage, because a stage sees one video, and no decision, because
those judge clips.

Guessers without a model find what they look for and nothing else: a set that passes may still have
shortcuts that a language model knows from the world.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clipmill.pipeline.output.questions import fates
from clipmill.pipeline.output.tables import read_table, to_parquet
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import InputError
from clipmill.schemas.fingerprints import fingerprint

ALPHA = 0.01
"""Chance of a false alarm in a whole audit; divided among all its findings (Bonferroni)."""
MARGIN = 0.05
"""Accuracy above chance that counts; large sets make far smaller ones significant."""
TAGS = "audit/shortcuts.parquet"

_EXACT = 1000  # above so many questions the normal distribution is as good
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Item:
    """A question as a guesser may know it; `answer` is for scoring and for learning from others."""

    video: str
    segment: str
    sample: str
    task: str
    question: str
    answer: str
    options: tuple[str, ...]
    frame: NDArray[np.float32] | None = None
    half: int = 0  # of the videos; guesses on one are learnt from the other


@dataclass(frozen=True, slots=True)
class Finding:
    """How often one guesser is right on one task. `chance` is the accuracy of a blind draw."""

    task: str
    guesser: str
    asked: int
    right: int
    chance: float
    p_value: float
    leaks: bool

    @property
    def accuracy(self) -> float:
        return self.right / self.asked if self.asked else 0.0


@dataclass(slots=True)
class Audit:
    """All findings; `leaky` are the questions that a leaking guesser answers, with its names."""

    findings: list[Finding] = field(default_factory=list)
    leaky: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not any(finding.leaks for finding in self.findings)


Guesser = Callable[[Sequence[Item]], list[str | None]]
"""Guesses for all questions of a task, each learnt from the other half; None has no guess."""


def audit(store: Store, embedding: str | None = None) -> Audit:
    """Judge the questions that decisions kept, and keep the tags as `audit/shortcuts.parquet`.

    `embedding` names vectors made of one frame; with them a guesser takes the answer of the most
    similar frame. Raises InputError where there are no questions, or no such vectors.
    """
    judged = judge(_items(store, embedding))
    rows = [
        {"video": video, "segment": segment, "sample": sample, "guessers": names}
        for (video, segment, sample), names in sorted(judged.leaky.items())
    ]
    kinds = [(name, pa.string()) for name in ("video", "segment", "sample")]
    schema = pa.schema([*kinds, ("guessers", pa.list_(pa.string()))])
    store.put(TAGS, to_parquet(pa.Table.from_pylist(rows, schema=schema)))
    return judged


def judge(items: Iterable[Item]) -> Audit:
    """Every guesser on every task."""
    by_task: dict[str, list[Item]] = defaultdict(list)
    for item in _halved(list(items)):
        by_task[item.task].append(item)
    scored = []
    for task, asked in sorted(by_task.items()):
        for name, guesser in GUESSERS.items():
            guesses = guesser(asked)
            pairs = [(i, g) for i, g in zip(asked, guesses, strict=True) if g is not None]
            if pairs:
                scored.append((task, name, pairs, _chances(asked, [i for i, _ in pairs])))
    result = Audit()
    for task, name, pairs, chances in scored:
        hits = [item for item, guess in pairs if guess == item.answer]
        p_value = _by_luck(pairs, chances)
        expected = float(np.mean(chances))
        leaks = p_value < ALPHA / len(scored) and len(hits) / len(pairs) > expected + MARGIN
        result.findings.append(Finding(task, name, len(pairs), len(hits), expected, p_value, leaks))
        for item in hits if leaks else ():
            result.leaky.setdefault((item.video, item.segment, item.sample), []).append(name)
    return result


def _by_luck(pairs: Sequence[tuple[Item, str]], chances: Sequence[float]) -> float:
    """Chance of so many right guesses: twice the smaller of what the two halves say.

    They are no independent tests: where both prefer one answer, both find it too often.
    """
    smallest = 1.0
    for half in (0, 1):
        own = [n for n, (item, _) in enumerate(pairs) if item.half == half]
        right = sum(pairs[n][1] == pairs[n][0].answer for n in own)
        smallest = min(smallest, at_least(right, [chances[n] for n in own]))
    return min(1.0, 2 * smallest)


def _halved(items: list[Item]) -> list[Item]:
    """Every other video, in an order that has nothing to do with their names."""
    videos = sorted({item.video for item in items}, key=fingerprint)
    half = {video: place % 2 for place, video in enumerate(videos)}
    return [replace(item, half=half[item.video]) for item in items]


def at_least(right: int, chances: Sequence[float]) -> float:
    """P(X >= right) where question k is guessed right with chance k (Poisson binomial)."""
    if len(chances) > _EXACT:
        mean = sum(chances)
        spread = math.sqrt(sum(p * (1 - p) for p in chances)) or 1e-9
        return 0.5 * math.erfc((right - 0.5 - mean) / spread / math.sqrt(2))
    shares = np.ones(1)
    for chance in chances:
        shares = np.convolve(shares, [1 - chance, chance])
    return float(min(1.0, shares[right:].sum()))


def _chances(asked: Sequence[Item], guessed: Sequence[Item]) -> list[float]:
    """Per question: one of its options, or one of all answers of the task where it has none."""
    distinct = len({item.answer for item in asked})
    return [1 / len(item.options) if item.options else 1 / distinct for item in guessed]


def _prior(items: Sequence[Item]) -> list[str | None]:
    """The answer that is right most often elsewhere, among the question's options."""
    learnt = _learnt(items, lambda item: [item.answer])
    found = []
    for item in items:
        elsewhere = learnt(item)
        known = {o: elsewhere[o] for o in (item.options or tuple(elsewhere)) if elsewhere[o]}
        found.append(max(sorted(known), key=known.__getitem__, default=None))
    return found


def _position(items: Sequence[Item]) -> list[str | None]:
    """The place among the options at which the right one stands most often."""
    return _ranked(items, lambda item: list(item.options))


def _length(items: Sequence[Item]) -> list[str | None]:
    """The option of the length, from shortest to longest, that is right most often."""
    return _ranked(items, _by_length)


def _centrality(items: Sequence[Item]) -> list[str | None]:
    """The option most or least like the others, whichever is right more often elsewhere.

    Wrong options made from the right one are all like it (TemporalBench).
    """
    return _ranked(items, _by_centrality)


def _words(items: Sequence[Item]) -> list[str | None]:
    """The option whose words stand more often in right than in wrong options elsewhere."""
    good = _learnt(items, lambda item: _words_of([item.answer]))
    bad = _learnt(items, lambda item: _words_of(o for o in item.options if o != item.answer))
    found: list[str | None] = []
    for item in items:
        right, wrong = good(item), bad(item)
        if not item.options or not right:
            found.append(None)
            continue
        weights = [
            np.mean([math.log((right[w] + 1) / (wrong[w] + 1)) for w in words] or [0.0])
            for words in (_words_of([option]) for option in item.options)
        ]
        found.append(item.options[int(np.argmax(weights))])
    return found


def _frame(items: Sequence[Item]) -> list[str | None]:
    """The answer whose single frames, in the other half, are on average most like this one."""
    found: list[str | None] = [None] * len(items)
    known = [n for n, item in enumerate(items) if item.frame is not None]
    if not known:
        return found
    vectors = np.stack([np.asarray(items[n].frame, np.float32) for n in known])
    # What all frames share (their style) would drown what tells them apart.
    vectors = vectors - vectors.mean(axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9
    for half in (0, 1):
        by_answer: dict[str, list[int]] = defaultdict(list)
        for row, n in enumerate(known):
            if items[n].half != half:
                by_answer[items[n].answer].append(row)
        if not by_answer:
            continue
        answers = list(by_answer)
        means = np.stack([vectors[rows].mean(axis=0) for rows in by_answer.values()])
        means /= np.linalg.norm(means, axis=1, keepdims=True) + 1e-9
        for row, n in enumerate(known):
            item = items[n]
            fits = [k for k, answer in enumerate(answers) if answer in (item.options or answers)]
            if item.half == half and fits:
                found[n] = answers[max(fits, key=lambda k: float(means[k] @ vectors[row]))]
    return found


GUESSERS: dict[str, Guesser] = {
    "prior": _prior,
    "position": _position,
    "length": _length,
    "centrality": _centrality,
    "words": _words,
    "frame": _frame,
}


def _ranked(items: Sequence[Item], order: Callable[[Item], list[str]]) -> list[str | None]:
    """The option at the rank, in some order of the options, that is right most often elsewhere."""
    ordered = {id(item): order(item) for item in items}

    def rank(item: Item) -> list[str]:
        options = ordered[id(item)]
        return [str(options.index(item.answer))] if item.answer in options else []

    learnt = _learnt(items, rank)
    found: list[str | None] = []
    for item in items:
        elsewhere, options = learnt(item), ordered[id(item)]
        ranks = [int(at) for at in elsewhere if int(at) < len(options)]
        best = max(sorted(ranks), key=lambda at: elsewhere[str(at)], default=None)
        found.append(options[best] if best is not None else None)
    return found


def _by_length(item: Item) -> list[str]:
    """From the shortest; none where all are of one length and have no such order."""
    lengths = {len(option) for option in item.options}
    return sorted(item.options, key=lambda o: (len(o), o)) if len(lengths) > 1 else []


def _by_centrality(item: Item) -> list[str]:
    sets = {option: set(_words_of([option])) for option in item.options}

    def central(option: str) -> float:
        others = [words for other, words in sets.items() if other != option]
        shared = [len(sets[option] & w) / max(1, len(sets[option] | w)) for w in others]
        return float(np.mean(shared)) if shared else 0.0

    return sorted(item.options, key=lambda option: (-central(option), option))


def _words_of(texts: Iterable[str]) -> list[str]:
    return [word for text in texts for word in _WORD.findall(text.casefold())]


def _learnt(
    items: Sequence[Item], of: Callable[[Item], list[str]]
) -> Callable[[Item], Counter[str]]:
    """Counts over the half of the videos that an item is not of.

    Leaving out one video at a time would learn almost the same from all: the option that happens to
    be right most often would be guessed everywhere, and be right more often than chance.
    """
    halves: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for item in items:
        halves[1 - item.half].update(of(item))
    return lambda item: halves[item.half]


def _items(store: Store, embedding: str | None) -> list[Item]:
    frames: dict[tuple[str, str], NDArray[np.float32]] = {}
    if embedding is not None:
        table = read_table(store, "embeddings")
        for row in table.to_pylist():
            if row["name"] == embedding:
                frames[row["video"], row["segment"]] = np.asarray(row["vector"], np.float32)
        if not frames:
            raise InputError(
                f"{store.uri} holds no vectors {embedding!r}",
                cure="let the recipe sample one frame a clip and embed it under that name",
            )
    dropped = fates(store)
    rows = read_table(store, "samples").to_pylist()
    items = [_item(row, frames) for row in rows if dropped(row) is None]
    if not items:
        raise InputError(
            f"{store.uri} holds no questions that are kept",
            cure="audit the output of a recipe with record_to_tasks, template_qa or generate_qa",
        )
    return items


def _item(row: dict[str, Any], frames: dict[tuple[str, str], NDArray[np.float32]]) -> Item:
    labels = dict(row["labels"] or [])
    return Item(
        row["video"],
        row["segment"],
        row["id"],
        labels.get("task") or labels.get("type") or row["kind"],
        row["question"],
        row["answer"],
        tuple(row["options"] or ()),
        frames.get((row["video"], row["segment"])),
    )
