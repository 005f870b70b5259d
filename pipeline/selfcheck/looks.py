"""What was measured and read in the picture: camera, main colour, words on the screen.

Only what the drawing decides is judged. A moving camera cannot be seen before a plain backdrop, and
light gray is as near to white as to gray; where a person could answer two ways there is no miss.
"""

from __future__ import annotations

from clipmill.pipeline.selfcheck.figures import Case, Figure, share
from clipmill.pipeline.selfcheck.speech import words_of
from clipmill.schemas.records import Segment
from clipmill.stages.compose.truth import SceneTruth
from clipmill.stages.compose.world import TEXTURED

_COLOURS: dict[str, frozenset[str]] = {
    "grass": frozenset({"green"}),
    "water": frozenset({"blue", "cyan"}),
    "stripes": frozenset({"grey"}),
    "checker": frozenset({"grey"}),
}
"""Backdrops whose main colour has one name; the sky is blue or white by its clouds."""
_TEXT_VARIANTS = ("watermark", "text_heavy")
"""Videos that carry text beside the scenes' words."""


def main_colours(scene: SceneTruth) -> frozenset[str]:
    """Right names of the picture's main colour; empty where the drawing does not decide."""
    if scene.backdrop == "plain":
        return frozenset({"grey"}) if scene.tone == "gray" else frozenset()
    return _COLOURS.get(scene.backdrop, frozenset())


def describe_clip(cases: list[Case]) -> list[Figure]:
    """Share of scenes with the right camera label, and with the right main colour."""
    judged = [(case, scene, shot) for case in cases for scene, shot in case.scenes()]
    camera = [
        (case, scene, shot, frozenset({scene.camera}))
        for case, scene, shot in judged
        if scene.backdrop in TEXTURED
    ]
    colour = [
        (case, scene, shot, right) for case, scene, shot in judged if (right := main_colours(scene))
    ]
    return [_labelled("camera", camera), _labelled("colour", colour)]


def _labelled(
    label: str, judged: list[tuple[Case, SceneTruth, Segment | None, frozenset[str]]]
) -> Figure:
    name = {"camera": "camera move named", "colour": "main colour named"}[label]
    found = [item for item in judged if item[2] is not None]
    if not any(label in shot.labels for case, *_ in judged for shot in case.shots) and judged:
        return Figure("describe_clip", name, None, note="not in this recipe")
    misses = [
        case.miss(
            scene.start_s,
            f"{label} is {'/'.join(sorted(right))} before {scene.backdrop},"
            f" labelled {shot.labels.get(label, 'nothing')}",
        )
        for case, scene, shot, right in found
        if shot is not None and shot.labels.get(label) not in right
    ]
    right_count = len(found) - len(misses)
    return share("describe_clip", name, right_count, len(judged), len(found), misses=misses)


def read_ocr(cases: list[Case]) -> list[Figure]:
    """Share of words on the screen that were read, and of scenes without false text."""
    shown = reachable = hits = clean = quiet = 0
    missed, false = [], []
    ran = any("text_area" in shot.scores for case in cases for shot in case.shots)
    for case in cases:
        for scene, shot in case.scenes():
            read = (
                {word for text in shot.texts_of("ocr") for word in words_of(text.text)}
                if shot
                else set()
            )
            right = set(words_of(scene.word))
            if right:
                shown += 1
                reachable += shot is not None
                hits += right <= read
                if shot and not right <= read:
                    missed.append(case.miss(scene.start_s, f"{scene.word} was not read"))
            if shot and case.truth.variant not in _TEXT_VARIANTS:
                clean += 1
                quiet += read <= right
                if not read <= right:
                    what = " ".join(sorted(read - right))
                    false.append(case.miss(scene.start_s, f"read {what!r}, which is not there"))
    if not ran:
        note = "not in this recipe"
        return [
            Figure("read_ocr", name, None, note=note) for name in ("words read", "no false text")
        ]
    return [
        share("read_ocr", "words on the screen read", hits, shown, reachable, misses=missed),
        share("read_ocr", "scenes without false text", quiet, clean, misses=false),
    ]
