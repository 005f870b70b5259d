"""What a run tells while it goes on, for progress displays and logs, and its summary at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from clipmill.pipeline.engine.parcel import Lap, Receipt

Phase = Literal["inputs", "annotate", "tables", "decide", "pack", "done"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened. `total` counts videos while annotating, tasks in the other phases."""

    phase: Phase
    message: str = ""
    done: int = 0
    total: int = 0
    receipt: Receipt | None = None  # a part or a video ended
    laps: tuple[Lap, ...] = ()  # what was worked on since this part's last event


@dataclass(slots=True)
class Summary:
    """How a run ended. Counts of inputs and of clips each add up to their totals."""

    out: str
    inputs: dict[str, int] = field(default_factory=dict)  # state -> videos
    clips: dict[str, int] = field(default_factory=dict)  # state -> clips of the packed layer
    dropped: dict[str, int] = field(default_factory=dict)  # "profile: reason" -> clips
    failed: dict[str, int] = field(default_factory=dict)  # class -> videos
    damaged: int = 0  # videos used up to their damage
    shards: int = 0
    shard_bytes: int = 0
    seconds: float = 0.0
    teachers: list[dict[str, str | int | float]] = field(default_factory=list)  # bills by stage

    @property
    def ok(self) -> bool:
        """Whether every input came through: nothing failed, nothing is in quarantine."""
        bad = self.inputs.get("failed", 0) + self.inputs.get("quarantined", 0)
        return bad == 0 and self.clips.get("failed", 0) == 0
