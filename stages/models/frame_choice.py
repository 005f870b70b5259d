"""Chooses few frames of many, spread evenly, for models that take only so many."""

from __future__ import annotations

from collections.abc import Sequence

from clipmill.schemas.records import Frame


def spread(frames: Sequence[Frame], most: int) -> list[Frame]:
    """At most `most` frames, in order: the middles of as many equal runs, all if they are few.

    Middles, because the first and last frames of a clip are the likeliest to hold a transition.
    """
    if len(frames) <= most:
        return list(frames)
    return [frames[(2 * place + 1) * len(frames) // (2 * most)] for place in range(most)]
