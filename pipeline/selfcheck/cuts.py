"""Shots against the true borders: hard cuts to the frame, gradual ones found, disturbances ignored.

A border is where one shot ends and the next begins; a splitter that leaves a dissolve out of both
has a border that lasts. Each true border can be found once: a second border in the same dissolve is
one too many, and counts against the precision of the cuts.
"""

from __future__ import annotations

from itertools import pairwise

from clipmill.pipeline.selfcheck.figures import (
    GRADUAL_FRAMES,
    HARD_FRAMES,
    Case,
    Figure,
    Miss,
    share,
)
from clipmill.stages.compose.truth import Moment

Border = tuple[float, float]

_STAGE = "split"
_ROUNDING = 1e-3


def split(cases: list[Case]) -> list[Figure]:
    """F1 of hard cuts; shares of gradual borders found, of flashes and whip pans left whole."""
    hits = wrong = cuts = found = gradual = quiet = upsets = 0
    cut_misses: list[Miss] = []
    gradual_misses: list[Miss] = []
    upset_misses: list[Miss] = []
    for case in cases:
        truth = case.truth
        left = borders(case)
        for moment in truth.transitions:
            gradual += 1
            near = [border for border in left if _within(border, moment, case.frame_s)]
            found += bool(near)
            if near:
                left.remove(near[0])
            else:
                gradual_misses.append(case.miss(moment.start_s, f"no border at a {moment.kind}"))
        for cut in truth.cuts:
            cuts += 1
            room = HARD_FRAMES * case.frame_s + _ROUNDING
            match = next((b for b in left if all(abs(at - cut.seconds) <= room for at in b)), None)
            if match is None:
                cut_misses.append(case.miss(cut.seconds, "a cut was not found"))
            else:
                hits += 1
                left.remove(match)
        wrong += len(left)
        cut_misses += [case.miss(border[0], "no cut is here") for border in left]
        for moment in truth.upsets:
            upsets += 1
            hurt = any(_within(border, moment, case.frame_s) for border in borders(case))
            quiet += not hurt
            if hurt:
                upset_misses.append(case.miss(moment.start_s, f"a {moment.kind} was cut"))
    total = 2 * hits + wrong + (cuts - hits)
    f1 = 2 * hits / total if total else None
    return [
        Figure(
            _STAGE,
            "hard cuts, F1 within 1 frame",
            f1,
            cuts,
            bar=0.99,
            note=f"{cuts - hits} missed, {wrong} too many" if total else "no cuts in these videos",
            misses=cut_misses,
        ),
        share(_STAGE, "dissolves and fades found", found, gradual, None, 0.9, gradual_misses),
        share(_STAGE, "flashes and whip pans left whole", quiet, upsets, None, 0.95, upset_misses),
    ]


def borders(case: Case) -> list[Border]:
    """(end of a shot, start of the next) in seconds, in time order."""
    return [(one.span.end_s, two.span.start_s) for one, two in pairwise(case.shots)]


def found_scenes(cases: list[Case]) -> Figure:
    """How many scenes have a shot of their own: the ceiling of everything said about clips."""
    pairs = [(case, scene, shot) for case in cases for scene, shot in case.scenes()]
    misses = [
        case.miss(scene.start_s, f"scene {scene.index} has no shot of its own")
        for case, scene, shot in pairs
        if shot is None
    ]
    return share(
        _STAGE, "scenes with their own shot", len(pairs) - len(misses), len(pairs), misses=misses
    )


def _within(border: Border, moment: Moment, frame_s: float) -> bool:
    room = GRADUAL_FRAMES * frame_s + _ROUNDING
    return border[1] >= moment.start_s - room and border[0] <= moment.end_s + room
