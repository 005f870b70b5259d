"""Joining segments, setting them into a tree, and reducing texts: rules, borders, bad replies."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipmill.schemas.clocks import MILLISECONDS, Clock, Span
from clipmill.schemas.records import Author, Frame, Part, Probe, Segment, Stream, Video
from clipmill.stages.hierarchy.build_tree import BuildTree
from clipmill.stages.hierarchy.build_tree import Settings as Tree
from clipmill.stages.hierarchy.reduce_tree import ReduceTree
from clipmill.stages.hierarchy.reduce_tree import Settings as Reduce
from clipmill.stages.hierarchy.tree import Node, tree_of
from clipmill.stages.models import encoder_stage, teacher_stage
from clipmill.stages.models.identity import ModelIdentity
from clipmill.stages.models.teacher import Reply, Request
from clipmill.stages.models.teacher_settings import TeacherSettings
from clipmill.stages.split.merge_segments import MergeSegments, runs_of_length
from clipmill.stages.split.merge_segments import Settings as Merge

PICTURE = Clock("v0", 1, 1000)


def video_of(seconds: float, **layers: Sequence[tuple[float, float]]) -> Video:
    stream = Stream(0, "video", "h264", PICTURE, first=0, end=round(seconds * 1000))
    video = Video("v", "v.mp4", probe=Probe("mp4", 1, seconds, 0, [stream]))
    for layer, spans in layers.items():
        video.add_segments(layer, [Span.of_seconds(a, b) for a, b in spans])
    return video


class Angles:
    """An encoder at the edge: a picture is an angle in degrees, and nothing else."""

    identity = ModelIdentity("angles", "1")

    def setup(self) -> None: ...

    def close(self) -> None: ...

    def images(self, pictures: Sequence[bytes]) -> np.ndarray:
        turns = np.radians([float(picture) for picture in pictures])
        return np.stack([np.cos(turns), np.sin(turns)], 1)


def stitched(
    shots: Sequence[tuple[float, float, float, float]], monkeypatch: pytest.MonkeyPatch, **more: Any
) -> list[tuple[float, float]]:
    """Shots as (start, end, angle of the first picture, of the last) -> spans of what is joined."""
    monkeypatch.setattr(encoder_stage, "open_encoder", lambda _: Angles())
    video = video_of(shots[-1][1], shots=[shot[:2] for shot in shots])
    frames = {
        segment.id: [Frame(PICTURE, n, str(angle).encode(), 1, 1) for n, angle in enumerate(ends)]
        for segment, (_, _, *ends) in zip(video.segments, shots, strict=True)
    }
    stage = MergeSegments(Merge(**more))
    stage.setup()
    part = stage.process(Part(video, frames=frames))
    return [(s.span.start_s, s.span.end_s) for s in part.video.layer("merged")]


def test_shots_are_joined_where_their_borders_look_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    # 30 degrees are a distance of 0.52, 40 of 0.68. The second joins the first though the two
    # begin far apart: only the pictures at the border count.
    shots = [(0.0, 2.0, 0, 30), (2.0, 4.0, 60, 60), (4.0, 6.0, 100, 100)]
    assert stitched(shots, monkeypatch) == [(0, 4), (4, 6)]
    assert stitched(shots, monkeypatch, stitch=0.7) == [(0, 6)]
    assert stitched(shots, monkeypatch, stitch=0.7, max_s=5) == [(0, 4), (4, 6)]


def test_a_shot_that_changes_from_end_to_end_is_a_transition_and_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shots = [(0.0, 2.0, 0, 0), (2.0, 2.5, 0, 90), (2.5, 5.0, 0, 0)]
    assert stitched(shots, monkeypatch) == [(0, 5)]  # half a second may lie between
    assert stitched(shots, monkeypatch, gap_s=0.2) == [(0, 2), (2.5, 5)]


@given(st.lists(st.floats(0.5, 30), min_size=1, max_size=30), st.floats(1, 60))
def test_runs_leave_nothing_out_and_lie_near_the_wished_length(
    lengths: list[float], wished: float
) -> None:
    borders = np.cumsum([0.0, *lengths])
    spans = [Span.of_seconds(float(a), float(b)) for a, b in pairwise(borders)]
    runs = runs_of_length(spans, wished)
    assert [span for run in runs for span in run] == spans
    for run in runs[:-1]:
        length = run[-1].end_s - run[0].start_s
        # Too short only where the next whole span would have overshot by more.
        following = spans[spans.index(run[-1]) + 1]
        assert length >= wished - (following.duration_s - (wished - length)) - 0.01
        if len(run) > 1:
            assert length - run[-1].duration_s < wished


def test_lengths_nest_and_every_border_is_a_cut() -> None:
    shots = [(n * 3.0, n * 3.0 + 3) for n in range(20)]
    video = video_of(60, shots=shots)
    stage = MergeSegments(Merge(by="lengths", lengths={"short": 7, "long": 25}))
    assert (stage.unit, stage.own_actor, stage.requires()) == ("video", False, {})
    stage.setup()
    stage.process(Part(video))
    BuildTree(Tree(levels=("shots", "short", "long"))).process(Part(video))
    assert [s.span.duration_s for s in video.layer("short")] == [6] * 10
    assert [s.span.duration_s for s in video.layer("long")] == [24, 36]
    assert all(s.parent and s.parent.startswith("short") for s in video.layer("shots"))
    assert all(s.parent and s.parent.startswith("long") for s in video.layer("short"))
    with pytest.raises(ValueError, match="growing"):
        Merge(by="lengths", lengths={"long": 25, "short": 7})


def test_a_segment_across_a_border_goes_to_the_next_level_that_holds_it() -> None:
    video = video_of(10, words=[(0, 2), (4, 6), (8, 11)], shots=[(0, 5), (5, 9)])
    BuildTree(Tree(levels=("words", "shots"))).process(Part(video))
    inside, across, beyond = video.layer("words")
    [root] = video.layer("video")
    assert (inside.parent, across.parent, beyond.parent) == ("shots-00000", root.id, None)
    assert [s.scores["tree_level"] for s in (inside, video.layer("shots")[0], root)] == [0, 1, 2]
    # Both shots and the word across their border: 9 of 10 seconds, each counted once.
    assert (root.scores["tree_coverage"], root.scores["tree_children"]) == (0.9, 3)


class Narrator:
    """A model at the edge: one sentence per line, with whatever sources the test plants."""

    identity = ModelIdentity("narrator", "1")
    settings = TeacherSettings()

    def __init__(self, sources: Callable[[int, bool], list[int]]) -> None:
        self.sources = sources
        self.asked: list[Request] = []

    def setup(self) -> None: ...

    def close(self) -> None: ...

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        self.asked += requests
        replies = []
        for request in requests:
            again = "~repair" in request.id
            lines = re.findall(r'^"(\d+) \([^)]*\) (?:\w+): (.*)"$', request.prompt, re.MULTILINE)
            sentences = [
                {"text": f"<{text}>", "from": self.sources(int(number), again)}
                for number, text in lines
            ]
            replies.append(Reply(request.id, json.dumps({"sentences": sentences})))
        return replies[::-1]


def reduced(
    teacher: Narrator,
    monkeypatch: pytest.MonkeyPatch,
    children: int = 5,
    counted: int = 0,
    **more: Any,
) -> Segment:
    video = video_of(children, whole=[(0, children)], clips=[(n, n + 1) for n in range(children)])
    video.layer("whole")[0].scores["tree_children"] = counted
    for number, clip in enumerate(video.layer("clips")):
        clip.parent = "whole-00000"
        clip.add_text("said", f"part {number}", Author("test"))
    monkeypatch.setattr(teacher_stage, "open_teacher", lambda _: teacher)
    settings = Reduce(layer="whole", children="clips", source_roles=("said",), role="sum", **more)
    stage = ReduceTree(settings)
    stage.setup()
    part = asyncio.run(stage.process(Part(video)))
    return part.video.layer("whole")[0]


def test_a_reduction_names_what_each_sentence_rests_on(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Narrator(lambda number, _: [number])
    whole = reduced(own, monkeypatch, children=3, timed_role="line")
    [text] = whole.texts_of("sum")
    assert text.text == "<part 0> <part 1> <part 2>"
    assert text.sources == [f"clips-0000{n}/said:test:0" for n in range(3)]
    lines = whole.texts_of("line")
    assert [(t.text, t.span and (t.span.start_s, t.span.end_s)) for t in lines] == [
        (f"<part {n}>", (n, n + 1)) for n in range(3)
    ]


def test_more_children_than_a_window_are_reduced_twice_and_sources_stay_children(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teacher = Narrator(lambda number, _: [number])
    whole = reduced(teacher, monkeypatch, children=5, window=2)
    # 5 children in runs of 2, 2 and 1; their three results in 2 and 1; then the last two.
    assert [request.id.rsplit("/", 1)[1] for request in teacher.asked] == [
        "0.0", "0.1", "0.2", "1.0", "1.1", "2.0"
    ]  # fmt: skip
    [text] = whole.texts_of("sum")
    assert text.sources == [f"clips-0000{n}/said:test:0" for n in range(5)]
    assert all(f"part {n}" in text.text for n in range(5))


def test_a_source_that_does_not_exist_is_refused_and_repaired_or_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mended = reduced(Narrator(lambda n, again: [n if again else 9]), monkeypatch)
    assert len(mended.texts_of("sum")) == 1 and not mended.labels
    lying = reduced(Narrator(lambda n, _: [n + 1]), monkeypatch)
    assert not lying.texts_of("sum") and lying.labels == {"rejected_sum": "off_schema"}
    without = reduced(Narrator(lambda n, _: []), monkeypatch)
    assert not without.texts_of("sum") and without.labels == {"rejected_sum": "off_schema"}


def test_a_run_that_is_refused_leaves_no_text_that_lacks_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Half(Narrator):
        async def ask(self, requests: Sequence[Request]) -> list[Reply]:
            replies = await super().ask(requests)
            return [reply for reply in replies if "/0.1" not in reply.id]

    whole = reduced(Half(lambda n, _: [n]), monkeypatch, window=2)
    assert not whole.texts_of("sum") and whole.labels == {"rejected_sum": "lost"}


def test_lengths_and_shares_of_what_was_read_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = Narrator(lambda n, _: [n])
    over = reduced(teacher, monkeypatch, max_share=0.5)
    assert "at most 5 words" in teacher.asked[0].prompt
    assert over.labels == {"rejected_sum": "off_contract"}
    assert reduced(teacher, monkeypatch, max_share=1.0).texts_of("sum")
    few = reduced(Narrator(lambda n, _: [1]), monkeypatch, min_cited=0.5)
    assert few.labels == {"rejected_sum": "off_contract"}


def test_a_family_that_was_torn_between_parts_gets_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = Narrator(lambda n, _: [n])
    assert reduced(teacher, monkeypatch, counted=5).texts_of("sum")
    torn = reduced(teacher, monkeypatch, counted=6)
    assert not torn.texts_of("sum") and torn.labels == {"rejected_sum": "torn"}


times = st.integers(0, 100_000)


@given(times, st.lists(st.tuples(times, times, st.text(max_size=5)), max_size=8))
def test_a_tree_survives_its_document_and_counts_from_its_own_start(
    start: int, clips: list[tuple[int, int, str]]
) -> None:
    video = Video("v", "v.mp4")
    root = Segment("root-0", "root", Span(MILLISECONDS, start, start + 200_000))
    video.segments.append(root)
    for number, (first, length, words) in enumerate(clips):
        span = Span(MILLISECONDS, start + first, start + first + length)
        clip = Segment(f"clips-{number}", "clips", span, parent="root-0")
        clip.add_text("said", words, Author("test"))
        video.segments.append(clip)
    tree = tree_of(video, root, ("said",))
    again = Node.from_json(tree.to_json())
    assert again == tree and again.digest() == tree.digest()
    assert (tree.start_ms, tree.end_ms) == (0, 200_000)
    firsts = [child.start_ms for child in tree.children]
    assert firsts == sorted(first for first, _, _ in clips)
    if clips:
        again.children[0].texts["said"] = ["another"]
        changed = tree.children[0].texts["said"] != ["another"]
        assert (again.digest() != tree.digest()) == changed
