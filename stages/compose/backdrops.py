"""Backdrops of the rendered world: flat, ruled and textured pictures that wrap from right to left.

Every backdrop repeats with the picture's width, so a camera can pan for ever without an edge.
Textures are white noise shaped in the frequency domain, which is periodic by construction and
needs no image file.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipmill.stages.compose.world import PLAIN_TONES, Backdrop

Canvas = NDArray[np.uint8]
_Field = NDArray[np.floating]

_GRADIENTS = (((40, 44, 70), (196, 160, 150)), ((24, 70, 72), (186, 200, 170)))
_PAIRS = (((150, 150, 156), (92, 92, 100)), ((176, 168, 160), (112, 104, 100)))


def paint_backdrop(
    kind: Backdrop, tone: str, width: int, height: int, rng: np.random.Generator
) -> Canvas:
    """An RGB picture (height, width, 3) whose left edge continues its right edge."""
    if kind == "plain":
        return np.full((height, width, 3), PLAIN_TONES[tone or "gray"], np.uint8)
    if kind == "gradient":
        top, bottom = _GRADIENTS[int(rng.integers(len(_GRADIENTS)))]
        return _mix(np.linspace(0, 1, height)[:, None].repeat(width, 1), top, bottom)
    if kind == "stripes":
        count = int(rng.integers(5, 9))
        bars = np.arange(width) * 2 * count // width % 2
        return _mix(np.tile(bars, (height, 1)).astype(float), *_PAIRS[int(rng.integers(2))])
    if kind == "checker":
        count = int(rng.integers(5, 8))
        columns = np.arange(width) * 2 * count // width
        rows = np.arange(height) * 2 * count // width
        return _mix((rows[:, None] + columns) % 2.0, *_PAIRS[int(rng.integers(2))])
    if kind == "grass":
        blades = _noise(rng, width, height, 0.7, 2.5)
        return _mix(0.5 + 0.22 * blades, (30, 84, 26), (112, 176, 76))
    if kind == "sand":
        grains = _noise(rng, width, height, 0.8, 0.8) + _noise(rng, width, height, 24, 8)
        return _mix(0.5 + 0.16 * grains, (186, 150, 96), (236, 210, 160))
    if kind == "water":
        phase = 1.3 * _noise(rng, width, height, 18, 10)
        waves = np.sin(np.arange(height)[:, None] * (44 / height) * 2 + phase)
        return _mix(0.5 + 0.4 * waves, (20, 78, 128), (88, 172, 204))
    clouds = np.clip(_noise(rng, width, height, 30, 14) - 0.3, 0, 1.2) / 1.2
    blue = _mix(
        np.linspace(0, 1, height)[:, None].repeat(width, 1), (84, 150, 226), (176, 212, 244)
    )
    share = clouds[:, :, None]
    return np.asarray(blue * (1 - share) + 244.0 * share).astype(np.uint8)


def _mix(share: _Field, low: tuple[int, int, int], high: tuple[int, int, int]) -> Canvas:
    weight = np.clip(share, 0, 1)[:, :, None]
    return np.asarray(np.array(low) * (1 - weight) + np.array(high) * weight).astype(np.uint8)


def _noise(rng: np.random.Generator, width: int, height: int, across: float, down: float) -> _Field:
    """Periodic Gaussian noise of unit deviation, smooth over `across` x `down` pixels."""
    spectrum = np.fft.rfft2(rng.standard_normal((height, width)))
    x = np.fft.rfftfreq(width)[None, :] * across
    y = np.fft.fftfreq(height)[:, None] * down
    spectrum *= np.exp(-2 * np.pi**2 * (x**2 + y**2))
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, s=(height, width))
    return np.asarray(field / field.std())
