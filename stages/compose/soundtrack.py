"""Mix a video's sound: narration at its planned times, sound events, and a quiet noise floor.

The floor keeps recognisers and voice detectors out of digital silence, where some divide by zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clipmill.stages.compose.world import Sound

FLOOR = 4.0
"""Deviation of the noise floor in int16 steps, about -78 dB of full scale."""


def sound_event(
    kind: Sound, seconds: float, rate: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """A beep (880 Hz), a chirp (300 to 2400 Hz) or a burst of noise, with 10 ms ramps."""
    count = round(seconds * rate)
    time = np.arange(count) / rate
    if kind == "beep":
        wave = np.sin(2 * np.pi * 880 * time)
    elif kind == "chirp":
        wave = np.sin(2 * np.pi * (300 * time + (2400 - 300) * time**2 / (2 * seconds)))
    else:
        wave = rng.standard_normal(count) / 2.5
    ramp = np.clip(np.minimum(time, time[::-1]) / 0.01, 0, 1)
    return np.asarray(wave * ramp * 7000)


def mix(
    seconds: float,
    rate: int,
    pieces: Sequence[tuple[int, NDArray[np.floating]]],
    rng: np.random.Generator,
) -> NDArray[np.int16]:
    """Lay pieces at their first samples over the noise floor; what reaches past the end is cut."""
    total = round(seconds * rate)
    track = rng.normal(0, FLOOR, total)
    for start, piece in pieces:
        first, last = max(start, 0), min(start + len(piece), total)
        if first < last:
            track[first:last] += piece[first - start : last - start]
    return np.clip(np.round(track), -32768, 32767).astype(np.int16)
