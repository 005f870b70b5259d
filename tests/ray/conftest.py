"""One local Ray for all tests of this folder: starting one takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clipmill.pipeline.engine.ray_engine import RayEngine


@pytest.fixture(scope="session")
def engine() -> Iterator[RayEngine]:
    engine = RayEngine(cpus=4)
    yield engine
    engine.close()
