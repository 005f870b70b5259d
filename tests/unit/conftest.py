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
    before = _ray_runs()
    yield
    # Another folder's tests may have a Ray running in this process; a unit test may not start one.
    assert before or not _ray_runs(), "a unit test started Ray: it belongs into tests/ray"


def _ray_runs() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and hasattr(ray, "is_initialized") and ray.is_initialized()
