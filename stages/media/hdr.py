"""Pictures of high dynamic range as an ordinary screen would show them.

PQ (SMPTE ST 2084) and HLG (ARIB STD-B67, ITU-R BT.2100) code light far brighter than paper white
with other curves and primaries than BT.709, so their numbers taken for BT.709 look pale and flat,
and models have never seen such pictures. The way is that of encoded clips: linear light with 100
nit as 1, BT.709 primaries, Hable's curve for what is brighter, then the inverse of an ordinary
display's curve (BT.1886). The brightest light that a file declares becomes white; 1,000 nit where
it declares none, since hardly anything is graded for the 10,000 that PQ can say. Tables over 16-bit
values do the curves, because powers of every pixel cost ten times as much.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipmill.schemas.records import Stream

Floats = NDArray[np.float32]

PAPER_WHITE = 100.0  # nit
PQ, HLG = "smpte2084", "arib-std-b67"
PEAK = 1000.0  # nit; for HLG that of the display which BT.2100 refers to

# Linear BT.2020 to linear BT.709, ITU-R BT.2087.
_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
    np.float32,
)
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)
_BT709_PRIMARIES = 1


def is_hdr(picture: Stream) -> bool:
    """Whether a stream's pictures need what is done here."""
    return picture.transfer in (PQ, HLG)


def tone_mapped(frame: Any, picture: Stream, width: int, height: int) -> NDArray[np.uint8]:
    """(height, width, 3) BT.709 RGB of an `av.VideoFrame`, scaled before its light is mapped."""
    coded = frame.reformat(
        width=width, height=height, format="rgb48le", interpolation="AREA", threads=1
    ).to_ndarray()
    if picture.transfer == PQ:
        light = _pq_light()[coded]
    else:
        scene = _hlg_scene()[coded]
        # The display's own gamma of 1.2 works on luminance (BT.2100, table 5, OOTF).
        gain = np.maximum(scene @ _LUMA_2020, 1e-6) ** np.float32(0.2)
        light = scene * gain[..., None] * np.float32(PEAK / PAPER_WHITE)
    if int(frame.color_primaries) != _BT709_PRIMARIES:
        light = light @ _TO_BT709.T
    return displayed(light, peak_of(frame))


def displayed(light: Floats, peak: float) -> NDArray[np.uint8]:
    """Linear BT.709 light (..., 3), 1 for paper white and at most `peak`, as 8-bit code values.

    The largest of the three decides by how much all are dimmed, so hues stay.
    """
    light = np.maximum(light, 0)
    brightest = np.maximum(light.max(axis=-1, keepdims=True), np.float32(1e-6))
    shown = light * (_hable(brightest) / np.float32(_hable(peak)) / brightest)
    index = np.clip(shown * np.float32(65535) + np.float32(0.5), 0, 65535).astype(np.uint16)
    codes: NDArray[np.uint8] = _display_code()[index]
    return codes


def peak_of(frame: Any) -> float:
    """The brightest light of a frame in units of paper white, as its side data says."""
    told = {data.type.name: bytes(data) for data in frame.side_data}
    if level := told.get("CONTENT_LIGHT_LEVEL"):
        (nits,) = struct.unpack_from("I", level)  # MaxCLL
        if nits:
            return float(max(1.0, nits / PAPER_WHITE))
    if mastering := told.get("MASTERING_DISPLAY_METADATA"):
        # Six fractions of primaries, two of white, the least and the largest luminance, two flags.
        *_, top, bottom, _, has_luminance = struct.unpack_from("22i", mastering)
        if has_luminance and bottom and top > 0:
            return float(max(1.0, top / bottom / PAPER_WHITE))
    return PEAK / PAPER_WHITE


def _hable(light: Any) -> Any:
    """John Hable's filmic curve (Uncharted 2, 2010)."""
    return (light * (light * 0.15 + 0.05) + 0.004) / (
        light * (light * 0.15 + 0.5) + 0.06
    ) - 0.02 / 0.3


@cache
def _pq_light() -> Floats:
    """16-bit code -> linear light, SMPTE ST 2084."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = np.linspace(0, 1, 65536) ** (1 / m2)
    light = (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    return (light * (10_000 / PAPER_WHITE)).astype(np.float32)


@cache
def _hlg_scene() -> Floats:
    """16-bit code -> linear light of the scene from 0 to 1, ARIB STD-B67."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    code = np.linspace(0, 1, 65536)
    scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
    return scene.astype(np.float32)


@cache
def _display_code() -> NDArray[np.uint8]:
    """16-bit linear light -> 8-bit code, the inverse of ITU-R BT.1886 with black at zero."""
    return np.round(np.linspace(0, 1, 65536) ** (1 / 2.4) * 255).astype(np.uint8)
