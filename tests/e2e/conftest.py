"""Footage, a recipe and runs of them, shared by the end-to-end tests."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from clipmill.pipeline.engine.run import run
from clipmill.pipeline.recipe.recipe import load_recipe
from tests.rendered import render

QUICK = Path(__file__).with_name("quick.yaml")


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small films of 4, 3 and 2 seconds."""
    folder = tmp_path_factory.mktemp("footage")
    for number, seconds in enumerate((4, 3, 2)):
        render(folder / f"film{number}.mp4", [25] * seconds, size=(96, 64))
    return folder


def shards(out: Path) -> dict[str, str]:
    """Name -> sha256 of every shard."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((out / "shards").glob("*.tar"))
    }


@pytest.fixture(scope="session")
def curated(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose `out` is the output of the quick recipe over the footage."""
    folder = tmp_path_factory.mktemp("curated")
    summary = run(load_recipe(QUICK), str(footage), str(folder / "out"), engine="inline")
    assert summary.ok and summary.clips["packed"] > 3
    return folder
