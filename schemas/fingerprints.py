"""Fingerprints: short digests that say whether two things were made the same way.

Canonical JSON (sorted keys, no spaces) under BLAKE2b. Twelve hex digits name things to people and
in file names; the full digest decides equality.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any


def fingerprint(*values: Any) -> str:
    """64 hex digits over any JSON-serialisable values. Order matters, dictionary order does not."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def short(digest: str) -> str:
    return digest[:12]
