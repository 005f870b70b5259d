"""Damaged copies of good files go through probe, split, sample and cut without hanging or crashing.

Every mutation is seeded and ends in a counted class: fine, or the kind of a `MediaError`. The
number tried is CLIPMILL_MUTATIONS, 40 by default; release checks use 200 and more.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from clipmill.schemas.errors import MediaError
from clipmill.schemas.records import Part, Video
from clipmill.stages.clip import cut_clip
from clipmill.stages.frames import sample_frames
from clipmill.stages.media import sandbox
from clipmill.stages.media.limits import Limits
from clipmill.stages.source import probe_media
from clipmill.stages.split import split_shots
from tests.rendered import render

COUNT = int(os.environ.get("CLIPMILL_MUTATIONS", "40"))
LIMITS = Limits(timeout_s=60, memory_gb=2, max_pixels=1_000_000, max_hours=1)
KINDS = {
    "fine",
    "unreadable",
    "no_video",
    "undecodable",
    "partial",
    "over_limit",
    "decoder_lost",
    "media",
}

Mutation = Callable[[bytearray, random.Random], bytearray]


def flipped(data: bytearray, chance: random.Random) -> bytearray:
    """Single bits anywhere."""
    for _ in range(chance.choice([1, 4, 16, 64])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def truncated(data: bytearray, chance: random.Random) -> bytearray:
    return data[: chance.randrange(len(data))]


def lied(data: bytearray, chance: random.Random) -> bytearray:
    """Sizes and counts in a box of an MP4, or four bytes anywhere, become extreme."""
    names = (
        b"moov",
        b"mdat",
        b"stts",
        b"ctts",
        b"stsz",
        b"stsc",
        b"stco",
        b"avcC",
        b"elst",
        b"tkhd",
    )
    places = [at for name in names if (at := data.find(name)) >= 4]
    at = chance.choice(places) + chance.choice([-4, 4, 8, 12]) if places else 0
    at = at if places and 0 <= at < len(data) - 4 else chance.randrange(len(data) - 4)
    value = chance.choice([0, 1, 7, 0x7FFFFFFF, 0xFFFFFFFF, chance.randrange(2**32)])
    data[at : at + 4] = value.to_bytes(4, "big")
    return data


def swapped(data: bytearray, chance: random.Random) -> bytearray:
    """The head of one half of the file and the body of another place."""
    size = chance.randrange(16, len(data) // 4)
    a, b = (chance.randrange(len(data) - size) for _ in range(2))
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]
    return data


def blanked(data: bytearray, chance: random.Random) -> bytearray:
    size = chance.randrange(1, len(data) // 8)
    at = chance.randrange(len(data) - size)
    data[at : at + size] = bytes(size)
    return data


def doubled(data: bytearray, chance: random.Random) -> bytearray:
    size = chance.randrange(1, len(data) // 4)
    at = chance.randrange(len(data) - size)
    data[at:at] = data[at : at + size]
    return data


MUTATIONS: list[Mutation] = [flipped, truncated, lied, swapped, blanked, doubled]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    folder = tmp_path_factory.mktemp("good")
    small: dict[str, Any] = {"size": (96, 64), "beeps": [0.2]}
    silent = small | {"beeps": None}
    yield [
        render(folder / "a.mp4", [10, 14], bframes=2, gop=6, **small).path,
        render(folder / "b.mkv", [10, 14], bframes=2, gop=6, **small).path,
        render(folder / "c.ts", [10, 14], gop=6, **small).path,
        render(folder / "d.webm", [10, 14], codec="libvpx", **silent).path,
        render(folder / "e.avi", [10, 14], codec="mpeg4", time_base=Fraction(1, 25), **silent).path,
    ]
    sandbox.close()


def put_through(path: Path, out: Path, mode: str) -> str:
    """The class in which a file ends."""
    video = Video(id=path.name, source=str(path))
    stages = [
        probe_media.ProbeMedia(probe_media.Settings(limits=LIMITS)),
        split_shots.SplitShots(split_shots.Settings(detector="fast", limits=LIMITS)),
        sample_frames.SampleFrames(sample_frames.Settings(count=2, limits=LIMITS)),
    ]
    try:
        part = Part(video)
        for stage in stages:
            part = stage.process(part)  # type: ignore[attr-defined]
        assert video.probe is not None
        spans = {f"{n:03d}": segment.span for n, segment in enumerate(video.segments[:4])}
        settings = cut_clip.Settings.model_validate({"mode": mode, "limits": LIMITS})
        cut_clip.CutClip(settings).cut(path, video.probe, spans, out)
    except MediaError as error:
        return error.kind
    return "fine"


def test_every_mutation_ends_in_a_counted_class(good: list[Path], tmp_path: Path) -> None:
    ends: Counter[str] = Counter()
    for number in range(COUNT):
        chance = random.Random(number)
        source = good[number % len(good)]
        mutate = MUTATIONS[number // len(good) % len(MUTATIONS)]
        path = tmp_path / f"{number:04d}{source.suffix}"
        path.write_bytes(mutate(bytearray(source.read_bytes()), chance))
        mode = ("smart", "encode", "copy")[number % 3]
        ends[put_through(path, tmp_path / "out", mode)] += 1
    print(dict(ends))
    assert sum(ends.values()) == COUNT
    assert set(ends) <= KINDS
    assert ends["fine"] > 0
    # Each file has at most 24 frames: whatever it claims, nothing may reach the caps on resources.
    assert ends["decoder_lost"] == 0


def test_unharmed_files_are_fine(good: list[Path], tmp_path: Path) -> None:
    assert [put_through(path, tmp_path / path.stem, "smart") for path in good] == ["fine"] * 5
