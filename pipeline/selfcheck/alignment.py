"""The encoder behind the caption filter: how well its scores tell right captions from wrong ones.

The run's own stored vectors of the clips are held against captions whose truth is known: right
ones, those of other scenes, and right ones with one word changed. The area under the ROC curve is
how often a right pair scores above a wrong one, over all pairs of all clips, because a filter has
one threshold for all of them. Motion is left out: an encoder of single frames cannot see it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from clipmill.pipeline.selfcheck.figures import Case, Figure
from clipmill.schemas.errors import ModelError
from clipmill.schemas.records import Segment
from clipmill.stages.compose.truth import SceneTruth
from clipmill.stages.models.encoder import Encoder, encoder_name, open_encoder
from clipmill.stages.score.score_alignment import ScoreAlignment

STAGE = "score_alignment"
BARS = {"another scene's": 0.98, "wrong object": 0.95, "wrong colour": 0.95}
BARS |= {"wrong background": 0.95}
OTHERS = 10
"""Captions of other scenes held against each clip."""


def alignment(cases: Sequence[Case], scorer: ScoreAlignment | None) -> list[Figure]:
    """Area under the curve for each kind of wrong caption, by the scorer of stored vectors."""
    names = {kind: f"right above {kind} caption (AUC)" for kind in BARS}
    stored = scorer.settings.embedding if scorer else None
    found = [
        (scene, vector)
        for case in cases
        for scene, shot in case.scenes()
        if shot is not None and (vector := _vector(shot, stored)) is not None
    ]
    if scorer is None or len(found) < 2:
        return [Figure(STAGE, name, None, note="not in this recipe") for name in names.values()]
    encoder = open_encoder(scorer.settings.encoder)
    encoder.setup()
    try:
        return _figures(found, encoder, names)
    finally:
        encoder.close()


def area(right: npt.NDArray[np.float32], wrong: npt.NDArray[np.float32]) -> float:
    """Area under the ROC curve; ties count half."""
    order = np.sort(wrong)
    below = np.searchsorted(order, right, "left") + np.searchsorted(order, right, "right")
    return float(below.mean() / (2 * len(wrong)))


def _figures(
    found: list[tuple[SceneTruth, tuple[str, npt.NDArray[np.float32]]]],
    encoder: Encoder,
    names: dict[str, str],
) -> list[Figure]:
    model = encoder_name(encoder.identity)
    if any(made != model for _, (made, _) in found):
        raise ModelError(
            "the clips' vectors are another model's", cure="give embed the scorer's encoder"
        )
    scenes = [scene for scene, _ in found]
    pictures = np.stack([vector for _, (_, vector) in found])
    texts = encoder.texts(
        [scene.brief[number % len(scene.brief)] for number, scene in enumerate(scenes)]
    )
    right = (pictures * texts).sum(1)
    told = [scene.slots() for scene in scenes]
    figures = []
    for kind, name in names.items():
        if kind == "another scene's":
            pairs = [
                float(pictures[one] @ texts[other])
                for one in range(len(scenes))
                for other in _strangers(one, told)
            ]
            wrong = np.array(pairs, np.float32)
        else:
            changed = encoder.texts([scene.wrong[kind.removeprefix("wrong ")] for scene in scenes])
            wrong = (pictures * changed).sum(1)
        value = area(right, wrong) if len(wrong) else None
        figures.append(Figure(STAGE, name, value, len(wrong), bar=BARS[kind]))
    return figures


def _strangers(one: int, told: Sequence[dict[str, str]]) -> list[int]:
    """The next scenes whose caption is not also true of this one."""
    seen = ("object", "colour", "background")
    circle = [(one + step) % len(told) for step in range(1, len(told))]
    return [n for n in circle if any(told[n][slot] != told[one][slot] for slot in seen)][:OTHERS]


def _vector(shot: Segment, name: str | None) -> tuple[str, npt.NDArray[np.float32]] | None:
    own = [one for one in shot.embeddings if one.name == name]
    return (own[-1].model, np.asarray(own[-1].vector, np.float32)) if own else None
