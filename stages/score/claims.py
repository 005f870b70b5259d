"""Claims with their verdicts, and what is counted over them.

Against pictures a claim that they do not decide counts neither way, because a few frames do not
show everything; against a reference, which is taken to say all that matters, it counts as not said
(the events of DREAM-1K are counted so). A share of nothing is absent and not a zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from clipmill.stages.models.teacher_stage import one_line


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence that is true or false by itself, and its kind where claims are sorted."""

    text: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """A claim with the verdict (true, false, unseen) and what was found of it."""

    claim: Claim
    verdict: str
    shown: str


def seen_scores(judged: Sequence[Judged], kinds: Sequence[str]) -> dict[str, float]:
    """`true`: share of the decided claims; `seen`: share that is decided; each also by kind."""
    scores: dict[str, float] = {}
    for suffix, own in _by_kind(judged, kinds):
        decided = [one.verdict for one in own if one.verdict != "unseen"]
        if own:
            scores[f"seen{suffix}"] = len(decided) / len(own)
        if decided:
            scores[f"true{suffix}"] = decided.count("true") / len(decided)
    return scores


def matched_scores(
    said: Sequence[Judged], meant: Sequence[Judged], kinds: Sequence[str]
) -> dict[str, float]:
    """`precision` of what is said, `recall` of what is meant, and their `f1`; also by kind."""
    scores: dict[str, float] = {}
    for (suffix, own), (_, theirs) in zip(
        _by_kind(said, kinds), _by_kind(meant, kinds), strict=True
    ):
        if own:
            scores[f"precision{suffix}"] = _true(own)
        if theirs:
            scores[f"recall{suffix}"] = _true(theirs)
        if own and theirs:
            a, b = _true(own), _true(theirs)
            scores[f"f1{suffix}"] = 2 * a * b / (a + b) if a + b else 0.0
    return scores


def measured(reference: bool, kinds: Sequence[str]) -> set[str]:
    """Names of all scores there may be."""
    measures = ("precision", "recall", "f1") if reference else ("true", "seen")
    return {f"{name}{kind}" for name in measures for kind in ("", *(f"_{k}" for k in kinds))}


def claims_of(value: Any) -> list[Claim]:
    """Claims of a reply that keeps its schema."""
    return [
        Claim(one_line(item)) if isinstance(item, str)
        else Claim(one_line(item["claim"]), item["kind"])
        for item in value["claims"]
    ]  # fmt: skip


def _by_kind(
    judged: Sequence[Judged], kinds: Sequence[str]
) -> Iterator[tuple[str, Sequence[Judged]]]:
    """(suffix of a score, claims): all of them, then those of each kind."""
    yield "", judged
    for kind in kinds:
        yield f"_{kind}", [one for one in judged if one.claim.kind == kind]


def _true(judged: Sequence[Judged]) -> float:
    return sum(one.verdict == "true" for one in judged) / len(judged)
