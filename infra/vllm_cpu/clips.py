"""Two stages that give every video three clips with pictures of their own, without any media."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Frame, Part
from clipmill.stages.stage import Stage, StageSettings

MODELS = Path(__file__).parents[2] / "tests" / "models"
VIDEOS = "uvw"


class Clips(Stage[StageSettings]):
    """Three clips of a second."""

    unit: ClassVar = "video"
    provides: ClassVar[set[str]] = {"segments:shots"}

    def process(self, part: Part) -> Part:
        spans = [Span(MILLISECONDS, 1000 * n, 1000 * n + 1000) for n in range(3)]
        part.video.add_segments("shots", spans)
        return part


class Pictures(Stage[StageSettings]):
    """Two pictures for each clip, different from those of every other clip."""

    needs: ClassVar[set[str]] = {"segments:shots"}
    provides: ClassVar[set[str]] = {"frames"}

    def process(self, part: Part) -> Part:
        sys.path.append(str(MODELS))
        from pictures import COLOURS, picture

        first = 3 * VIDEOS.index(part.video.id)
        for place, segment in enumerate(part.video.segments, first):
            part.frames[segment.id] = [
                Frame(MILLISECONDS, tick, picture(COLOURS[n % 5], n), 64, 48)
                for n, tick in ((place, segment.span.start), (place + 1, segment.span.start + 500))
            ]
        return part
