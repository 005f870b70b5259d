"""The filter against captions that were planted: wrong ones should go, right ones should stay.

A caption that came with a video is true of its first scene, or was written for another one. It is
judged where the run has it as a text of that scene's clip and scored clips by some text; what
other rules dropped (a still picture, a short clip) says nothing about captions and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping

from clipmill.pipeline.selfcheck.figures import Case, Figure, share

WRONG = "wrong_caption"


def planted(
    cases: list[Case], reasons: Mapping[tuple[str, str], str | None], score: str
) -> list[Figure]:
    """Shares of planted captions dropped, and of right ones kept.

    `reasons` says for (video, segment) why it was dropped, None where it was kept; a reason that
    names `score` is the filter's. Clips without a verdict are not judged; without a score none is.
    """
    names = ("wrong captions dropped", "right captions kept")
    counts = {True: [0, 0], False: [0, 0]}  # wrong or not -> (as it should be, judged)
    misses = []
    for case in cases:
        first = next((shot for scene, shot in case.scenes() if scene.index == 0), None)
        given = case.truth.given_caption
        if first is None or not given or not score or score not in first.scores:
            continue
        if all(text.text != given for text in first.texts):
            continue
        verdict = reasons.get((case.video.id, first.id), "")
        if verdict is not None and score not in verdict:
            continue
        wrong, dropped = case.truth.variant == WRONG, verdict is not None
        counts[wrong][0] += wrong == dropped
        counts[wrong][1] += 1
        if wrong != dropped:
            what = "dropped" if dropped else "kept though wrong"
            misses.append(case.miss(0.0, f"{what}: {given!r} ({first.scores[score]:.3f})"))
    if not counts[True][1] + counts[False][1]:
        return [Figure("filter", name, None, note="not in this recipe") for name in names]
    figures = []
    for name, wrong, start in zip(names, (True, False), ("kept", "dropped"), strict=True):
        right, judged = counts[wrong]
        own = [miss for miss in misses if miss.what.startswith(start)]
        figures.append(share("filter", name, right, judged, None, 0.95, own))
    return figures
