"""Unit tests start no Ray and never sleep; here that is enforced, not hoped."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _no_ray_and_no_sleep(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    sleep = time.sleep

    def refuse(seconds: float) -> None:
        # Libraries may (subprocess polls a child it waits for); our own code may not.
        if Path(sys._getframe(1).f_code.co_filename).is_relative_to(ROOT):
            raise AssertionError(f"a unit test slept for {seconds} s: wait for what you mean")
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", refuse)
    yield
    ray = sys.modules.get("ray")
    if ray is not None and hasattr(ray, "is_initialized"):
        assert not ray.is_initialized(), "a unit test started Ray: it belongs into tests/ray"
