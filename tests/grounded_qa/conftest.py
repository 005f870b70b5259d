"""Makes the painted clips and the rendered world's eye importable by this folder's tests."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
for folder in (TESTS / "grounded_qa", TESTS / "captioning", TESTS / "speech"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
