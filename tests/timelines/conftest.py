"""Composed videos with known events, made once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "dense_captions"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "speech"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit" / "frames"))

from narrator import composed, part_at

from clipmill.schemas.records import Part
from clipmill.stages.compose.truth import Truth
from clipmill.stages.frames.sample_frames import SampleFrames
from clipmill.stages.frames.sample_frames import Settings as Frames
from clipmill.stages.split.split_uniform import Settings as Windows
from clipmill.stages.split.split_uniform import SplitUniform


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Truth]]:
    return composed(tmp_path_factory.mktemp("composed"))


@pytest.fixture(scope="session")
def sampled(videos: list[tuple[Path, Truth]]) -> list[Part]:
    """Each video as one clip with two pictures a second; to be copied, never changed."""
    parts = []
    for path, _ in videos:
        part = SplitUniform(Windows(window_s=600, layer="clips")).process(part_at(path))
        frames = Frames(layer="clips", policy="fps", fps=2, count=200, max_side=112)
        parts.append(SampleFrames(frames).process(part))
    return parts
