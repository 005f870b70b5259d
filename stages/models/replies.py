"""Pairs replies with requests by id, and refuses to guess.

A caption on the wrong clip poisons a training set silently, a missing one does not. So position
means nothing here: a reply belongs to the request whose id it carries, an id answered twice is
answered by nobody (which of the two is right cannot be known), and an id nobody asked for is
counted and dropped. Late replies to an earlier call are such ids, because every attempt has an id
of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from clipmill.schemas.errors import ReplyMismatch
from clipmill.stages.models.teacher import Reply, Request


@dataclass(frozen=True, slots=True)
class Matched:
    """Every request is in exactly one of `replies` and `rejected` (reason: lost or doubled)."""

    replies: dict[str, Reply]
    rejected: dict[str, str]
    foreign: int  # replies that belong to no request, or are no replies at all


def match(requests: Sequence[Request], replies: Iterable[Any]) -> Matched:
    """Pair by id. Raises ReplyMismatch where two requests share an id."""
    asked = Counter(request.id for request in requests)
    twice = [name for name, count in asked.items() if count > 1]
    if twice:
        raise ReplyMismatch(
            f"two requests carry the id {twice[0]!r}",
            cure="give every request an id of its own; replies could not be told apart",
        )
    answers: dict[str, list[Reply]] = {name: [] for name in asked}
    foreign = 0
    for reply in replies:
        if isinstance(reply, Reply) and isinstance(reply.id, str) and reply.id in answers:
            answers[reply.id].append(reply)
        else:
            foreign += 1
    return Matched(
        {name: found[0] for name, found in answers.items() if len(found) == 1},
        {
            name: "doubled" if found else "lost"
            for name, found in answers.items()
            if len(found) != 1
        },
        foreign,
    )
