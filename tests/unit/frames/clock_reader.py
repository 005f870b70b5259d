"""Reads a drawn clock out of pixels: finds its plate in a corner, cuts it at the gaps, compares."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Mask = NDArray[np.bool_]


def read_clock(jpeg: bytes, corner: str = "top_right") -> str | None:
    """What the clock in a picture's corner says; None where there is no black plate."""
    return read_plate(np.asarray(Image.open(io.BytesIO(jpeg)).convert("L")), corner)


def read_plate(gray: NDArray[np.uint8], corner: str = "top_right") -> str | None:
    right, low = corner.endswith("right"), corner.startswith("bottom")
    turned = gray[:: -1 if low else 1, :: -1 if right else 1]
    # The plate's rim is black along both edges of the corner; what is dark behind it may go on.
    rim = turned < 60
    wide, tall = _run(rim[:2].all(0)), _run(rim[:, :2].all(1))
    if wide < 20 or tall < 8:
        return None
    plate = turned[: min(tall, len(gray) // 4), :wide][:: -1 if low else 1, :: -1 if right else 1]
    inked = plate > 110
    runs = _runs(inked.any(0))
    near = runs[-8:] if right else runs[:8]
    return "".join(_digit(inked[:, start:end]) for start, end in near) or None


def _run(black: NDArray[np.bool_]) -> int:
    """How many are black from the start on."""
    return int(np.argmin(np.append(black, False)))


def _runs(inked: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inked.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _digit(mask: Mask) -> str:
    rows = np.flatnonzero(mask.any(1))
    framed = mask[rows[0] : rows[-1] + 1]
    if framed.shape[1] <= framed.shape[0] / 3 and not framed[framed.shape[0] // 2].any():
        return ":"
    shape = _scaled(framed)
    fits = {name: float((shape == own).mean()) for name, own in digits().items()}
    return max(fits, key=lambda name: fits[name])


@cache
def digits() -> dict[str, Mask]:
    font = ImageFont.load_default(64)
    found = {}
    for name in "0123456789":
        image = Image.new("L", (128, 128))
        ImageDraw.Draw(image).text((20, 20), name, fill=255, font=font)
        mask = np.asarray(image) > 110
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        found[name] = _scaled(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    return found


def _scaled(mask: Mask) -> Mask:
    image = Image.fromarray(mask.astype(np.uint8) * 255).resize((20, 32), Image.Resampling.BOX)
    return np.asarray(image) > 127
