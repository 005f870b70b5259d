"""Lay spans of source clips on a new time line, and write it with a manifest of what came whence.

Every composed or transformed video is a list of pieces: a span of a source, played forwards or
backwards at some speed, from one frame of the output to another. The manifest is that list, so the
file and its truth cannot differ. Output frames are constant in rate; each shows the source frame on
screen in the middle of its own time, which is stable against rounded timestamps.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipmill.schemas.arrow import from_arrow, to_arrow
from clipmill.schemas.clocks import Span
from clipmill.schemas.errors import ClipmillError
from clipmill.schemas.fingerprints import fingerprint
from clipmill.schemas.records import Probe
from clipmill.stages.media.audio import audio, has_audio
from clipmill.stages.media.frames import display_size, scan
from clipmill.stages.media.probe import probe

Picture = NDArray[np.uint8]

_BACKWARDS = 48
"""Frames decoded and held at a time where a piece plays backwards."""


@dataclass(frozen=True, slots=True)
class Clip:
    """An input: a video file or a span of it, with a text that describes it, if there is one."""

    id: str
    path: Path
    span: Span | None = None
    text: str = ""


@dataclass(slots=True)
class Piece:
    """A source's span and where it lies in the output: frames [start_frame, end_frame)."""

    source: str
    input: int  # position in the list of inputs
    span: Span
    start_frame: int
    end_frame: int
    start_s: float
    end_s: float
    role: str = "clip"  # clip, host, needle
    speed: float = 1.0
    backwards: bool = False
    text: str = ""


