"""Every recipe of dense captions from files to shards, teachers replaced at the edge only."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "speech"))

from narrated import Eye
from shards import here, packed, table_is_current, texts
from watcher import CHANGING, Watcher, event_of, events_in, f1, tau

from clipmill.pipeline.engine.run import run
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.stages.compose.render_synthetic import RenderedVideo, render
from clipmill.stages.frames.sample_frames import SampleFrames
from clipmill.stages.models import encoder_stage, teacher_stage
from clipmill.stages.models.prompts import load_prompt


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[RenderedVideo]:
    folder = tmp_path_factory.mktemp("few")
    return render(CHANGING.model_copy(update={"count": 3}), folder / "in", folder / "truth")


@pytest.fixture(autouse=True)
def _edge(monkeypatch: pytest.MonkeyPatch, videos: list[RenderedVideo]) -> None:
    teacher = Watcher([video.truth for video in videos])
    monkeypatch.setattr(teacher_stage, "open_teacher", lambda _: teacher)
    monkeypatch.setattr(encoder_stage, "open_encoder", lambda _: Eye())


def test_sharegpt4video_packs_a_dense_caption_with_slots_per_clip(
    videos: list[RenderedVideo], tmp_path: Path
) -> None:
    clips = packed(
        "dense_captions/sharegpt4video", videos[0].path.parent, tmp_path / "out",
        "stages.sample_frames.fps=2",  # these scenes last two seconds
        "stages.thin_frames.every_s=1",
    )  # fmt: skip
    assert len(clips) == len(videos)
    truths = {video.truth.name: video.truth for video in videos}
    for clip in clips:
        truth = [event_of(s) for s in truths[Path(clip["video"]["id"]).stem].scenes]
        told = events_in(clip["said"])
        assert f1(told, truth) > 0.75 and tau(told, truth) > 0.6
        assert clip["scores"]["frames_dropped"] >= 0.3
        assert clip["scores"]["changes"] >= len(truth) - 1
        [dense] = [text for text in clip["texts"] if text["role"] == "dense"]
        assert len(dense["sources"]) >= len(truth) - 1
        assert texts(clip, "slot:scene")[0] in {event[2] for event in truth}


def test_another_wording_of_the_merge_asks_for_no_change_again(
    videos: list[RenderedVideo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, source = "dense_captions/sharegpt4video", str(videos[0].path.parent)
    teacher = Watcher([video.truth for video in videos])
    monkeypatch.setattr(teacher_stage, "open_teacher", lambda _: teacher)
    run(load_recipe(recipe, here(recipe)), source, str(tmp_path / "old"), engine="inline")
    first = Counter(request.id.split("/")[2] for request in teacher.asked)
    assert first["change"] > len(videos) and first["dense"] == len(videos)

    def sampled(*_: object) -> None:
        raise AssertionError("frames are not needed")

    monkeypatch.setattr(SampleFrames, "process", sampled)
    shipped = load_prompt("reduce_changes.v1")
    wording = tmp_path / "mine.txt"
    head = "\n".join(f"{name}: {kind}" for name, kind in shipped.variables)
    wording.write_text(f"{head}\n---\nIn plain words.\n{shipped.text}")
    teacher.asked.clear()
    summary = run(
        load_recipe(recipe, [*here(recipe), f"stages.reduce_tree.prompt={wording}"]),
        source, str(tmp_path / "new"), engine="inline", reuse=str(tmp_path / "old"),
    )  # fmt: skip
    assert set(summary.inputs) == {"packed"}
    again = Counter(request.id.split("/")[2] for request in teacher.asked)
    # The merged texts come out as before, so the slots read out of them are remembered replies.
    assert again == {"dense": len(videos)}


def test_the_page_says_which_recipe_uses_which_operator() -> None:
    assert table_is_current("dense_captions")
