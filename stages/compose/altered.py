"""A scene with exactly one thing changed: what a wrong caption is a right caption of.

Captions with one wrong word are the hard test of anything that compares captions with pictures. A
caption of another scene shares no word with the right one and is told apart by almost anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from clipmill.stages.compose.scenes import pick
from clipmill.stages.compose.wording import captions
from clipmill.stages.compose.world import (
    BACKDROPS,
    COLOURS,
    MOTIONS,
    PLAIN_TONES,
    SHAPES,
    Scene,
)

T = TypeVar("T")

SLOTS = ("object", "colour", "motion", "background")
"""What a brief caption names, of the scene's first thing and its backdrop."""


def altered(scene: Scene, slot: str, rng: np.random.Generator) -> Scene:
    """The scene with one slot of its first thing, or its backdrop, changed."""
    thing = scene.things[0]
    if slot == "background":
        kind = _other(rng, BACKDROPS, scene.backdrop)
        tone = pick(rng, list(PLAIN_TONES)) if kind == "plain" else ""
        return replace(scene, backdrop=kind, tone=tone)
    changed = {
        "object": lambda: replace(thing, shape=_other(rng, SHAPES, thing.shape)),
        "colour": lambda: replace(thing, colour=_other(rng, COLOURS, thing.colour)),
        "motion": lambda: replace(thing, motion=_other(rng, MOTIONS, thing.motion)),
    }[slot]()
    return replace(scene, things=(changed, *scene.things[1:]))


def wrong_captions(scene: Scene, rng: np.random.Generator) -> dict[str, str]:
    """Slot -> a brief caption that is wrong in this slot and right in all others."""
    return {slot: pick(rng, captions(altered(scene, slot, rng)).brief) for slot in SLOTS}


def _other(rng: np.random.Generator, values: Sequence[T], but: T) -> T:
    return pick(rng, [value for value in values if value != but])
