"""Every recipe of dense captions from files to shards, teachers replaced at the edge only."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "speech"))

from narrated import Eye
from shards import packed, table_is_current, texts
from watcher import CHANGING, Watcher, event_of, events_in, f1, tau

from clipmill.stages.compose.render_synthetic import RenderedVideo, render
from clipmill.stages.models import encoder_stage, teacher_stage


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


def test_the_page_says_which_recipe_uses_which_operator() -> None:
    assert table_is_current("dense_captions")
