"""Makes the rendered world's eye, the planted teachers and two programs importable by tests."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
INFRA = HERE.parents[1] / "infra"
for folder in (HERE, HERE.parent / "speech", INFRA / "selector", INFRA / "benchmarks"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
