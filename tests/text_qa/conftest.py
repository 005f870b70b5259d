"""Makes the painted clips and the rendered world's eye importable by this folder's tests."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
for name in ("text_qa", "grounded_qa", "captioning", "speech"):
    if str(TESTS / name) not in sys.path:
        sys.path.append(str(TESTS / name))
