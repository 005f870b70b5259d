"""Every recipe of timelines from files to shards, models replaced at the edge only."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from clock_reader import read_clock
from narrated import Eye
from narrator import Localiser, Narrator
from shards import here, packed
from watcher import event_of, events_in, times_of

from clipmill.pipeline.engine.run import run
from clipmill.pipeline.output.tables import read_videos
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.pipeline.store.store import Store
from clipmill.schemas.records import Video
from clipmill.stages.compose.truth import Truth
from clipmill.stages.ground.check_timeline import CheckTimeline
from clipmill.stages.models import encoder_stage, teacher_stage
from clipmill.stages.qa.mask_events import MaskEvents

SILENT = "stages.transcribe.engine=subtitles"


@pytest.fixture(autouse=True)
def teacher(monkeypatch: pytest.MonkeyPatch, videos: list[tuple[Path, Truth]]) -> Narrator:
    teacher = Narrator([truth for _, truth in videos], flat=True, invents=0.15)
    monkeypatch.setattr(teacher_stage, "open_teacher", lambda _: teacher)
    monkeypatch.setattr(encoder_stage, "open_encoder", Localiser)
    return teacher


@pytest.fixture
def source(videos: list[tuple[Path, Truth]], tmp_path: Path) -> Path:
    """One of the videos in a folder of its own."""
    folder = tmp_path / "in"
    folder.mkdir()
    for path, _ in videos[:1]:
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def stored(out: Path) -> dict[str, Video]:
    return {video.id: video for video in read_videos(Store.open(str(out)))}


def by_type(clip: dict[str, Any], key: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for sample in clip["samples"]:
        found.setdefault(sample["labels"][key], []).append(sample)
    return found


def test_internvid_tg_poses_agreed_events_in_two_forms_of_time(
    source: Path, videos: list[tuple[Path, Truth]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    clips = packed("timelines/internvid_tg", source, out)
    assert len(clips) == 1
    truths = {path.name: truth for path, truth in videos}
    tables = stored(out)
    for clip in clips:
        events = json.loads(clip["said"])["children"]
        video = tables[clip["video"]["id"]]
        agreed = [s for s in video.layer("agreed") if s.scores["agreement"] >= 0.5]
        assert {event["id"] for event in events} == {segment.id for segment in agreed}
        right = {event_of(scene) for scene in truths[clip["video"]["id"]].scenes}
        told = [events_in(event["texts"]["caption"][0])[0] for event in events]
        assert events and sum(event in right for event in told) >= 0.8 * len(told)
        assert {"span_fit", "span_rank"} <= set(agreed[0].scores)
        times = by_type(clip, "times")
        assert set(times) == {"placeholder", "seconds"}
        assert all(sample["evidence"] for sample in times["placeholder"])


def test_tempura_covers_the_clip_without_overlap_and_hides_events(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    clips = packed("timelines/tempura", source, out)
    assert len(clips) == 1
    tables = stored(out)
    for clip in clips:
        spans = sorted(
            (s.span.start_s, s.span.end_s) for s in tables[clip["video"]["id"]].layer("timeline")
        )
        assert all(a[1] <= b[0] for a, b in pairwise(spans))
        length = clip["span"]["end_s"] - clip["span"]["start_s"]
        assert sum(b - a for a, b in spans) >= 0.95 * length
        told = [event["texts"]["caption"][0] for event in json.loads(clip["said"])["children"]]
        assert len(told) == len(spans)
        hidden = by_type(clip, "type")["fill_in"]
        assert hidden and all(sample["answer"] in told for sample in hidden)
        assert all(sample["answer"] not in _around(sample["question"]) for sample in hidden)
        assert set(by_type(clip, "times")) == {"seconds", "clock"}


def _around(question: str) -> list[str]:
    return [line.partition(": ")[2] for line in question.splitlines()]


@pytest.mark.parametrize("gone", ["mask_events", "check_timeline"])
def test_tempura_without_an_operator_is_not_what_it_says(
    gone: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = {"mask_events": MaskEvents, "check_timeline": CheckTimeline}[gone]
    monkeypatch.setattr(operator, "process", lambda self, part: part)
    summary = run(
        load_recipe("timelines/tempura", here("timelines/tempura")),
        str(source), str(tmp_path / "out"), engine="inline",
    )  # fmt: skip
    videos = stored(tmp_path / "out").values()
    samples = [s for v in videos for clip in v.layer("clips") for s in clip.samples]
    if gone == "mask_events":
        assert not any(sample.kind == "fill_in" for sample in samples)
    else:  # no timeline, so nothing is left to pack
        assert set(summary.inputs) == {"dropped"}


def test_moment10m_asks_about_moments_and_across_them(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_stage, "open_encoder", lambda _: Eye())
    out = tmp_path / "out"
    clips = packed("timelines/moment10m", source, out, SILENT)
    tables = stored(out)
    for video in tables.values():
        moments, shots = video.layer("moments"), video.layer("shots")
        assert 3 <= len(moments) <= len(shots)
        [root] = video.layer("video")
        assert {sample.labels["task"] for sample in root.samples} >= {"localisation", "ordering"}
        assert {sample.labels["times"] for sample in root.samples} == {"seconds", "bins"}
        own = [clip for clip in clips if clip["video"]["id"] == video.id]
        assert len(own) == len([m for m in moments if m.span.duration_s >= 2])
        for clip in own:
            [told] = events_in(clip["said"])[:1] or [("", "", "")]
            assert all(sample["answer"] in told for sample in clip["samples"])
        assert any(clip["samples"] for clip in own)


SAID = "today we look at shapes that everybody knows"


def test_arc_hunyuan_tells_the_teacher_what_is_said_and_packs_all_levels(
    source: Path, videos: list[tuple[Path, Truth]], teacher: Narrator, tmp_path: Path
) -> None:
    pytest.importorskip("rapidocr", reason="the [ocr] extra is not installed")
    for path in source.glob("*.mp4"):
        path.with_suffix(".srt").write_text(f"1\n00:00:01,000 --> 00:00:06,000\n{SAID}\n")
    out = tmp_path / "out"
    clips = packed("timelines/arc_hunyuan", source, out, SILENT, "stages.read_ocr.max_frames=1")
    assert len(clips) == 1
    truths = {path.name: truth for path, truth in videos}
    asked = {request.id: request.prompt for request in teacher.asked}
    for clip in clips:
        name = clip["video"]["id"]
        watched = next(p for i, p in asked.items() if i.startswith(name) and i.endswith("/events"))
        assert f'"asr: {SAID}' in watched
        [seen] = [r for r in teacher.asked if r.id.startswith(name) and r.id.endswith("/events")]
        assert [read_clock(picture) for picture in seen.images] == [
            f"00:{int(s) // 60:02d}:{int(s) % 60:02d}" for s in times_of(seen)
        ]
        levels = json.loads(clip["said"])
        assert set(levels["texts"]) == {"summary", "intent"}
        summary = levels["texts"]["summary"][0]
        why = next(p for i, p in asked.items() if i.startswith(name) and i.endswith("/intent"))
        assert f'"summary: {summary}"' in why
        nodes = {event["id"]: event for event in levels["children"]}
        assert set(levels["sources"]["summary"]) <= set(nodes)
        right = {event_of(scene) for scene in truths[name].scenes}
        told = events_in(summary)
        assert sum(event in right for event in told) >= 0.7 * len(told) > 0
        spans = sorted((e["start_ms"], e["end_ms"]) for e in nodes.values())
        assert all(a[1] <= b[0] for a, b in pairwise(spans))
        assert set(by_type(clip, "times")) == {"clock", "seconds"}
        assert {"localisation", "span_caption"} <= set(by_type(clip, "task"))
