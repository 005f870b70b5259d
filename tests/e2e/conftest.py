"""Footage, a recipe and runs of them, shared by the end-to-end tests."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
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
