"""Count the cuts inside a clip: shots of another layer that it holds, less one.

Windows, clips that came as files, and shots that were joined may hold a cut; a detector that is
stricter than the one that made the clips shows it. So `split_shots` writes a second layer and this
compares the two, without looking at a picture again. Shots that reach into a clip by less than
`edge_s` are not in it: two detectors agree to a frame or two, not to a tick.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from clipmill.schemas.records import Part
from clipmill.stages.stage import Stage, StageSettings


class Settings(StageSettings):
    layer: str = "clips"
    """Layer whose segments are scored."""
    shots: str = "shots"
    """Layer of the shots that are counted."""
    edge_s: float = Field(default=0.15, ge=0)
    """Seconds of a shot that a clip must hold for it to count."""
    name: str = Field(default="cuts", pattern=r"^[a-z0-9_]+$")
    """Name of the score."""


class CountCuts(Stage[Settings]):
    """Count the cuts inside clips by the shots of another layer."""

    settings: Settings
    unit = "video"
    needs: ClassVar = {"segments:{layer}", "segments:{shots}"}
    provides: ClassVar = {"scores:{name}"}

    def process(self, part: Part) -> Part:
        settings = self.settings
        shots = [shot.span for shot in part.video.layer(settings.shots)]
        starts = np.array([shot.start_s for shot in shots])
        ends = np.array([shot.end_s for shot in shots])
        for segment in part.video.layer(settings.layer):
            span = segment.span
            held = np.minimum(ends, span.end_s) - np.maximum(starts, span.start_s)
            count = int(np.count_nonzero(held > settings.edge_s))
            segment.scores[settings.name] = float(max(0, count - 1))
        return part
