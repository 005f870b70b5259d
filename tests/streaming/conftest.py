"""Makes painted clips, rendered films and models at the edge importable by this folder's tests."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
for folder in ("streaming", "grounded_qa", "captioning", "speech", "dense_captions"):
    if str(TESTS / folder) not in sys.path:
        sys.path.append(str(TESTS / folder))
