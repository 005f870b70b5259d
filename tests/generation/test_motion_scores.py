"""Cuts inside clips and likeness of neighbouring frames, where both are known."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import planted
import pytest
from hypothesis import given
from hypothesis import strategies as st
from narrated import Eye

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Frame, Part, Video
from clipmill.stages.models import encoder_stage
from clipmill.stages.models.encoder import Vectors
from clipmill.stages.models.identity import ModelIdentity
from clipmill.stages.score.count_cuts import CountCuts
from clipmill.stages.score.count_cuts import Settings as Cuts
from clipmill.stages.score.score_consistency import ScoreConsistency, Settings


def spans(*borders: int) -> list[Span]:
    return [Span(MILLISECONDS, *pair) for pair in itertools.pairwise(borders)]


def cuts(shots: list[Span], clips: list[Span], **own: object) -> list[float]:
    video = Video("v", "v.mp4")
    video.add_segments("shots", shots)
    video.add_segments("clips", clips)
    CountCuts(Cuts(**own)).process(Part(video))
    return [segment.scores["cuts"] for segment in video.layer("clips")]


@given(
    st.lists(st.integers(400, 3000), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.integers(1, 4)), min_size=1, max_size=6),
    st.integers(-100, 100),
)
def test_a_clip_has_one_cut_less_than_shots_a_frame_off_or_not(
    lengths: list[int], clips: list[tuple[int, int]], off: int
) -> None:
    borders = [0, *np.cumsum(lengths).tolist()]
    wanted = [(first, min(first + held, len(lengths))) for first, held in clips
              if first < len(lengths)]  # fmt: skip
    asked = [Span(MILLISECONDS, borders[a] + off, borders[b] + off) for a, b in wanted]
    found = cuts(spans(*borders), asked)
    assert found == [float(b - a - 1) for a, b in wanted]


def test_a_dissolve_that_belongs_to_no_shot_is_one_cut() -> None:
    shots = [*spans(0, 2000), *spans(2600, 5000)]
    assert cuts(shots, spans(0, 5000)) == [1.0]
    assert cuts(shots, [*spans(2000, 2600), *spans(0, 1000)]) == [0.0, 0.0]
    assert cuts(shots, spans(0, 2700)) == [0.0] and cuts(shots, spans(0, 2700), edge_s=0) == [1.0]


class Turning:
    """An encoder at the edge: the picture's first byte is the angle of its vector, in degrees."""

    identity = ModelIdentity("turning", "1")

    def setup(self) -> None: ...

    def close(self) -> None: ...

    def images(self, pictures: Sequence[bytes]) -> Vectors:
        angles = np.radians([picture[0] for picture in pictures])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    def texts(self, texts: Sequence[str]) -> Vectors:
        raise AssertionError("no text is asked for")


def consistency(part: Part, **own: object) -> list[tuple[float | None, float | None]]:
    stage = ScoreConsistency(Settings(**own))
    stage.setup()
    stage.process(part)
    names = ("consistency", "consistency_least")
    return [tuple(s.scores.get(n) for n in names) for s in part.video.segments]  # type: ignore[misc]


def test_the_score_is_the_mean_cosine_of_neighbours_and_the_least_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encoder_stage, "open_encoder", lambda _: Turning())
    video = Video("v", "v.mp4")
    video.add_segments("shots", spans(0, 1000, 2000, 3000, 4000))
    part = Part(video)
    angles = ([10, 10, 70], [5, 5, 5], [40], [])
    for segment, own in zip(video.segments, angles, strict=True):
        part.frames[segment.id] = [Frame(MILLISECONDS, 0, bytes([a]), 8, 8) for a in own]
    first, second, third, fourth = consistency(part)
    assert first == pytest.approx((0.75, 0.5)) and second == pytest.approx((1.0, 1.0))
    assert third == fourth == (None, None)


def test_clips_of_two_scenes_fall_below_all_of_one_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_stage, "open_encoder", lambda _: Eye())
    whole, torn = [], []
    for part in planted.painted(10, frames=6, seed=4, scenes=2).parts:
        one, other = part.video.segments
        whole += [least for _, least in consistency(part)]
        pair = part.frames[one.id] + part.frames[other.id]
        part.frames = {one.id: pair}
        one.scores.clear()
        torn.append(consistency(part)[0][1])
    assert np.quantile([w or 0 for w in whole], 0.1) > max(t or 0 for t in torn) + 0.3
