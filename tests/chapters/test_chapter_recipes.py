"""Every recipe of chapters and topics from files to shards."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from narrated import Eye
from shards import packed
from topical import Topical, filmed, topical

from clipmill.pipeline.engine.run import run
from clipmill.pipeline.output.tables import read_videos
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.pipeline.store.store import Store
from clipmill.schemas.records import Part, Video
from clipmill.stages.asr_text import read_ocr
from clipmill.stages.models import encoder_stage
from clipmill.stages.source.parse_metadata import ParseMetadata
from clipmill.stages.split.split_semantic import SplitSemantic
from tests.rendered import render

pytestmark = pytest.mark.timeout(240)
TITLES = ("The old mill", "Why the wheel turns", "Bread")
SILENT = "stages.transcribe.engine=subtitles"


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of eight short films with chapters, two a channel, and one with a broken list."""
    folder = tmp_path_factory.mktemp("listed")
    rows = []
    for number in range(9):
        path = folder / f"film{number:02d}.mp4"
        render(path, [8, 12, 4 * (1 + number % 2)], fps=4, size=(64, 48))
        path.with_suffix(".srt").write_text(
            f"1\n00:00:00,200 --> 00:00:01,800\nHere is film {number}.\n\n"
            "2\n00:00:02,300 --> 00:00:04,500\nWater turns it.\n"
        )
        times = ("0:00", "0:02", "0:05") if number < 8 else ("0:00", "0:05", "0:02")
        lines = [f"{at} {title}" for at, title in zip(times, TITLES, strict=True)]
        rows.append({"id": path.stem, "path": str(path), "channel": f"c{number // 2}",
                     "description": "\n".join(["About mills.", *lines])})  # fmt: skip
    manifest = folder / "films.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


@pytest.fixture(autouse=True)
def _edge(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "embedded" not in request.node.name:
        monkeypatch.setattr(encoder_stage, "open_encoder", lambda _: Eye())


def chaptered(
    listed: Path, out: Path, *sets: str, recipe: str = "chapters/vidchapters"
) -> list[dict[str, Any]]:
    summary = run(load_recipe(recipe, [SILENT, *sets]), str(listed), str(out), engine="inline")
    assert summary.inputs["packed"] + summary.inputs["dropped"] == 9
    found = []
    for clip in members(out):
        if clip.name.endswith(".json"):
            found.append(json.loads(clip.read_text()))
    return found


def members(out: Path) -> Iterator[Path]:
    """The members of all shards, unpacked."""
    for shard in sorted((out / "shards").glob("*.tar")):
        with tarfile.open(shard) as tar:
            tar.extractall(out / "unpacked", filter="data")
    yield from sorted((out / "unpacked").rglob("*.*"))


@pytest.mark.models
def test_vidchapters_embedded_poses_listed_chapters_and_leaves_out_broken_lists(
    listed: Path, tmp_path: Path
) -> None:
    clips = chaptered(listed, tmp_path, recipe="chapters/vidchapters@embedded")
    assert {clip["video"]["id"] for clip in clips} == {f"film{n:02d}" for n in range(8)}
    for clip in clips:
        [written] = [t["text"] for t in clip["texts"] if t["role"] == "tree"]
        children = json.loads(written)["children"]
        assert [child["texts"]["title"] for child in children] == [[t] for t in TITLES]
        assert [child["start_ms"] for child in children] == [0, 2000, 5000]
        assert children[1]["texts"]["asr"] == ["Water turns it."]
        tasks = {s["labels"]["task"]: s for s in clip["samples"]}
        assert set(tasks) == {"timeline", "span_caption", "localisation"}
        end = round(clip["span"]["end_s"])
        assert tasks["timeline"]["answer"] == (
            f"from 00:00:00 to 00:00:02: {TITLES[0]}; from 00:00:02 to 00:00:05: {TITLES[1]}; "
            f"from 00:00:05 to 00:00:{end:02d}: {TITLES[2]}"
        )
    sets = {clip["video"]["meta"]["channel"]: set() for clip in clips}
    for clip in clips:
        sets[clip["video"]["meta"]["channel"]].add(clip["labels"]["set"])
    assert all(len(own) == 1 for own in sets.values())


def test_subsets_are_nested_and_the_same_when_they_are_built_again(
    listed: Path, tmp_path: Path
) -> None:
    keys: dict[str, set[str]] = {}
    digests: dict[str, list[str]] = {}
    for name, most in [("more", 0.5), ("again", 0.5), ("few", 0.3)]:
        clips = chaptered(listed, tmp_path / name, f"profiles.share.set_rank.max={most}")
        keys[name] = {clip["key"] for clip in clips}
        digests[name] = [
            hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((tmp_path / name / "shards").glob("*.tar"))
        ]
    assert set() < keys["few"] < keys["more"] and len(keys["more"]) < 8
    assert digests["more"] == digests["again"] != digests["few"]


@pytest.fixture(scope="module")
def lectures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Topical]]:
    """Two films of four topics, one of which lists them as chapters."""
    folder = tmp_path_factory.mktemp("lectures")
    made = [topical(seed, topics=4) for seed in (21, 22)]
    rows = [filmed(one, folder, chapters=not place) for place, one in enumerate(made)]
    manifest = folder / "lectures.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest, made


