"""transform_video: one clip, changed in time or in quality, with a manifest of what went where.

Reversed, at another speed, cut into segments that are shuffled or partly dropped, partly masked or
degraded. `strength` grades the change, so that harder and easier versions of one clip can be made.
A plain function, for the same reasons as compose_clips.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clipmill.schemas.errors import ClipmillError
from clipmill.stages.compose.timeline import (
    Clip,
    Manifest,
    Piece,
    Source,
    frames,
    piece,
    shuffled,
    sound,
)
from clipmill.stages.media import sandbox
from clipmill.stages.media.write import write_video
from clipmill.stages.stage import StageSettings

__all__ = ["Clip", "Manifest", "Settings", "transform"]

STAGE = "transform_video"

Picture = NDArray[np.uint8]


class Settings(StageSettings):
    """What is done to a clip."""

    operation: Literal["reverse", "speed", "shuffle", "drop", "mask", "degrade"] = "reverse"
    """Play backwards; faster or slower; permute or drop segments; black out segments; spoil."""
    speed: float = Field(2.0, ge=0.1, le=10)
    """Playing speed under `speed`; 2 halves the duration."""
    segments: int = Field(8, ge=2, le=256)
    """Equal segments under `shuffle`, `drop` and `mask`."""
    strength: float = Field(0.5, gt=0, le=1)
    """Share of segments that `drop` and `mask` take; how far `degrade` goes."""
    damage: Literal["blur", "noise", "pixels", "dark"] = "blur"
    """What `degrade` does to every picture."""
    seed: int = Field(0, ge=0)
    """Decides which segments, in which order, and the noise."""
    crf: int = Field(18, ge=0, le=40)
    """Constant quality of the encoding."""
    rate: int = Field(48_000, ge=8000)
    """Sampling rate of the sound, which is mono."""
    timeout_s: float = Field(1800.0, gt=0)
    """Wall clock for the whole work."""


def transform(clip: Clip, settings: Settings, out: Path) -> Manifest:
    """Write the changed clip to `out` and its manifest to `out` with suffix `.json`.

    Masked pieces have the role `masked` and keep their place. Raises MediaError for a clip that
    cannot be read and ClipmillError where it is too short for its segments.
    """
    manifest = sandbox.call(_transform, clip, settings, out, timeout_s=settings.timeout_s)
    manifest.save(out.with_suffix(".json"))
    return manifest


def _transform(clip: Clip, settings: Settings, out: Path) -> Manifest:
    source = Source.read(clip, STAGE)
    fps, size = source.fps(), source.size()
    pieces = arrange(source, settings, fps)
    wave = sound([source], pieces, fps, settings.rate)
    shown = _spoiled(frames([source], pieces, size, fps), pieces, settings)
    count = write_video(out, shown, fps, wave, settings.rate, crf=settings.crf)
    return Manifest(
        settings.operation,
        settings.seed,
        {key: str(value) for key, value in settings.model_dump(mode="json").items()},
        [clip.id],
        *size,
        fps.numerator,
        fps.denominator,
        count,
        float(count / fps),
        pieces,
    )


def arrange(source: Source, settings: Settings, fps: Fraction) -> list[Piece]:
    """Where each stretch of the clip goes, in output order."""
    whole = (source.start, source.end)
    if settings.operation == "reverse":
        return [piece(source, 0, 0, fps, whole, backwards=True)]
    if settings.operation == "speed":
        speed = Fraction(settings.speed).limit_denominator(1000)
        return [piece(source, 0, 0, fps, whole, speed)]
    if settings.operation == "degrade":
        return [piece(source, 0, 0, fps, whole)]
    total = round((source.end - source.start) * fps)
    if total < settings.segments:
        raise ClipmillError(
            f"{total} frames do not make {settings.segments} segments",
            cure="lower `segments` or leave the clip out",
            input=source.clip.id,
            stage=STAGE,
        )
    rng = np.random.default_rng(settings.seed)
    taken = min(settings.segments - 1, max(1, round(settings.strength * settings.segments)))
    chosen = {int(number) for number in rng.choice(settings.segments, taken, replace=False)}
    order = list(range(settings.segments))
    if settings.operation == "shuffle":
        order = shuffled(settings.segments, rng)
    elif settings.operation == "drop":
        order = [number for number in order if number not in chosen]
    borders = [total * number // settings.segments for number in range(settings.segments + 1)]
    pieces: list[Piece] = []
    for number in order:
        first, last = (source.start + border / fps for border in borders[number : number + 2])
        at = pieces[-1].end_frame if pieces else 0
        masked = settings.operation == "mask" and number in chosen
        role = "masked" if masked else "clip"
        pieces.append(piece(source, 0, at, fps, (first, last), role=role))
    return pieces


def _spoiled(
    shown: Iterator[Picture], pieces: list[Piece], settings: Settings
) -> Iterator[Picture]:
    """The pictures with masked pieces black, and all of them spoiled under `degrade`."""
    black = {
        number
        for item in pieces
        if item.role == "masked"
        for number in range(item.start_frame, item.end_frame)
    }
    rng = np.random.default_rng([settings.seed, 1])
    for number, picture in enumerate(shown):
        if number in black:
            yield np.zeros_like(picture)
        elif settings.operation == "degrade":
            yield spoil(picture, settings.damage, settings.strength, rng)
        else:
            yield picture


def spoil(picture: Picture, damage: str, strength: float, rng: np.random.Generator) -> Picture:
    """One spoiled picture; at strength 1 hardly anything can be told."""
    import cv2

    height, width = picture.shape[:2]
    if damage == "blur":
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.5 + strength * height / 16))
    if damage == "noise":
        noisy = picture + rng.normal(0, 90 * strength, picture.shape)
        return np.clip(noisy, 0, 255).astype(np.uint8)
    if damage == "pixels":
        side = 1 + strength * height / 8
        small = (max(1, round(width / side)), max(1, round(height / side)))
        tiny = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(tiny, (width, height), interpolation=cv2.INTER_NEAREST))
    return np.asarray(picture * (1 - 0.95 * strength)).astype(np.uint8)
