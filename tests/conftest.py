"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

REAL_MEDIA = Path(__file__).resolve().parents[2] / "shared" / "media"


@pytest.fixture(scope="session")
def real_media() -> Path:
    """A folder of real videos with hand-made truth; tests that want it are skipped without it."""
    if not REAL_MEDIA.is_dir():
        pytest.skip("the folder of real media is not present")
    return REAL_MEDIA


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run side by side a file stays together, and so does all that starts a Ray.

    Two Rays on one machine would contend for cores and could find each other.
    """
    for item in items:
        group = "ray" if item.get_closest_marker("ray") else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
