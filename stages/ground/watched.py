"""The frames of a part as one line of pictures in time, encoded once for every text.

Frames belong to segments (windows, shots), but a text may fit anywhere, so they are pooled over a
layer, put in order of their presentation times, and each moment is taken once.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from clipmill.schemas.records import Frame, Part
from clipmill.stages.models.encoder import Encoder, Vectors


def frames_of(part: Part, layer: str) -> list[Frame]:
    """All sampled frames of a layer's segments in time order, one per moment."""
    found: dict[Fraction, Frame] = {}
    for segment in part.video.layer(layer):
        for frame in part.frames.get(segment.id, ()):
            found.setdefault(frame.clock.exact(frame.tick), frame)
    return [found[moment] for moment in sorted(found)]


def watched(part: Part, layer: str, encoder: Encoder) -> tuple[npt.NDArray[np.float64], Vectors]:
    """Times in seconds [n] and vectors [n, d] of a layer's frames."""
    frames = frames_of(part, layer)
    times = np.array([frame.clock.seconds(frame.tick) for frame in frames], np.float64)
    return times, encoder.images([frame.jpeg for frame in frames])