def stored(out: Path) -> list[Video]:
    return sorted(read_videos(Store.open(str(out))), key=lambda video: video.id)


class Unwritten:
    """A reader of screens, at the edge, that finds no text."""

    model, revision = "unwritten", "1"

    def __init__(self, enlarge_to: int) -> None: ...

    def read(self, jpeg: bytes) -> list[Any]:
        return []


@pytest.mark.models
@pytest.mark.parametrize("recipe", ["chapters/avlectures@embedded", "chapters/multilive@embedded"])
def test_topics_of_films_are_found_by_picture_and_speech(
    recipe: str, lectures: tuple[Path, list[Topical]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if "avlectures" in recipe:
        pytest.importorskip("rapidocr", reason="the [ocr] extra is not installed")
    # A reader would take half a second a picture to find that nothing is written.
    monkeypatch.setattr(read_ocr, "ScreenText", Unwritten)
    manifest, made = lectures
    clips = packed(recipe, manifest, tmp_path, SILENT)
    hits = found = true = 0
    for video, one in zip(stored(tmp_path), made, strict=True):
        topics = video.layer("topics")
        starts = [topic.span.start_s for topic in topics][1:]
        hits += sum(any(abs(a - b) <= 5 for a in starts) for b in one.borders)
        found, true = found + len(starts), true + len(one.borders)
        [whole] = video.layer("video")
        assert ("borders_f1" in whole.scores) == (one is made[0])  # the other lists no chapters
        assert len([c for c in clips if c["video"]["id"] == video.id]) == len(topics)
        said = re.sub(r"[^a-z ]", "", " ".join(
            c["said"].lower() for c in sorted(clips, key=lambda c: c["span"]["start_s"])
            if c["video"]["id"] == video.id
        ))  # fmt: skip
        told = " ".join(u.text for u in one.part.video.transcripts[0].utterances)
        assert said.split() == told.split()  # every word is in one topic
    f1 = 2 * hits / (found + true)
    print(f"{recipe}: F1 {f1:.2f} within 5 s")
    assert f1 >= 0.75


@pytest.mark.parametrize("gone", ["parse_metadata", "split_semantic"])
def test_a_recipe_without_its_operator_packs_nothing(
    gone: str, listed: Path, lectures: tuple[Path, list[Topical]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def left(self: Any, part: Part) -> Part:
        return part

    operator = {"parse_metadata": ParseMetadata, "split_semantic": SplitSemantic}[gone]
    monkeypatch.setattr(operator, "process", left)
    recipe, source = (
        ("chapters/vidchapters", listed) if gone == "parse_metadata"
        else ("chapters/multilive", lectures[0])
    )  # fmt: skip
    summary = run(load_recipe(recipe, [SILENT]), str(source), str(tmp_path), engine="inline")
    assert set(summary.inputs) == {"dropped"}