@dataclass(slots=True)
class Manifest:
    """What a composed file is made of. `parents` are the ids of its sources, each once."""

    operation: str
    seed: int
    settings: dict[str, str]
    parents: list[str]
    width: int
    height: int
    fps_num: int
    fps_den: int
    frames: int
    seconds: float
    pieces: list[Piece] = field(default_factory=list)

    def digest(self) -> str:
        return fingerprint(to_arrow(self))

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(to_arrow(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Manifest:
        return from_arrow(cls, json.loads(path.read_text(encoding="utf-8")))


@dataclass(frozen=True, slots=True)
class Source:
    """A clip that has been looked at: its facts and the seconds of it that are used."""

    clip: Clip
    probe: Probe
    start: Fraction
    end: Fraction

    @classmethod
    def read(cls, clip: Clip, stage: str) -> Source:
        """Probe a clip. Raises MediaError, or ClipmillError for a span that is not in the file."""
        facts = probe(clip.path)
        picture = facts.picture.clock
        end = Fraction(facts.duration_s).limit_denominator(1_000_000)
        if clip.span is None:
            return cls(clip, facts, Fraction(0), end)
        first, last = (clip.span.clock.exact(at) for at in (clip.span.start, clip.span.end))
        tolerance = Fraction(picture.num, picture.den)
        if first < 0 or last > end + tolerance or last <= first:
            raise ClipmillError(
                f"span {float(first):.3f}-{float(last):.3f} s is not inside 0-{float(end):.3f} s",
                cure="give a span of the clip's own presentation time",
                input=clip.id,
                stage=stage,
            )
        return cls(clip, facts, first, last)

    def fps(self) -> Fraction:
        """Its frame rate, 25 where unknown or absurd."""
        num, den = self.probe.picture.fps_num, self.probe.picture.fps_den
        rate = Fraction(num, den) if num and den else Fraction(25)
        return rate if 1 <= rate <= 120 else Fraction(25)

    def size(self) -> tuple[int, int]:
        """Its displayed size, rounded to even numbers."""
        width, height = display_size(self.probe.picture)
        return max(2, width // 2 * 2), max(2, height // 2 * 2)


def piece(
    source: Source,
    number: int,
    start_frame: int,
    fps: Fraction,
    seconds: tuple[Fraction, Fraction],
    speed: Fraction = Fraction(1),
    backwards: bool = False,
    role: str = "clip",
) -> Piece:
    """A stretch of a source (presentation seconds) at a place of the output, at least 1 frame."""
    clock = source.probe.picture.clock
    first, last = seconds
    count = max(1, round((last - first) / speed * fps))
    end_frame = start_frame + count
    return Piece(
        source.clip.id,
        number,
        Span(clock, clock.tick(first), clock.tick(last)),
        start_frame,
        end_frame,
        float(start_frame / fps),
        float(end_frame / fps),
        role,
        float(speed),
        backwards,
        source.clip.text,
    )


def shuffled(count: int, rng: np.random.Generator) -> list[int]:
    """A random order that is not the given one, where there is another."""
    order = list(range(count))
    while count > 1 and order == sorted(order):
        order = [int(number) for number in rng.permutation(count)]
    return order


def frames(
    sources: Sequence[Source], pieces: Sequence[Piece], size: tuple[int, int], fps: Fraction
) -> Iterator[Picture]:
    """Every output frame; where pieces overlap the later one is blended in over the overlap."""
    import cv2

    waiting = sorted(pieces, key=lambda item: item.start_frame)
    active: list[tuple[Piece, Iterator[Picture]]] = []
    for number in range(max(item.end_frame for item in pieces)):
        while waiting and waiting[0].start_frame == number:
            item = waiting.pop(0)
            active.append((item, _frames_of(sources[item.input], item, size, fps)))
        picture: Picture | None = None
        before: Piece | None = None
        for item, shown in active:
            own = next(shown)
            if picture is None or before is None:
                picture = own
            else:
                shared = before.end_frame - item.start_frame
                share = (number - item.start_frame + 1) / (shared + 1)
                picture = np.asarray(cv2.addWeighted(picture, 1 - share, own, share, 0), np.uint8)
            before = item
        if picture is None:
            raise ValueError(f"no piece covers output frame {number}")
        yield picture
        active = [pair for pair in active if pair[0].end_frame > number + 1]


def sound(
    sources: Sequence[Source], pieces: Sequence[Piece], fps: Fraction, rate: int
) -> NDArray[np.int16] | None:
    """The mixed sound, mono, as long as the picture; None where no source has any.

    Another speed changes the pitch, as a tape does.
    """
    if not any(has_audio(sources[item.input].probe) for item in pieces):
        return None
    total = max(item.end_frame for item in pieces)
    track = np.zeros(round(total / fps * rate))
    ordered = sorted(pieces, key=lambda item: item.start_frame)
    for number, item in enumerate(ordered):
        first, last = (round(at / fps * rate) for at in (item.start_frame, item.end_frame))
        wave = _sound_of(sources[item.input], item, last - first, rate)
        if number and ordered[number - 1].end_frame > item.start_frame:
            count = round((ordered[number - 1].end_frame - item.start_frame) / fps * rate)
            wave[:count] *= np.linspace(0, 1, count)
            track[first : first + count] *= np.linspace(1, 0, count)
        track[first:last] += wave
    return np.clip(np.round(track), -32768, 32767).astype(np.int16)


def _sound_of(source: Source, item: Piece, count: int, rate: int) -> NDArray[np.float64]:
    start, end = item.span.start_s, item.span.end_s
    chunks = list(audio(source.clip.path, source.probe, rate=rate, start_s=start, end_s=end))
    if not chunks:
        return np.zeros(count)
    wave = np.concatenate(chunks).astype(np.float64)
    if item.backwards:
        wave = wave[::-1]
    if item.speed != 1:
        at = np.arange(count) * item.speed
        return np.asarray(np.interp(at, np.arange(len(wave)), wave, right=0.0), np.float64)
    return np.pad(wave, (0, max(0, count - len(wave))))[:count]


def _frames_of(
    source: Source, item: Piece, size: tuple[int, int], fps: Fraction
) -> Iterator[Picture]:
    count = item.end_frame - item.start_frame
    if not item.backwards:
        yield from _forwards(source, item, 0, count, size, fps)
        return
    for last in range(count, 0, -_BACKWARDS):
        first = max(0, last - _BACKWARDS)
        yield from reversed(list(_forwards(source, item, first, last, size, fps)))


def _forwards(
    source: Source, item: Piece, first: int, last: int, size: tuple[int, int], fps: Fraction
) -> Iterator[Picture]:
    """Frames [first, last) of the piece, counted as if it played forwards."""
    clock = source.probe.picture.clock
    step = Fraction(item.speed).limit_denominator(1000) / fps
    origin = clock.exact(item.span.start)
    wanted = clock.tick(origin + (first + Fraction(1, 2)) * step, "floor")
    end = clock.tick(origin + last * step, "ceil")
    shown = _scan_from(source, wanted, max(wanted + 1, end))
    held = next(shown)
    picture = fit(held[1], size)
    following = next(shown, None)
    for number in range(first, last):
        middle = origin + (number + Fraction(1, 2)) * step
        newest: Picture | None = None
        while following is not None and clock.exact(following[0]) <= middle:
            newest, following = following[1], next(shown, None)
        if newest is not None:
            picture = fit(newest, size)
        yield picture


def _scan_from(source: Source, wanted: int, end: int) -> Iterator[tuple[int, Picture]]:
    """(tick, pixels) from the frame on screen at tick `wanted`, or from one before it, to `end`.

    How long a frame stays on screen is not known beforehand: looks back a second, then further.
    """
    stream = source.probe.picture
    earliest = stream.clock.zero if stream.first is None else stream.first
    back = Fraction(1)
    while True:
        low = max(earliest, wanted - round(back * stream.clock.den / stream.clock.num))
        shown = scan(source.clip.path, source.probe, Span(stream.clock, low, max(low + 1, end)))
        held = next(shown, None)
        if held is not None and (held[0] <= wanted or low == earliest):
            yield held
            yield from shown
            return
        if low == earliest:
            raise ClipmillError(
                f"no frame decodes near {stream.clock.seconds(wanted):.3f} s",
                cure="probe the file for damage, or leave it out",
                input=source.clip.id,
            )
        back *= 4


def fit(picture: Picture, size: tuple[int, int]) -> Picture:
    """The picture inside a canvas of (width, height), its shape kept, black at the sides."""
    import cv2

    width, height = size
    tall, wide = picture.shape[:2]
    if (wide, tall) == size:
        return picture
    scale = min(width / wide, height / tall)
    inner = (max(1, round(wide * scale)), max(1, round(tall * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = cv2.resize(picture, inner, interpolation=how)
    canvas = np.zeros((height, width, 3), np.uint8)
    x, y = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas[y : y + inner[1], x : x + inner[0]] = scaled
    return canvas
