"""Score how densely a clip is told of: how many events of a layer lie in it, and what they cover.

Published narrations and captions are dense in some stretches and rare in others, and a question
about a long stretch needs enough of them. An event counts where its middle lies, so one that
crosses a border counts once.
"""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar

from pydantic import Field

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Part
from clipmill.schemas.within import joined
from clipmill.stages.stage import Stage, StageSettings


class Settings(StageSettings):
    layer: str = "windows"
    """Layer whose segments are scored."""
    events: str = "events"
    """Layer of the events."""
    name: str = Field(default="events", pattern=r"^[a-z0-9_]+$")
    """Score NAME_count is their number, NAME_per_minute their rate, NAME_coverage the share of the
    clip that lies in some event."""


class ScoreDensity(Stage[Settings]):
    """Score how many events lie in a clip, and what share of it they cover."""

    settings: Settings
    unit = "video"
    needs: ClassVar = {"segments:{layer}", "segments:{events}"}
    provides: ClassVar = {
        "scores:{name}_count", "scores:{name}_per_minute", "scores:{name}_coverage",
    }  # fmt: skip

    def process(self, part: Part) -> Part:
        name = self.settings.name
        events = [event.span.on(MILLISECONDS) for event in part.video.layer(self.settings.events)]
        for segment in part.video.layer(self.settings.layer):
            own = segment.span.on(MILLISECONDS)
            count = sum(own.start <= Fraction(e.start + e.end, 2) < own.end for e in events)
            cut = [Span(MILLISECONDS, max(e.start, own.start), min(e.end, own.end)) for e in events
                   if e.start < own.end and own.start < e.end]  # fmt: skip
            covered = sum(span.end - span.start for span in joined(cut))
            length = max(own.end - own.start, 1)
            segment.scores[f"{name}_count"] = float(count)
            segment.scores[f"{name}_per_minute"] = count * 60_000 / length
            segment.scores[f"{name}_coverage"] = covered / length
        return part
