"""Small videos with exactly known truth.

Every frame carries its own number as a bar code of black and white blocks along its lower edge, so
that a test can read from the pixels alone which frame it was given, after any cut, seek, turn or
re-encode. Times, cuts and beeps are whatever the caller writes down.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

BITS = 16
SOUND_RATE = 48_000

SCENES = (  # colours far apart in hue and brightness, so that every change is a hard cut
    (40, 60, 200),
    (220, 200, 40),
    (30, 140, 60),
    (200, 60, 160),
    (240, 240, 240),
    (90, 30, 20),
)


@dataclass
class Rendered:
    """A rendered video and the truth about it."""

    path: Path
    time_base: Fraction
    ticks: list[int]  # presentation times of all frames, as asked for
    end: int  # where the last frame ends
    cuts: list[int]  # numbers of the first frames of new scenes
    beeps: list[float] = field(default_factory=list)  # starts in seconds

    @property
    def cut_ticks(self) -> list[int]:
        return [self.ticks[number] for number in self.cuts]


def picture(number: int, scene: int, width: int = 192, height: int = 128) -> NDArray[np.uint8]:
    """Frame `number` of the film: a scene's colour, a texture, a moving square, the bar code."""
    rows, columns = np.mgrid[0:height, 0:width]
    texture = ((rows // 8 + columns // 8 * (scene + 1)) % 3 * 12).astype(np.int16)
    pixels = np.clip(np.array(SCENES[scene % len(SCENES)]) + texture[..., None] - 12, 0, 255)
    left = number * 2 % (width - 24)
    pixels[10 + scene % 5 * 6 :][:20, left : left + 24] = (255, 120, 0)
    block = width // BITS
    for bit in range(BITS):
        pixels[-16:, bit * block : (bit + 1) * block] = 255 if number >> bit & 1 else 0
    pixels[-16:, BITS * block :] = 0
    return pixels.astype(np.uint8)


def number_of(pixels: NDArray[np.uint8]) -> int:
    """The number in a frame's bar code; works on gray and colour, at any size."""
    gray = pixels if pixels.ndim == 2 else pixels.mean(axis=2)
    height, width = gray.shape
    row = gray[round(height * (1 - 8 / 128))]
    block = width / BITS
    return sum(int(row[int((bit + 0.5) * block)] > 127) << bit for bit in range(BITS))


def render(
    path: Path,
    scenes: list[int],
    fps: int = 25,
    durations: list[int] | None = None,
    time_base: Fraction | None = None,
    offset: int = 0,
    codec: str = "libx264",
    bframes: int = 2,
    gop: int = 12,
    size: tuple[int, int] = (192, 128),
    rotation: int = 0,
    sar: Fraction | None = None,
    beeps: list[float] | None = None,
    sound_offset: float = 0.0,
    sound_codec: str = "aac",
    second: bool = False,
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
) -> Rendered:
    """A film of `len(scenes)` scenes, scene k having `scenes[k]` frames.

    `durations` (ticks, one per frame) makes the frame rate variable; `offset` shifts the picture by
    ticks, `sound_offset` the sound by seconds (its beeps are then heard that much later).
    `rotation` is what a player must turn counter-clockwise. `second` adds a smaller second picture.
    """
    total = sum(scenes)
    base = time_base or Fraction(1, fps * 512)
    steps = durations or [round(Fraction(1, fps) / base)] * total
    ticks = [offset + sum(steps[:number]) for number in range(total)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.time_base = stream.codec_context.time_base = base
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = bframes
        stream.codec_context.thread_count = 1
        stream.options = options or (
            {"crf": "18", "preset": "veryfast"} if codec.startswith("libx26") else {}
        )
        if sar is not None:
            stream.codec_context.sample_aspect_ratio = sar
        if rotation:
            stream.set_display_rotation(rotation)
        other = _second(container, fps) if second else None
        sound = container.add_stream(sound_codec, rate=SOUND_RATE) if beeps is not None else None
        if sound is not None:
            sound.codec_context.layout = "mono"
        length = float((ticks[-1] + steps[-1]) * base)
        for number, (tick, scene) in enumerate(
            zip(ticks, (k for k, n in enumerate(scenes) for _ in range(n)), strict=True)
        ):
            frame = av.VideoFrame.from_ndarray(picture(number, scene, *size), format="rgb24")
            frame.pts, frame.time_base = tick, base
            container.mux(stream.encode(frame))
            if other is not None:
                small = av.VideoFrame.from_ndarray(picture(0, 5, 64, 48), format="rgb24")
                small.pts, small.time_base = number, Fraction(1, fps)
                container.mux(other.encode(small))
        container.mux(stream.encode(None))
        if other is not None:
            container.mux(other.encode(None))
        if sound is not None and beeps is not None:
            _beep(container, sound, beeps, length, sound_offset)
    cuts = [sum(scenes[:k]) for k in range(1, len(scenes))]
    heard = [at + sound_offset for at in beeps or []]
    return Rendered(path, base, ticks, ticks[-1] + steps[-1], cuts, heard)


def _second(container: Any, fps: int) -> Any:
    stream = container.add_stream("libx264", rate=fps)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    return stream


def _beep(container: Any, stream: Any, beeps: list[float], length: float, offset: float) -> None:
    """A tone of 1 kHz for 0.1 s at each of `beeps`, silence elsewhere."""
    samples = np.zeros(round(length * SOUND_RATE), np.float32)
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(SOUND_RATE // 10) / SOUND_RATE)
    for at in beeps:
        start = round(at * SOUND_RATE)
        piece = samples[start : start + len(tone)]
        piece[:] = tone[: len(piece)]
    first = round(offset * SOUND_RATE)
    for start in range(0, len(samples), 1024):
        block = samples[start : start + 1024]
        whole = (block * 32767).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(whole, format="s16", layout="mono")
        frame.sample_rate, frame.pts = SOUND_RATE, first + start
        frame.time_base = Fraction(1, SOUND_RATE)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def beeps_in(samples: NDArray[np.int16], rate: int) -> list[float]:
    """Start times of the tones in mono sound, in seconds."""
    loud = np.abs(samples.astype(np.int32)) > 4000
    starts: list[float] = []
    last = -rate
    for index in np.flatnonzero(loud):
        if index - last > rate // 50:
            starts.append(float(index) / rate)
        last = int(index)
    return starts
