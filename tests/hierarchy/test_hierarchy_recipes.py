"""Every recipe of hierarchies from files to shards, models replaced at the edge only."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "dense_captions"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "speech"))

from narrated import Eye, vtt
from shards import packed, texts
from watcher import CHANGING, Watcher, event_of, events_in, f1

from clipmill.pipeline.output.tables import read_videos
from clipmill.pipeline.store.store import Store
from clipmill.stages.compose.render_synthetic import RenderedVideo, render
from clipmill.stages.hierarchy.tree import Node, tree_of
from clipmill.stages.models import encoder_stage, teacher_stage

FILMS = CHANGING.model_copy(
    update={
        "count": 2, "seed": 21, "width": 112, "height": 84, "fps": 8, "min_scenes": 5,
        "max_scenes": 6, "min_seconds": 2.5, "narration": True, "fillers": 0.0,
    }
)  # fmt: skip
SILENT = "stages.transcribe.engine=subtitles"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[RenderedVideo]:
    folder = tmp_path_factory.mktemp("films")
    videos = render(FILMS, folder / "in", folder / "truth")
    for video in videos:
        video.path.with_suffix(".vtt").write_text(vtt(video.truth.narration))
    return videos


@pytest.fixture(autouse=True)
def teacher(monkeypatch: pytest.MonkeyPatch, videos: list[RenderedVideo]) -> Watcher:
    teacher = Watcher([video.truth for video in videos])
    monkeypatch.setattr(teacher_stage, "open_teacher", lambda _: teacher)
    monkeypatch.setattr(encoder_stage, "open_encoder", lambda _: Eye())
    return teacher


def test_vidla_packs_a_tree_that_is_the_same_after_the_shard(
    videos: list[RenderedVideo], tmp_path: Path
) -> None:
    lengths = "stages.merge_segments.lengths={short: 3, medium: 7, long: 14}"
    out = tmp_path / "out"
    clips = packed("hierarchy/vidla", videos[0].path.parent, out, SILENT, lengths)
    assert len(clips) == len(videos)
    stored = {video.id: video for video in read_videos(Store.open(str(out)))}
    for clip in clips:
        tree = Node.from_json(clip["said"])
        video = stored[clip["video"]["id"]]
        [root] = video.layer("video")
        roles = ("caption", "caption_medium", "caption_long", "summary")
        roles += ("speech", "speech_medium", "speech_long")
        again = tree_of(video, root, roles).digest()
        assert tree.digest() == again == clip["labels"]["tree_digest"]
        assert {node.layer for node in tree.walk()} == {"short", "medium", "long", "video"}
        by_layer = {
            layer: [set(node.texts) for node in tree.walk() if node.layer == layer]
            for layer in ("short", "medium", "long", "video")
        }
        assert all("caption" in found for found in by_layer["short"])
        assert all({"caption_medium", "speech_medium"} <= found for found in by_layer["medium"])
        assert all({"caption_long", "speech_long"} <= found for found in by_layer["long"])
        assert by_layer["video"] == [{"summary"}]


def test_scenewalk_packs_every_scene_with_its_caption_and_how_well_it_fits(
    videos: list[RenderedVideo], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    clips = packed(
        "hierarchy/scenewalk", videos[0].path.parent, out,
        "stages.split_shots.detector=fast", "stages.split_shots.threshold=9",
    )  # fmt: skip
    assert len(clips) == len(videos)
    stored = {video.id: video for video in read_videos(Store.open(str(out)))}
    truths = {video.truth.name: video.truth for video in videos}
    for clip in clips:
        name = clip["video"]["id"]
        scenes = stored[name].layer("shots")
        nodes = [n for n in Node.from_json(clip["said"]).walk() if n.layer == "shots"]
        assert [node.id for node in nodes] == [scene.id for scene in scenes]
        truth = truths[Path(name).stem].scenes
        told = [events_in(node.texts["caption"][0]) for node in nodes]
        assert f1([e for events in told for e in events], list(map(event_of, truth))) > 0.7
        # The product of stored vectors and another scene's text is lower than with its own.
        own = [scene.scores["alignment"] for scene in scenes]
        vectors = [np.array(scene.embeddings[0].vector) for scene in scenes]
        words = Eye().texts([node.texts["caption"][0] for node in nodes])
        matrix = np.array(vectors) @ words.T
        assert np.allclose(np.diag(matrix), own, atol=1e-3)
        others = matrix[~np.eye(len(own), dtype=bool)]
        assert np.mean(own) >= others.mean() + 0.2


def test_shot2story_packs_a_summary_that_rests_on_shots_and_narration(
    videos: list[RenderedVideo], tmp_path: Path
) -> None:
    clips = packed("hierarchy/shot2story20k", videos[0].path.parent, tmp_path / "out", SILENT)
    assert len(clips) == len(videos)
    truths = {video.truth.name: video.truth for video in videos}
    for clip in clips:
        truth = truths[Path(clip["video"]["id"]).stem]
        told = events_in(clip["said"])
        assert f1(told, [event_of(scene) for scene in truth.scenes]) > 0.7
        tree = Node.from_json(texts(clip, "tree")[0])
        assert len(tree.children) == len(truth.scenes)
        assert all("visual" in shot.texts for shot in tree.children)
        said = [" ".join(shot.texts.get("narration", [])) for shot in tree.children]
        for line in truth.narration:
            assert sum(line.text in words for words in said) >= 1, (line.text, said)
        assert set(tree.sources["summary"]) <= {shot.id for shot in tree.children}
        spans = [text["span"] for text in clip["texts"] if text["role"] == "story"]
        assert spans and all(span["end_s"] <= truth.seconds + 0.01 for span in spans)


def test_videomind_asks_for_layer_after_layer_and_reads_slots(
    videos: list[RenderedVideo], teacher: Watcher, tmp_path: Path
) -> None:
    clips = packed("hierarchy/videomind", videos[0].path.parent, tmp_path / "out", SILENT)
    assert len(clips) == len(videos)
    for clip in clips:
        factual, abstract, intent = (texts(clip, r)[0] for r in ("factual", "abstract", "intent"))
        asked = {
            r.id.rsplit("/", 1)[1]: r.prompt for r in teacher.asked if clip["video"]["id"] in r.id
        }
        assert factual not in asked["factual"]
        assert f'"factual: {factual}"' in asked["abstract"] and abstract not in asked["abstract"]
        assert f'"factual: {factual}"' in asked["intent"]
        assert f'"abstract: {abstract}"' in asked["intent"] and intent
        assert texts(clip, "slot:subject")[0] in factual
        assert texts(clip, "slot:place")[0] in factual
