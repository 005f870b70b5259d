"""Trees of rendered videos: invariants of every node, retrieval by parents, shards and back."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "dense_captions"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "speech"))

from narrated import Eye
from watcher import CHANGING, Watcher, part_of

from clipmill.schemas.records import Part
from clipmill.stages.caption import caption_clip
from clipmill.stages.caption.caption_clip import CaptionClip
from clipmill.stages.compose.render_synthetic import RenderedVideo, render
from clipmill.stages.frames.sample_frames import SampleFrames
from clipmill.stages.frames.sample_frames import Settings as Frames
from clipmill.stages.hierarchy.build_tree import BuildTree
from clipmill.stages.hierarchy.build_tree import Settings as Tree
from clipmill.stages.hierarchy.reduce_tree import ReduceTree
from clipmill.stages.hierarchy.reduce_tree import Settings as Reduce
from clipmill.stages.hierarchy.tree import Node
from clipmill.stages.hierarchy.write_tree import Settings as Write
from clipmill.stages.hierarchy.write_tree import WriteTree
from clipmill.stages.models import teacher_stage
from clipmill.stages.rewrite.llm_rewrite import length_in_words
from clipmill.stages.split.merge_segments import MergeSegments
from clipmill.stages.split.merge_segments import Settings as Merge
from clipmill.stages.split.split_shots import Settings as Shots
from clipmill.stages.split.split_shots import SplitShots
from clipmill.stages.split.split_uniform import Settings as Windows
from clipmill.stages.split.split_uniform import SplitUniform
from clipmill.stages.stage import Stage

STORIES = CHANGING.model_copy(
    update={
        "count": 12,
        "seed": 8,
        "width": 112,
        "height": 84,
        "fps": 8,
        "min_scenes": 6,
        "max_scenes": 9,
        "gradual": 0.2,
    }
)
"""Films of six to nine shots, a fifth of the borders dissolves and fades."""

BUDGET = {"caption": 25, "caption_medium": 40, "caption_long": 60, "summary": 60}
ROLES = tuple(BUDGET)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[RenderedVideo]:
    folder = tmp_path_factory.mktemp("stories")
    return render(STORIES, folder / "in", folder / "truth")


def chain() -> list[Stage[Any]]:
    def level(layer: str, children: str, source: str, role: str) -> Stage[Any]:
        return ReduceTree(
            Reduce(
                layer=layer,
                children=children,
                source_roles=(source,),
                role=role,
                prompt="reduce_story.v1",
                max_words=BUDGET[role],
            )
        )

    return [
        SplitShots(Shots()),
        MergeSegments(Merge(by="lengths", lengths={"short": 2, "medium": 5, "long": 10})),
        BuildTree(Tree(levels=("short", "medium", "long"))),
        SampleFrames(Frames(layer="short", count=4, max_side=112)),
        CaptionClip(caption_clip.Settings(layer="short", frames=2)),
        level("medium", "short", "caption", "caption_medium"),
        level("long", "medium", "caption_medium", "caption_long"),
        level("video", "long", "caption_long", "summary"),
        WriteTree(Write(texts=ROLES)),
    ]


def told(
    videos: Sequence[RenderedVideo], monkeypatch: pytest.MonkeyPatch, gone: str = ""
) -> list[Part]:
    """Every video after the chain, without the operator `gone`."""
    teacher = Watcher([video.truth for video in videos])
    monkeypatch.setattr(teacher_stage, "open_teacher", lambda _: teacher)
    stages = [stage for stage in chain() if stage.name() != gone]
    for stage in stages:
        stage.setup()
    parts = []
    for video in videos:
        part = part_of(video)
        for stage in stages:
            done = stage.process(part)
            part = done if isinstance(done, Part) else asyncio.run(done)
        parts.append(part)
    return parts


@pytest.fixture(scope="module")
def parts(videos: list[RenderedVideo]) -> list[Part]:
    with pytest.MonkeyPatch.context() as patch:
        return told(videos, patch)


def trees_of(parts: Sequence[Part]) -> list[Node]:
    """The trees as their documents say; none where there is no document."""
    found = []
    for part in parts:
        for root in part.video.layer("video"):
            found += [Node.from_json(text.text) for text in root.texts_of("tree")]
    return found


def accept(parts: Sequence[Part], fit: dict[str, float]) -> None:
    """The family's acceptance: invariants of every node, retrieval, coverage."""
    trees = trees_of(parts)
    assert len(trees) == len(parts)
    for part, tree in zip(parts, trees, strict=True):
        names = {node.id for node in tree.walk()}
        assert {s.id for s in part.video.segments if s.layer in LEVELS} == names
        for node in tree.walk():
            for child in node.children:
                assert node.start_ms <= child.start_ms < child.end_ms <= node.end_ms
            assert all(a.end_ms <= b.start_ms for a, b in pairwise(node.children))
            for role, said in node.texts.items():
                assert all(length_in_words(text) <= BUDGET[role] for text in said)
            for role, cited in node.sources.items():
                assert cited and set(cited) <= {child.id for child in node.children}, role
        assert {node.layer for node in tree.walk()} == LEVELS
        assert all(node.texts for node in tree.walk())
        [root] = part.video.layer("video")
        assert tree.digest() == root.labels["tree_digest"]
        assert tree.start_ms == 0
    assert np.mean([covered(tree) for tree in trees]) >= 0.95
    assert fit["parent"] >= fit["best child"] + 0.10, fit


