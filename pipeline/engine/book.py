"""What the workers of a run know of one another: attempts, money, and who is in whose way.

One small actor holds it, on the driver's node, so it outlives every worker and every other node.

Making way cures a deadlock that no single worker can see. A cluster that loses a node has workers
left over: those that stood there wait for a place, all places are held by others, and where those
others have nothing to do before the waiting ones have finished, nothing moves any more; Ray Data
shrinks no pool that has a worker waiting. So every worker tells every few seconds whether it has
something to do, and when none has, while some are missing, one after the other is asked to end.
Ray starts it again as soon as there is room, behind those that waited before it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

BEAT_S = 5.0
"""How often a worker tells whether it is busy."""
LOST_S = 6 * BEAT_S
"""After so long a silence a worker is taken for lost: native code can hold one back for a while."""
QUIET_S = 3 * BEAT_S
"""How long nobody may have had anything to do before one is asked to make way."""


@dataclass(frozen=True, slots=True)
class Beat:
    """The last that was heard of a worker."""

    group: int
    at: float
    busy: bool


class Book:
    """The state behind the actor; a plain object, with its clock as an argument."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.open: Counter[str] = Counter()
        self.tokens = 0
        self.cost = 0.0
        self.beats: dict[str, Beat] = {}
        self.quiet_since = clock()

    def begin(self, work: str) -> int:
        """Note that `work` begins; returns how many earlier attempts never ended."""
        self.open[work] += 1
        self.quiet_since = self.clock()
        return self.open[work] - 1

    def end(self, work: str) -> None:
        """Note that `work` ended, well or badly."""
        del self.open[work]
        self.quiet_since = self.clock()

    def spend(self, tokens: int, cost: float) -> tuple[int, float]:
        """Add to what the run has spent; returns the sums, tokens and cost."""
        self.tokens += tokens
        self.cost += cost
        return self.tokens, self.cost

    def beat(self, worker: str, group: int, busy: bool) -> bool:
        """Hear of a worker of a group; returns whether it is to make way for a lost one."""
        now = self.clock()
        self.beats[worker] = Beat(group, now, busy)
        living = {name: one for name, one in self.beats.items() if now - one.at < LOST_S}
        if any(one.busy for one in living.values()):
            self.quiet_since = now
        if len(living) == len(self.beats) or now - self.quiet_since < QUIET_S:
            return False
        crowd = Counter(one.group for one in living.values())
        if crowd[group] < max(crowd.values()):
            return False
        # It counts as lost from here on: until it is back, it is one of those that wait.
        self.beats[worker] = replace(self.beats[worker], at=now - LOST_S)
        self.quiet_since = now
        return True

    def leave(self, worker: str) -> None:
        """A worker that is no longer needed ends; nobody waits for it."""
        self.beats.pop(worker, None)
