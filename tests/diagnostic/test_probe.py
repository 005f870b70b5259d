"""Composed videos as a probe of other recipes: who finds the cuts finds the events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.pipeline.selfcheck.probe import draw, probe
from clipmill.stages.media import sandbox


@pytest.fixture(scope="module", autouse=True)
def child() -> Iterator[None]:
    yield
    sandbox.close()


def recipe(folder: Path, stage: str, layer: str) -> Path:
    path = folder / f"{layer}.yaml"
    path.write_text(
        f"recipe: 1\nname: {layer}\nstages:\n  - probe_media\n  - parse_metadata\n  - {stage}\n"
        f"pack: {{layer: {layer}, text: [title]}}\n"
    )
    return path


def test_shots_find_planted_events_and_windows_do_not(tmp_path: Path) -> None:
    made = draw(tmp_path, videos=2, clips=3)
    assert [len(manifest.pieces) for manifest in made] == [3, 3]
    assert not list((tmp_path / "footage").glob("*.json")), "the truth is out of the run's reach"
    shots = probe(
        load_recipe(recipe(tmp_path, "split_shots", "shots")), tmp_path, tmp_path / "shots"
    )
    windows = probe(
        load_recipe(recipe(tmp_path, "split_uniform: {window_s: 0.7}", "windows")),
        tmp_path,
        tmp_path / "windows",
    )
    assert shots.events == windows.events == 6
    assert shots.recall == 1 and shots.mean_iou > 0.95
    assert windows.recall == 0 and windows.mean_iou < 0.5
