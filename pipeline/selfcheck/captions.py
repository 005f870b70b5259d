"""Captions against the scene: which object, colour, motion and background they name.

A caption is read with the words of the drawn world, and with no others: what it does not name is
wrong, and so is what cannot be read. Where several things are named the first counts, as in the
truth. A caption that is wrong for its own scene and right for another of the same run may have
been attached to the wrong clip, which is counted apart, because it is another kind of error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from clipmill.pipeline.selfcheck.figures import Case, Figure, share
from clipmill.schemas.records import Segment
from clipmill.stages.compose.altered import SLOTS
from clipmill.stages.compose.truth import SceneTruth
from clipmill.stages.compose.world import COLOURS, SHAPES, SIZES

CHANCE = 1 / 8

_THING = re.compile(
    rf"\b(?:(?:{'|'.join(SIZES)}) )?(?:({'|'.join(COLOURS)}) )?({'|'.join(SHAPES)})\b"
)
_MOTIONS = {
    "left": r"(?:moves|travels) to the left|moving from right to left",
    "right": r"(?:moves|travels) to the right|moving from left to right",
    "up": r"(?:moves|goes) up|moving upwards",
    "down": r"(?:moves|goes) down|moving downwards",
    "grow": r"grows larger|(?:is )?getting bigger",
    "shrink": r"(?:gets|is getting) smaller|becomes very small|shrinking",
    "rotate": r"(?:turns|spins) around|spinning in place",
    "still": r"stays still|(?<!camera )does not move|(?:is )?not moving",
}
_MOTION = re.compile("|".join(f"(?P<{name}>{form})" for name, form in _MOTIONS.items()))
_BACKDROPS = {
    "plain": r"plain (?:(?:light |dark )?gray )?background",
    "gradient": r"smooth gradient",
    "stripes": r"gray stripes|front of the lines",
    "checker": r"checkered floor",
    "grass": r"(?:green|the) grass",
    "sand": r"desert",
    "water": r"(?:blue|the) water",
    "sky": r"(?:cloudy|the) sky",
}
_BACKDROP = re.compile("|".join(f"(?P<{name}>{form})" for name, form in _BACKDROPS.items()))


def slots_of(caption: str) -> dict[str, str]:
    """What a caption names, by slot; an empty word where it names nothing of the kind."""
    text = " ".join(caption.casefold().split())
    thing, motion, place = (form.search(text) for form in (_THING, _MOTION, _BACKDROP))
    return {
        "object": thing[2] if thing else "",
        "colour": (thing[1] or "") if thing else "",
        "motion": (motion.lastgroup or "") if motion else "",
        "background": (place.lastgroup or "") if place else "",
    }


def true_slots(scene: SceneTruth) -> dict[str, str]:
    """The same of the scene's first thing and backdrop."""
    return {slot: value for slot, value in scene.slots().items() if slot in SLOTS}


@dataclass(frozen=True, slots=True)
class Told:
    """A caption beside its truth, for people to read."""

    video: str
    seconds: float
    caption: str
    truth: str


def captions(cases: list[Case], role: str = "caption") -> list[Figure]:
    """Share of scenes whose caption of `role` has each slot right, and all of them.

    Under a moving camera it is a matter of taste what moves: those scenes are left out.
    """
    judged = [pair for case in cases for pair in _under_still_camera(case)]
    names = [f"{slot} right" for slot in (*SLOTS, "all four")]
    stage = "caption_clip"
    if not any(shot.texts_of(role) for case in cases for shot in case.shots):
        return [Figure(stage, name, None, note="not in this recipe") for name in names]
    found = [(case, scene, shot) for case, scene, shot in judged if shot is not None]
    read = [(case, scene, slots_of(_last(shot, role))) for case, scene, shot in found]
    figures = []
    for slot in SLOTS:
        misses = [
            case.miss(
                scene.start_s,
                f"{slot} is {true_slots(scene)[slot]}, told {told[slot] or 'nothing'}",
            )
            for case, scene, told in read
            if told[slot] != true_slots(scene)[slot]
        ]
        right = len(read) - len(misses)
        figures.append(share(stage, f"{slot} right", right, len(judged), len(found), 0.95, misses))
    whole = sum(told == true_slots(scene) for _, scene, told in read)
    figures.append(share(stage, "all four right", whole, len(judged), len(found)))
    known = [true_slots(scene) for case in cases for scene in case.truth.scenes]
    strangers = [
        case.miss(scene.start_s, "the caption is that of another scene")
        for case, scene, told in read
        if told != true_slots(scene) and told in known
    ]
    own = len(read) - len(strangers)
    figures.append(share(stage, "not that of another scene", own, len(read), misses=strangers))
    return figures


def from_noise(cases: list[Case], role: str = "caption") -> list[Figure]:
    """Share of slots told right of clips whose pixels are scrambled: what guessing achieves."""
    read = [
        (true_slots(scene), slots_of(_last(shot, role)))
        for case in cases
        for scene, shot in case.scenes()
        if shot is not None and shot.texts_of(role)
    ]
    name = "slots right, pixels scrambled"
    if not read:
        return [Figure("caption_clip", name, None, note="not in this recipe")]
    right = sum(told[slot] == true[slot] for true, told in read for slot in SLOTS)
    count = len(SLOTS) * len(read)
    # Every slot has eight values; the bar is chance and twice what so few guesses scatter.
    bar = CHANCE + 2 * (CHANCE * (1 - CHANCE) / count) ** 0.5
    return [Figure("caption_clip", name, right / count, count, bar=bar, lower=True)]


def told(cases: list[Case], role: str = "caption", most: int = 20) -> list[Told]:
    """Captions beside their truth, in order."""
    return [
        Told(case.video.id, round(scene.start_s, 2), _last(shot, role), scene.brief[0])
        for case in cases
        for scene, shot in case.scenes()
        if shot is not None and shot.texts_of(role)
    ][:most]


def _under_still_camera(case: Case) -> list[tuple[Case, SceneTruth, Segment | None]]:
    return [(case, scene, shot) for scene, shot in case.scenes() if scene.camera == "static"]


def _last(shot: Segment, role: str) -> str:
    texts = shot.texts_of(role)
    return texts[-1].text if texts else ""
