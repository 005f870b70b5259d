"""Shortcuts that were planted are found, each by its own guesser; sets without any pass."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clipmill.pipeline.output import audit_shortcuts
from clipmill.pipeline.output.audit_shortcuts import Audit, Item, at_least, audit, judge
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import ClipmillError

NAMES = ["alpha", "bravo", "delta", "gamma", "kappa", "sigma", "theta", "omega"]


def fair(number: int, rng: random.Random) -> Item:
    """Four names of one length, one of them right, at any place; and a frame of noise."""
    options = rng.sample(NAMES, 4)
    frame = np.random.default_rng(number).normal(size=16).astype(np.float32)
    video = f"video {number // 2}"
    answer = rng.choice(options)
    return Item(
        video, "whole-00000", f"qa:{number}", "pick", "Which?", answer, tuple(options), frame
    )


def changed(item: Item, **values: object) -> Item:
    return Item(**{**item.__dict__, **values})


def favourite(item: Item, rng: random.Random) -> Item:
    rest = [name for name in item.options if name != "alpha"][:3]
    return changed(item, options=tuple(rng.sample(["alpha", *rest], 4)), answer="alpha")


def second(item: Item, rng: random.Random) -> Item:
    return changed(item, answer=item.options[1])


def wordy(item: Item, rng: random.Random) -> Item:
    told = f"{item.answer} {rng.choice(NAMES)} {rng.choice(NAMES)}"
    options = tuple(told if option == item.answer else option for option in item.options)
    return changed(item, options=options, answer=told)


def derived(item: Item, rng: random.Random) -> Item:
    """Wrong options each change another word of the right one, which stays like all of them."""
    words = rng.sample(NAMES, 3)
    wrong = [" ".join([*words[:n], f"other{rng.randrange(9)}", *words[n + 1 :]]) for n in range(3)]
    right = " ".join(words)
    return changed(item, options=tuple(rng.sample([right, *wrong], 4)), answer=right)


def clumsy(item: Item, rng: random.Random) -> Item:
    """Words that only right options have, at places and lengths that say nothing."""
    sure = {name: f"{name} surely" for name in item.options}
    maybe = {name: f"{name} mayhap" for name in item.options}
    options = tuple((sure if o == item.answer else maybe)[o] for o in item.options)
    return changed(item, options=options, answer=sure[item.answer])


def visible(item: Item, rng: random.Random) -> Item:
    frame = np.zeros(16, np.float32)
    frame[NAMES.index(item.answer)] = 1
    return changed(item, frame=frame + np.random.default_rng(1).normal(size=16) * 0.1)


PLANTED: dict[str, Callable[[Item, random.Random], Item]] = {
    "prior": favourite,
    "position": second,
    "length": wordy,
    "centrality": derived,
    "words": clumsy,
    "frame": visible,
}


def hold(found: Audit, guesser: str) -> None:
    """The acceptance: the guesser whose shortcut was planted finds it, and tags its questions."""
    leaking = {f.guesser: f for f in found.findings if f.leaks}
    assert guesser in leaking and leaking[guesser].accuracy > 0.8
    assert sum(guesser in names for names in found.leaky.values()) == leaking[guesser].right


def items(change: Callable[[Item, random.Random], Item] | None, seed: int = 0) -> list[Item]:
    rng = random.Random(seed)
    plain = [fair(number, rng) for number in range(120)]
    return [change(item, rng) for item in plain] if change else plain


@pytest.mark.parametrize("guesser", PLANTED)
def test_a_planted_shortcut_is_found_by_its_guesser(guesser: str) -> None:
    hold(judge(items(PLANTED[guesser])), guesser)


@pytest.mark.parametrize("guesser", PLANTED)
def test_without_its_guesser_a_shortcut_passes_unseen(
    guesser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind = {name: guess for name, guess in audit_shortcuts.GUESSERS.items() if name != guesser}
    monkeypatch.setattr(audit_shortcuts, "GUESSERS", blind)
    with pytest.raises(AssertionError):
        hold(judge(items(PLANTED[guesser])), guesser)


def test_fair_sets_pass() -> None:
    alarms = [seed for seed in range(60) if not judge(items(None, seed)).ok]
    assert len(alarms) <= 2, alarms  # 0.6 expected


def test_the_probability_of_guessing_right_is_exact() -> None:
    assert at_least(0, [0.25] * 4) == pytest.approx(1)
    assert at_least(4, [0.25] * 4) == pytest.approx(0.25**4)
    assert at_least(1, [0.5, 0.25]) == pytest.approx(1 - 0.5 * 0.75)
    many = [0.25] * 1500
    assert at_least(375, many) == pytest.approx(0.51, abs=0.02)
    assert at_least(450, many) < 1e-4


def test_a_guess_never_learns_from_its_own_video() -> None:
    """Both questions of a video share an answer that no other video has."""
    pairs = [
        Item(f"video {n}", "whole-00000", f"qa:{k}", "name", "Who?", f"person {n}", ())
        for n in range(40)
        for k in range(2)
    ]
    assert all(finding.right == 0 for finding in judge(pairs).findings)


def test_an_output_without_questions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClipmillError):
        audit(Store.open(str(tmp_path / "none")))
