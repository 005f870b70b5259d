"""Replies remembered by what was asked, so that a reply that was paid for is never paid for twice.

The key is a digest of everything that a reply depends on: the teacher's identity, the prompt, the
digests of the pictures in their order, the schema and the sampling; never the request's id, its
clip or its run. A greedy reply does not depend on the seed, so its key does not either. Only
replies that kept their contract are remembered, and they are checked again when they are recalled,
because the contract may have changed since. A repaired reply is kept under the question that was
first asked.

Where the bytes lie is the engine's business: `stages` knows the protocol alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from clipmill.schemas.fingerprints import fingerprint
from clipmill.stages.models.teacher import Request, Usage

_FORMAT = 1  # raised when a key or an entry means something else than before


class ReplyCache(Protocol):
    """Bytes by key (letters and digits). Called from several threads at once."""

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, data: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Remembered:
    """A complete reply that kept its contract, and what it cost when it was given."""

    text: str
    repaired: bool = False
    usage: Usage = field(default_factory=Usage)

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def from_bytes(data: bytes) -> Remembered | None:
        """None where the entry cannot be read: a cache may be lost, and never fails a part."""
        try:
            entry = json.loads(data)
            text, repaired = entry["text"], entry["repaired"]
        except (ValueError, TypeError, KeyError):
            return None
        return Remembered(text, bool(repaired)) if isinstance(text, str) else None


def reply_key(teacher: Mapping[str, Any], request: Request) -> str:
    """The key of a request to a teacher of that identity (see `TeacherSettings.identity`)."""
    return fingerprint(
        _FORMAT,
        dict(teacher),
        request.prompt,
        [hashlib.blake2b(image, digest_size=32).hexdigest() for image in request.images],
        json.dumps(request.schema),  # in its own order, which constrained decoding follows
        request.max_tokens,
        request.temperature,
        request.seed if request.temperature > 0 else None,
    )
