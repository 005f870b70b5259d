"""A set of questions is the same set however many workers made it and decisions cut it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clipmill.pipeline.engine.ray_engine import RayEngine
from clipmill.pipeline.engine.run import run
from clipmill.pipeline.output.questions import questions
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.pipeline.store.store import Store
from tests.rendered import render

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]
RECIPE = """
recipe: 1
name: counted
extends: text_qa/tgif_qa
stages:
  - probe_media: {}
    actors: 2
  - split_uniform: {window_s: 2, layer: whole}
    actors: 2
  - import_annotations: {labels: [count], foreign: 2}
    actors: 2
  - record_to_tasks: {layer: events, into: whole, tasks: [repetition, repeated, transition]}
    actors: 2
decide:
  - dedup_samples: {by: [answer], most: 2}
  - balance_samples: {label: task}
engine: {max_segments: 1}
"""


def rows(recipe: Path, source: Path, out: Path, engine: str) -> list[str]:
    summary = run(load_recipe(str(recipe)), str(source), str(out), engine=engine)
    assert set(summary.inputs) == {"packed"}, summary
    return sorted(json.dumps(row, sort_keys=True) for row in questions(Store.open(str(out))))


def test_many_workers_make_the_same_questions_and_keep_the_same_ones(
    engine: RayEngine, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for film in range(4):
        render(source / f"f{film}.mp4", [16, 16], fps=8, size=(64, 48))
        told = [{"text": f"thing {film % 3} turns", "start": 0.0, "end": 1.0, "count": 2},
                {"text": f"thing {film} jumps", "start": 1.0, "end": 2.0, "count": 3},
                {"text": "it ends", "start": 2.0, "end": 4.0}]  # fmt: skip
        (source / f"f{film}.annotations.json").write_text(json.dumps({f"f{film}.mp4": told}))
    recipe = tmp_path / "counted.yaml"
    recipe.write_text(RECIPE)
    alone = rows(recipe, source, tmp_path / "alone", "inline")
    together = rows(recipe, source, tmp_path / "together", "ray")
    assert alone == together and len(alone) > 10
    dropped = [row for row in alone if '"reason"' in row]
    assert 0 < len(dropped) < len(alone)
