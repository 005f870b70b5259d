"""Write a coarse gray picture of a clip as a vector: what one glance tells, without a model.

An audit wants to know whether a single frame gives an answer away. Encoders look for objects and
miss what is only a shade brighter or softer than its surroundings; means over small areas, of the
brightness and of its distance from middle gray, find it, because noise cancels out. For
questions about what things are, take `embed`.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from clipmill.schemas.records import Embedding, Part
from clipmill.stages.stage import Stage, StageSettings


class Settings(StageSettings):
    layer: str = "shots"
    """Layer whose segments get a vector."""
    name: str = Field(default="frame", pattern=r"^[a-z0-9_]+$")
    """Name of the embedding."""
    columns: int = Field(default=16, ge=1, le=64)
    """Areas from left to right."""
    rows: int = Field(default=12, ge=1, le=64)
    """Areas from top to bottom."""


class EmbedPixels(Stage[Settings]):
    """Embed the middle one of a clip's frames: brightness of its areas, then their contrast."""

    settings: Settings
    needs: ClassVar = {"frames", "segments:{layer}"}
    provides: ClassVar = {"embeddings:{name}"}

    def process(self, part: Part) -> Part:
        import cv2

        settings = self.settings
        for segment in part.video.layer(settings.layer):
            frames = part.frames.get(segment.id, [])
            if not frames:
                continue
            jpeg = np.frombuffer(frames[len(frames) // 2].jpeg, np.uint8)
            gray = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE), np.float32) / 255
            size = (settings.columns, settings.rows)
            # Not the variance: in noise it moves with the mean and hides a slight blur.
            areas = [
                cv2.resize(each, size, interpolation=cv2.INTER_AREA)
                for each in (gray, np.abs(gray - 0.5) * 8)
            ]
            vector = [float(value) for area in areas for value in area.ravel()]
            segment.embeddings.append(Embedding(settings.name, "pixels", vector))
        return part
