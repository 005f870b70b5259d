"""Makes the painted clips, the rendered world's eye and the shards' reader importable by tests."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
for folder in ("captioning", "speech", "dense_captions"):
    if str(TESTS / folder) not in sys.path:
        sys.path.append(str(TESTS / folder))
