"""The filter and the judge against captions that were planted: wrong ones should go, right ones
should stay.

A clip of one scene comes with a caption that is true of it, or another scene's, or wrong in one
slot. It is judged where the run scored the clip by that text; what other rules dropped (a still
picture, a short clip) says nothing about captions and is left out. The teacher's verdicts are also
looked at alone, whatever else the filter heard: by the kind of error, as balanced accuracy, because
right captions are as often asked about as wrong ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from clipmill.pipeline.selfcheck.figures import Case, Figure, Miss, share
from clipmill.schemas.records import Segment

KINDS = {
    "another scene's": ("wrong_caption",),
    "one slot wrong": ("wrong_object", "wrong_colour", "wrong_background"),
    "wrong motion": ("wrong_motion",),
}
"""Kinds of wrong captions, by how hard they are to see."""


def planted(
    cases: list[Case], reasons: Mapping[tuple[str, str], str | None], scores: Sequence[str]
) -> list[Figure]:
    """Shares of planted captions dropped, by kind, and of right ones kept.

    `reasons` says for (video, segment) why it was dropped, None where it was kept; a reason that
    names one of `scores` is the filter's. Clips without a verdict are not judged; without scores
    none is.
    """
    names = {kind: f"captions dropped, {kind}" for kind in KINDS} | {"": "right captions kept"}
    counts = {kind: [0, 0] for kind in names}  # (as it should be, judged)
    misses: dict[str, list[Miss]] = {kind: [] for kind in names}
    for case, first in _captioned(cases):
        given = case.truth.given_caption
        known = [name for name in scores if name in first.scores]
        if not known:
            continue
        verdict = reasons.get((case.video.id, first.id), "")
        if verdict is not None and not any(name in verdict for name in scores):
            continue
        kind = _kind(case)
        right = (verdict is not None) == bool(kind)
        counts[kind][0] += right
        counts[kind][1] += 1
        if not right:
            told = ", ".join(f"{name} {first.scores[name]:.3f}" for name in known)
            what = "kept though wrong" if kind else "dropped"
            misses[kind].append(case.miss(0.0, f"{what}: {given!r} ({told})"))
    if not any(judged for _, judged in counts.values()):
        return [Figure("filter", name, None, note="not in this recipe") for name in names.values()]
    return [
        share("filter", name, counts[kind][0], counts[kind][1], None, 0.95, misses[kind])
        for kind, name in names.items()
    ]


def judged(cases: list[Case], names: Sequence[str]) -> list[Figure]:
    """Balanced accuracy of verdicts by kind of wrong caption; a caption fits where every
    one of them finds nothing wrong.
    """
    shown = {kind: f"{kind} caption told from right ones (balanced)" for kind in KINDS}
    verdicts: dict[str, list[bool]] = {kind: [] for kind in ("", *KINDS)}
    misses: dict[str, list[Miss]] = {kind: [] for kind in verdicts}
    for case, first in _captioned(cases):
        known = [name for name in names if name in first.scores]
        if not known:
            continue
        kind = _kind(case)
        wrong = any(first.scores[name] < 1 for name in known)
        verdicts[kind].append(wrong == bool(kind))
        if wrong != bool(kind):
            found = ", ".join(first.labels.get(f"{name}_wrong", "") for name in known)
            what = f"found wrong: {found}; the caption: {case.truth.given_caption!r}"
            misses[kind].append(case.miss(0.0, what))
    if not any(verdicts.values()):
        return [Figure("judge", name, None, note="not in this recipe") for name in shown.values()]
    figures = []
    for kind, name in shown.items():
        both = verdicts[""], verdicts[kind]
        value = sum(sum(own) / len(own) for own in both) / 2 if all(both) else None
        seen = misses[kind] + (misses[""] if kind == "wrong motion" else [])
        figures.append(Figure("judge", name, value, len(both[1]), bar=0.9, misses=seen))
    return figures


def _captioned(cases: list[Case]) -> Iterator[tuple[Case, Segment]]:
    """Cases that were given a caption, with the shot of their first scene, where it bears it."""
    for case in cases:
        first = next((shot for scene, shot in case.scenes() if scene.index == 0), None)
        given = case.truth.given_caption
        if first is not None and given and any(text.text == given for text in first.texts):
            yield case, first


def _kind(case: Case) -> str:
    """The kind of wrong caption that a case came with; empty where it is right."""
    return next((kind for kind, own in KINDS.items() if case.truth.variant in own), "")
