"""Makes the rendered world's eye and the planted teachers importable by this folder's tests."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "speech"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
