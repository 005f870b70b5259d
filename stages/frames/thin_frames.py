"""Drop frames that show what the last kept one shows, before an expensive model sees them.

Much of a video is the same picture for seconds, and a teacher is paid by the picture. Each frame is
held against the last one that was kept, not against its neighbour, so that slow change adds up and
is not lost. A frame is kept at least every so many seconds whatever it shows: a teacher that
overlooks something gets another chance. Key frames of ShareGPT4Video are chosen like this, by CLIP.
Frames only travel, so nothing but the share that was dropped is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from clipmill.schemas.records import Frame, Part
from clipmill.stages.models.encoder import Vectors
from clipmill.stages.models.encoder_stage import EncoderStage, EncodeSettings


class Settings(EncodeSettings):
    layer: str = "shots"
    """Layer whose frames are thinned out."""
    alike: float = Field(default=0.95, ge=-1, le=1)
    """Cosine from which on two frames show the same. Of one encoder: others have other scales."""
    every_s: float = Field(default=10.0, gt=0)
    """A frame is kept at least this often, if one was sampled."""


class ThinFrames(EncoderStage[Settings]):
    """Drop frames that are like the last kept one."""

    settings: Settings
    needs: ClassVar = {"frames", "segments:{layer}"}
    provides: ClassVar = {"frames", "scores:frames_dropped"}

    def process(self, part: Part) -> Part:
        segments = [s for s in part.video.layer(self.settings.layer) if part.frames.get(s.id)]
        pictures = self.encoder.images([f.jpeg for s in segments for f in part.frames[s.id]])
        start = 0
        for segment in segments:
            frames = part.frames[segment.id]
            kept = self._kept(frames, pictures[start : start + len(frames)])
            start += len(frames)
            part.frames[segment.id] = kept
            segment.scores["frames_dropped"] = 1 - len(kept) / len(frames)
        return part

    def _kept(self, frames: Sequence[Frame], vectors: Vectors) -> list[Frame]:
        kept: list[int] = []
        for number, frame in enumerate(frames):
            if kept:
                last = frames[kept[-1]]
                apart = frame.clock.exact(frame.tick) - last.clock.exact(last.tick)
                same = float(np.dot(vectors[number], vectors[kept[-1]])) >= self.settings.alike
                if same and apart < self.settings.every_s:
                    continue
            kept.append(number)
        return [frames[number] for number in kept]
