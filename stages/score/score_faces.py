"""How much of a clip is somebody's face: the cheap half of telling talking heads.

The score is the median over the clip's frames of what the largest frontal face covers, so a face
that is seen in less than half of them counts as none, and neither do the false faces that a cascade
finds in a frame here and there. A close-up of somebody who speaks to the camera reaches 0.1 and
more. Somebody seen from the side, or small beside a screen, is not found: `classify` with an
encoder that knows people sorts those.
"""

from __future__ import annotations

from statistics import median
from typing import Any, ClassVar

from pydantic import Field

from clipmill.schemas.records import Part
from clipmill.stages.models.faces import FrontalFaces
from clipmill.stages.models.frame_choice import spread
from clipmill.stages.stage import Stage, StageSettings


class Settings(StageSettings):
    layer: str = "shots"
    """Segments whose frames are looked at."""
    frames: int = Field(default=8, ge=1)
    """At most so many frames a clip, spread over it."""
    name: str = Field(default="face_area", pattern=r"^[a-z0-9_]+$")
    """Name of the score: share of the picture, 0 to 1."""


class ScoreFaces(Stage[Settings]):
    """Score the share of the picture that a frontal face covers."""

    needs: ClassVar = {"frames", "segments:{layer}"}
    provides: ClassVar = {"scores:{name}"}

    def requires(self) -> dict[str, str]:
        return {"skimage": "faces"}

    def identity(self) -> dict[str, Any]:
        return super().identity() | {"model": FrontalFaces.model}

    def setup(self) -> None:
        self._faces = FrontalFaces()

    def process(self, part: Part) -> Part:
        for segment in part.video.layer(self.settings.layer):
            frames = spread(part.frames.get(segment.id, []), self.settings.frames)
            if frames:  # none: not computed, which is no absence of a face
                areas = [self._faces.largest(frame.jpeg) for frame in frames]
                segment.scores[self.settings.name] = float(median(areas))
        return part
