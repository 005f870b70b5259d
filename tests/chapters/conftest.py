"""Makes this folder's helpers, and rendered narration, importable by its tests."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
for folder in ("chapters", "speech", "dense_captions"):
    if str(TESTS / folder) not in sys.path:
        sys.path.append(str(TESTS / folder))