LEVELS = {"short", "medium", "long", "video"}


def covered(tree: Node) -> float:
    """Share of the video under its shortest clips."""
    clips = [node for node in tree.walk() if node.layer == "short"]
    return sum(node.end_ms - node.start_ms for node in clips) / tree.end_ms


@pytest.fixture(scope="module")
def gallery(videos: list[RenderedVideo]) -> np.ndarray:
    """The mean picture of every video, as an evaluator sees it that no stage uses."""
    rows = []
    for video in videos:
        part = SplitUniform(Windows(window_s=600, layer="whole")).process(part_of(video))
        part = SampleFrames(Frames(layer="whole", count=24, max_side=112)).process(part)
        [frames] = part.frames.values()
        seen = Eye().images([frame.jpeg for frame in frames]).mean(0)
        rows.append(seen / np.linalg.norm(seen))
    return np.array(rows)


def retrieval(parts: Sequence[Part], pictures: np.ndarray) -> dict[str, float]:
    """R@1 of a video among all, by its summary and by the caption of its nth clip, best n."""
    eye = Eye()

    def rate(texts: Sequence[str]) -> float:
        if not texts:
            return 0.0
        found = eye.texts(texts) @ pictures.T
        rivals = np.where(np.eye(len(texts), len(pictures), dtype=bool), -np.inf, found)
        own = found[np.arange(len(texts)), np.arange(len(texts))]
        return float(np.mean(own > rivals.max(1)))

    tops = [root.texts_of("summary") for part in parts for root in part.video.layer("video")]
    captions = [
        [clip.texts_of("caption")[-1].text for clip in part.video.layer("short")] for part in parts
    ]
    most = min(map(len, captions))
    by_child = [rate([own[n] for own in captions]) for n in range(most)]
    return {
        "parent": rate([top[-1].text for top in tops]) if all(tops) else 0.0,
        "best child": max(by_child, default=0.0),
        "mean child": float(np.mean(by_child or [0.0])),
    }


def test_trees_keep_every_invariant_and_parents_find_their_video(
    parts: list[Part], gallery: np.ndarray
) -> None:
    fit = retrieval(parts, gallery)
    print(fit, np.mean([covered(tree) for tree in trees_of(parts)]))
    accept(parts, fit)


@pytest.mark.parametrize("gone", ["merge_segments", "build_tree", "reduce_tree", "write_tree"])
def test_without_an_operator_the_acceptance_fails(
    gone: str, videos: list[RenderedVideo], gallery: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = told(videos, monkeypatch, gone)
    with pytest.raises(AssertionError):
        accept(made, retrieval(made, gallery))
