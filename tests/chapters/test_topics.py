"""Topics by picture and speech together against either alone, and against cuts; borders scored."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from topical import Topical, topical

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Author, Part, Segment, Video
from clipmill.stages.asr_text.assign_speech import AssignSpeech
from clipmill.stages.asr_text.assign_speech import Settings as Speech
from clipmill.stages.frames.embed import Embed
from clipmill.stages.frames.embed import Settings as Vectors
from clipmill.stages.models import encoder_stage
from clipmill.stages.models.identity import ModelIdentity
from clipmill.stages.score.score_borders import ScoreBorders, Settings, paired
from clipmill.stages.split.split_semantic import Settings as Topics
from clipmill.stages.split.split_semantic import SplitSemantic

ARMS = {"picture": ("clip",), "speech": ("words",), "both": ("clip", "words")}
WAYS: list[dict[str, Any]] = [
    *({"method": "kernel", "penalty": price} for price in (0.35, 0.5, 0.75)),
    *({"method": "dip", "context": context, "depth": 0.5} for context in (3, 5)),
]
"""Settings of split_semantic; the recipes use the second and the last."""


@pytest.fixture(scope="module")
def videos() -> list[Topical]:
    """Videos with vectors of pictures and speech, by the encoder that ships."""
    made = [topical(seed) for seed in range(5)]
    stages = [
        Embed(Vectors(encoder={"model": "embedded"}, layer="windows")),
        Embed(Vectors(encoder={"model": "embedded"}, layer="windows", role="asr", name="words")),
    ]
    for stage in stages:
        stage.setup()
    for one in made:
        AssignSpeech(Speech(layer="windows")).process(one.part)
        for stage in stages:
            stage.process(one.part)
    return made


def f1(videos: list[Topical], layer: str, within_s: float) -> float:
    """F1 of the borders of a layer, over all videos together."""
    hits = found = true = 0
    for one in videos:
        starts = sorted(Fraction(s.span.start_s) for s in one.part.video.layer(layer))[1:]
        hits += paired(starts, [Fraction(b) for b in one.borders], Fraction(within_s))
        found, true = found + len(starts), true + len(one.borders)
    return 2 * hits / (found + true)


def parted(videos: list[Topical], arm: str, way: dict[str, Any]) -> str:
    """Part the videos into topics; the name of the layer."""
    layer = f"{arm}{WAYS.index(way)}"
    for one in videos:
        if one.part.video.layer(layer):
            continue
        SplitSemantic(Topics(embeddings=ARMS[arm], into=layer, min_s=15.0, **way)).process(one.part)
    return layer


@pytest.mark.models
@pytest.mark.parametrize("within_s", [5.0, 10.0])
def test_picture_and_speech_together_find_topics_better_than_either(
    videos: list[Topical], within_s: float
) -> None:
    cuts = f1(videos, "windows", within_s)  # every shot a topic
    best = dict.fromkeys(ARMS, 0.0)
    for way in WAYS:
        found = {arm: f1(videos, parted(videos, arm, way), within_s) for arm in ARMS}
        print(f"{within_s:g} s {way}: " + ", ".join(f"{a} {v:.2f}" for a, v in found.items()))
        best = {arm: max(best[arm], found[arm]) for arm in ARMS}
    print(f"{within_s:g} s best: {best}, cuts {cuts:.2f}")
    for way in (WAYS[1], WAYS[-1]):  # at the recipes' settings, and at the best of each arm
        mine = {arm: f1(videos, f"{arm}{WAYS.index(way)}", within_s) for arm in ARMS}
        assert mine["both"] >= max(mine["picture"], mine["speech"], cuts) + 0.03
    assert best["both"] >= max(best["picture"], best["speech"], cuts) + 0.03
    assert best["both"] >= 0.9


class Words:
    """An encoder at the edge: a direction for each word."""

    identity = ModelIdentity("words", "1")

    def setup(self) -> None: ...

    def close(self) -> None: ...

    def texts(self, texts: list[str]) -> Any:
        names = ("one", "two", "three")
        rows = np.array([[float(name in text.split()) for name in names] for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_a_text_is_embedded_with_its_neighbours_and_silence_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encoder_stage, "open_encoder", lambda _: Words())
    said = ["one", "", "two two", "three", ""]

    def embedded(around: int) -> list[list[float]]:
        video = Video("v", "v.mp4")
        video.add_segments("windows", [Span.of_seconds(n, n + 1) for n in range(5)])
        for segment, text in zip(video.segments, said, strict=True):
            if text:
                segment.add_text("asr", "old", Author("a"))
                segment.add_text("asr", text, Author("b"))
        stage = Embed(Vectors(layer="windows", role="asr", name="words", around=around))
        assert stage.reads() == {"segments:windows", "texts:asr"}
        stage.setup()
        stage.process(Part(video))
        return [[round(x, 3) for e in s.embeddings for x in e.vector] for s in video.segments]

    assert embedded(0) == [[1, 0, 0], [], [0, 1, 0], [0, 0, 1], []]
    half = round(0.5**0.5, 3)
    assert embedded(1) == [[1, 0, 0], [half, half, 0], [0, half, half], [0, half, half], [0, 0, 1]]


def scored(found: list[float], true: list[float], tolerance: float = 5.0) -> dict[str, float]:
    video = Video("v", "v.mp4")
    video.add_segments("video", [Span.of_seconds(0, 100)])
    for layer, starts in (("topics", found), ("chapters", true)):
        ends = [*starts[1:], 100.0][: len(starts)]
        video.add_segments(
            layer, [Span.of_seconds(a, b) for a, b in zip(starts, ends, strict=True)]
        )
    stage = ScoreBorders(Settings(tolerance_s=tolerance))
    [whole] = stage.process(Part(video)).video.layer("video")
    return whole.scores


def test_borders_are_paired_one_to_one_and_the_first_start_is_none() -> None:
    assert scored([0, 20, 60], [0, 21, 58]) == {
        "borders_precision": 1.0, "borders_recall": 1.0, "borders_f1": 1.0,
    }  # fmt: skip
    two_near_one = scored([0, 19, 22, 60], [0, 21, 80])
    assert two_near_one["borders_precision"] == 1 / 3 and two_near_one["borders_recall"] == 1 / 2
    assert scored([0], [0, 50])["borders_f1"] == 0.0
    assert scored([0, 50], [0]) == {}  # one chapter has no border to find
    assert scored([0, 50], []) == {}
    assert (
        scored([0, 26], [0, 20], 5)["borders_f1"] == 0 < scored([0, 25], [0, 20], 5)["borders_f1"]
    )


def best_pairs(found: list[int], true: list[int], tolerance: int) -> int:
    """As many pairs as can be, by trying every choice."""
    if not found or not true:
        return 0
    head, *rest = found
    left_out = best_pairs(rest, true, tolerance)
    taken = [
        1 + best_pairs(rest, true[:k] + true[k + 1 :], tolerance)
        for k, other in enumerate(true)
        if abs(head - other) <= tolerance
    ]
    return max([left_out, *taken])


@given(
    st.lists(st.integers(0, 30), max_size=5).map(sorted),
    st.lists(st.integers(0, 30), max_size=5).map(sorted),
    st.integers(0, 6),
)
def test_as_many_borders_are_paired_as_can_be(found: list[int], true: list[int], near: int) -> None:
    exact = paired([Fraction(f) for f in found], [Fraction(t) for t in true], Fraction(near))
    assert exact == best_pairs(found, true, near)


def test_borders_of_other_segments_are_not_counted() -> None:
    video = Video("v", "v.mp4")
    video.add_segments("video", [Span.of_seconds(0, 50), Span.of_seconds(50, 100)])
    video.segments += [
        Segment(f"topics-{n}", "topics", Span.of_seconds(a, b))
        for n, (a, b) in enumerate([(0, 20), (20, 50), (50, 90), (90, 100)])
    ]
    video.add_segments("chapters", [Span.of_seconds(0, 20), Span.of_seconds(20, 50)])
    first, second = ScoreBorders(Settings()).process(Part(video)).video.layer("video")
    assert first.scores["borders_f1"] == 1.0 and second.scores == {}
