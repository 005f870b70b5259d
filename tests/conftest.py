"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is not what a property test is about.
settings.register_profile("clipmill", deadline=None)
settings.load_profile("clipmill")

REAL_MEDIA = Path(__file__).resolve().parents[2] / "shared" / "media"


@pytest.fixture(scope="session")
def real_media() -> Path:
    """A folder of real videos with hand-made truth; tests that want it are skipped without it."""
    if not REAL_MEDIA.is_dir():
        pytest.skip("the folder of real media is not present")
    return REAL_MEDIA
