"""Replies remembered in the output: `replies/<2 hex digits>/<key>.json`, one object each.

One object per reply, because a reply is kept the moment it arrives: a run that is killed in the
middle of a part asks only for what had not come back. The price is an object (and locally an fsync)
per request, little beside the request itself; `engine.keep_replies: false` spares it. What an older
output (`--from`) remembers is copied over when it is used, so that every output stands alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from clipmill.pipeline.store.store import Store


@dataclass(frozen=True, slots=True)
class StoredReplies:
    """A `ReplyCache` in a store, and behind it that of an older output."""

    store: Store
    older: Store | None = None

    def get(self, key: str) -> bytes | None:
        data = self.store.find(_name(key))
        if data is None and self.older is not None:
            data = self.older.find(_name(key))
            if data is not None:
                self.put(key, data)
        return data

    def put(self, key: str, data: bytes) -> None:
        # The same key is the same question, so whoever was first is as right as we are.
        self.store.put_if_absent(_name(key), data)


def _name(key: str) -> str:
    return f"replies/{key[:2]}/{key}.json"
