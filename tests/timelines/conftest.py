"""Composed videos with known events, made once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "dense_captions"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "speech"))

from narrator import composed

from clipmill.stages.compose.truth import Truth


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Truth]]:
    return composed(tmp_path_factory.mktemp("composed"))
