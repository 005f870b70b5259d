"""The filter against captions that were planted: wrong ones should go, right ones should stay.

A clip of one scene comes with a caption that is true of it, or another scene's, or wrong in one
slot. It is judged where the run scored the clip by that text; what other rules dropped (a still
picture, a short clip) says nothing about captions and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clipmill.pipeline.selfcheck.figures import Case, Figure, Miss, share

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
    for case in cases:
        first = next((shot for scene, shot in case.scenes() if scene.index == 0), None)
        given = case.truth.given_caption
        known = [name for name in scores if first is not None and name in first.scores]
        if first is None or not given or not known:
            continue
        if all(text.text != given for text in first.texts):
            continue
        verdict = reasons.get((case.video.id, first.id), "")
        if verdict is not None and not any(name in verdict for name in scores):
            continue
        kind = next((kind for kind, own in KINDS.items() if case.truth.variant in own), "")
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
