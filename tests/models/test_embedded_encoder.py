"""The encoder that ships knows a right caption, on combinations it never met.

Figures over hundreds of clips stand in `infra/embedded_models/measured`; the few dozen here keep
them from rotting, so the bars lie below those figures by what so few clips scatter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clipmill.stages.models.embedded import embedded_folder
from clipmill.stages.models.encoder import EncoderSettings

pytestmark = pytest.mark.models


def test_the_encoder_is_safetensors_of_at_most_12_megabytes_and_known_by_content() -> None:
    weights = list(embedded_folder("encoder").glob("*.safetensors"))
    assert len(weights) == 1 and weights[0].stat().st_size <= 12_000_000
    settings = EncoderSettings(model="embedded")
    assert settings.model == "embedded"  # no path of this machine in a recipe
    assert settings.model_identity().name == "clipmill-world-clip"
    assert len(settings.model_identity().revision) == 32


def test_no_thing_of_a_training_scene_is_a_combination_held_out_for_tests(evaluate: Any) -> None:
    import scenes  # type: ignore[import-not-found]

    rng = np.random.default_rng(5)
    taught = [scenes.draw_scene(rng, test=False) for _ in range(200)]
    asked = [scenes.draw_scene(rng, test=True) for _ in range(200)]
    held = {_combination(scene) for scene in asked}
    assert not held & {_combination(scene) for scene in taught}
    for slot in range(4):  # the parts themselves are all taught
        assert {key[slot] for key in held} <= {_combination(scene)[slot] for scene in taught}


def test_the_encoder_prefers_the_right_caption(evaluate: Any) -> None:
    areas = evaluate.examine_encoder("embedded", 60)
    assert areas["random"] >= 0.95
    assert min(areas[slot] for slot in ("object", "colour", "background")) >= 0.9
    assert areas["random, scrambled"] <= 0.7


def _combination(scene: Any) -> tuple[str, str, str, str]:
    thing = scene.things[0]
    return thing.shape, thing.colour, thing.motion, scene.backdrop
