"""compose_clips: several clips become one longer video whose every border is known.

Concatenated, permuted, with needles inserted into a long clip, or overlapping. It is a plain
function and not a stage, because it turns N inputs into one new input; the result goes through a
recipe like any other video, with `Manifest.parents` as its sources. All decoding and encoding runs
in the sandbox, since the clips may be anybody's.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
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

__all__ = ["Clip", "Manifest", "Settings", "compose"]

STAGE = "compose_clips"


class Settings(StageSettings):
    """How clips are put together."""

    operation: Literal["concat", "permute", "insert", "overlap"] = "concat"
    """In the order given; shuffled; the later clips inserted into the first; faded into another."""
    seed: int = Field(0, ge=0)
    """Decides the order of `permute` and the times of `insert`."""
    width: int | None = Field(None, ge=16, multiple_of=2)
    """Width of the result; that of the first clip by default. Other shapes get black sides."""
    height: int | None = Field(None, ge=16, multiple_of=2)
    """Height of the result; that of the first clip by default."""
    fps: float | None = Field(None, gt=0, le=120)
    """Frames per second; those of the first clip by default."""
    overlap_s: float = Field(0.5, gt=0)
    """Seconds that neighbours share under `overlap`."""
    margin_s: float = Field(0.5, ge=0)
    """Least seconds of the first clip before, between and behind needles under `insert`."""
    min_speed: float = Field(1.0, ge=0.1, le=10)
    """Clips are played at a random speed, log-uniform from this one ..."""
    max_speed: float = Field(1.0, ge=0.1, le=10)
    """... to this one; the host and the needles of `insert` keep theirs."""
    crf: int = Field(18, ge=0, le=40)
    """Constant quality of the encoding."""
    rate: int = Field(48_000, ge=8000)
    """Sampling rate of the sound, which is mono."""
    timeout_s: float = Field(1800.0, gt=0)
    """Wall clock for the whole work."""


def compose(clips: Sequence[Clip], settings: Settings, out: Path) -> Manifest:
    """Write the composed video to `out` and its manifest to `out` with suffix `.json`.

    Raises MediaError for a clip that cannot be read and ClipmillError for an impossible request.
    """
    if not clips:
        raise ClipmillError("there are no clips", cure="give at least one clip", stage=STAGE)
    manifest = sandbox.call(_compose, list(clips), settings, out, timeout_s=settings.timeout_s)
    manifest.save(out.with_suffix(".json"))
    return manifest


def _compose(clips: list[Clip], settings: Settings, out: Path) -> Manifest:
    sources = [Source.read(clip, STAGE) for clip in clips]
    fps = sources[0].fps()
    if settings.fps is not None:
        fps = Fraction(settings.fps).limit_denominator(1001)
    own = sources[0].size()
    size = (settings.width or own[0], settings.height or own[1])
    pieces = arrange(sources, settings, fps)
    wave = sound(sources, pieces, fps, settings.rate)
    shown = frames(sources, pieces, size, fps)
    count = write_video(out, shown, fps, wave, settings.rate, crf=settings.crf)
    return Manifest(
        settings.operation,
        settings.seed,
        {key: str(value) for key, value in settings.model_dump(mode="json").items()},
        list(dict.fromkeys(source.clip.id for source in sources)),
        *size,
        fps.numerator,
        fps.denominator,
        count,
        float(count / fps),
        pieces,
    )


def arrange(sources: Sequence[Source], settings: Settings, fps: Fraction) -> list[Piece]:
    """Where each clip goes, in output order."""
    rng = np.random.default_rng(settings.seed)
    if settings.operation == "insert":
        return _insert(sources, settings, fps, rng)
    order = list(range(len(sources)))
    if settings.operation == "permute":
        order = shuffled(len(sources), rng)
    shared = round(Fraction(settings.overlap_s) * fps) if settings.operation == "overlap" else 0
    pieces: list[Piece] = []
    at = 0
    for number in order:
        source = sources[number]
        placed = piece(source, number, at, fps, (source.start, source.end), _speed(settings, rng))
        # Under half of the shortest clip, so that at most two are ever seen at once.
        if 2 * shared >= placed.end_frame - placed.start_frame and len(sources) > 1 and shared:
            raise ClipmillError(
                f"the clip lasts less than twice overlap_s={settings.overlap_s}",
                cure="lower overlap_s or leave the clip out",
                input=source.clip.id,
                stage=STAGE,
            )
        pieces.append(placed)
        at = placed.end_frame - shared
    return pieces


def _speed(settings: Settings, rng: np.random.Generator) -> Fraction:
    low, high = sorted((settings.min_speed, settings.max_speed))
    if low == high:
        return Fraction(low).limit_denominator(1000)
    return Fraction(float(np.exp(rng.uniform(*np.log([low, high]))))).limit_denominator(1000)


def _insert(
    sources: Sequence[Source], settings: Settings, fps: Fraction, rng: np.random.Generator
) -> list[Piece]:
    """The first clip with the others inserted at random times, in random order."""
    host, count = sources[0], len(sources) - 1
    margin = Fraction(settings.margin_s)
    free = host.end - host.start - margin * (count + 1)
    if count < 1 or free <= 0:
        raise ClipmillError(
            f"{count} needles with {settings.margin_s} s around each do not fit into "
            f"{float(host.end - host.start):.1f} s",
            cure="give a longer first clip, fewer needles or a smaller margin_s",
            input=host.clip.id,
            stage=STAGE,
        )
    draws = sorted(Fraction(value).limit_denominator(10**6) for value in rng.random(count))
    # On whole frames of the output, so that the host loses and repeats nothing at a border.
    cuts = [
        host.start + Fraction(round((margin * (k + 1) + free * draw) * fps)) / fps
        for k, draw in enumerate(draws)
    ]
    pieces: list[Piece] = []
    at, from_s = 0, host.start
    for cut, needle in zip(cuts, rng.permutation(count) + 1, strict=True):
        number = int(needle)
        pieces.append(piece(host, 0, at, fps, (from_s, cut), role="host"))
        source = sources[number]
        span = (source.start, source.end)
        pieces.append(piece(source, number, pieces[-1].end_frame, fps, span, role="needle"))
        at, from_s = pieces[-1].end_frame, cut
    pieces.append(piece(host, 0, at, fps, (from_s, host.end), role="host"))
    return pieces
