"""Every recipe of dense captions from files to shards, teachers replaced at the edge only."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "speech"))

from claimant import Claimant
from narrated import Eye
from shards import here, packed, texts
from watcher import CHANGING, Watcher, event_of, events_in, f1, tau, times_of, told_as

from clipmill.pipeline.engine.run import run
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.stages.compose.render_synthetic import RenderedVideo, render
from clipmill.stages.compose.truth import Truth
from clipmill.stages.compose.world import COLOURS
from clipmill.stages.frames.sample_frames import SampleFrames
from clipmill.stages.models import encoder_stage, teacher_stage
from clipmill.stages.models.prompts import load_prompt
from clipmill.stages.models.teacher import Request


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


def told(truth: Truth) -> str:
    """A description of a film as people write it: every event in its order."""
    return ", then ".join(told_as(event_of(scene)) for scene in truth.scenes)


def test_tarsier_checks_each_description_against_its_clip_and_its_reference(
    videos: list[RenderedVideo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truths = {video.truth.name: video.truth for video in videos}
    teacher = Claimant(list(truths.values()), flat=True, invents=0.2)
    monkeypatch.setattr(teacher_stage, "open_teacher", lambda _: teacher)
    manifest = tmp_path / "videos.jsonl"
    rows = [{"id": v.truth.name, "path": str(v.path), "description": told(v.truth)} for v in videos]
    del rows[0]["description"]  # nobody has described it
    manifest.write_text("\n".join(map(json.dumps, rows)))
    clips = packed(
        "dense_captions/tarsier", manifest, tmp_path / "out", "profiles.told.events_true.min=0.5"
    )
    assert len(clips) == len(videos)
    for clip in clips:
        name, scores = Path(clip["video"]["id"]).stem, clip["scores"]
        right = {event_of(scene) for scene in truths[name].scenes}
        said = set(events_in(clip["said"]))
        assert abs(scores["events_true"] - len(said & right) / len(said)) <= 0.2
        assert scores["events_count"] == len(said)
        if name == videos[0].truth.name:
            assert not any(score.startswith("autodq") for score in scores)
            continue
        assert abs(scores["autodq_precision"] - len(said & right) / len(said)) <= 0.2
        assert abs(scores["autodq_recall"] - len(said & right) / len(right)) <= 0.2
        assert {s["kind"] for s in clip["samples"]} == {"events", "autodq", "autodq_reference"}


class Quizzer(Claimant):
    """Asks what is seen with the middle scene's backdrop; answers from the pictures it is given."""

    def _answer(self, request: Request) -> dict[str, Any]:
        assert request.schema is not None
        fields = request.schema["properties"]
        if "questions" in fields:
            assert told(self._truth(request)).split(", then ")[1] in request.prompt, "not told"
            scene = self._truth(request).scenes[1]
            colour, shape, backdrop = event_of(scene)
            options = [f"{other} {shape}" for other in COLOURS if other != colour][:3]
            start = request_start(self._truth(request))
            return {"questions": [{
                "type": "choice",
                "evidence": [{"start": scene.start_s - start, "end": scene.end_s - start}],
                "answer": f"{colour} {shape}",
                "question": f"What comes second, over {backdrop}?",
                "options": [*options, f"{colour} {shape}"],
            }]}  # fmt: skip
        if "answer" in fields:
            options = fields["answer"]["enum"]
            seconds = times_of(request)
            in_order = seconds == sorted(seconds)
            scene = self._truth(request).scenes[1]
            shown = any(scene.start_s <= second < scene.end_s for second in seconds)
            colour, shape, _ = event_of(scene)
            right = f"{colour} {shape}"
            wrong = next(option for option in options if option != right)
            return {"answer": right if shown and in_order and len(seconds) > 1 else wrong}
        return super()._answer(request)


def request_start(truth: Truth) -> float:
    return truth.scenes[0].start_s


def test_tuna_counts_elements_and_asks_what_needs_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = CHANGING.model_copy(update={"count": 2, "min_scenes": 4, "max_scenes": 4, "seed": 21})
    films = render(plan, tmp_path / "in", tmp_path / "truth")
    teacher = Quizzer([film.truth for film in films], flat=True)
    monkeypatch.setattr(teacher_stage, "open_teacher", lambda _: teacher)
    for film in films:
        rows = [
            {"text": told_as(event_of(s)), "start": s.start_s, "end": s.end_s}
            for s in film.truth.scenes
        ]
        film.path.with_suffix(".annotations.json").write_text(json.dumps(rows))
    clips = packed("dense_captions/tuna", films[0].path.parent, tmp_path / "out")
    assert len(clips) == 2
    for clip in clips:
        scores = clip["scores"]
        for kind in ("scene", "attribute"):
            assert scores[f"elements_recall_{kind}"] >= 0.6, scores
        assert not any(name.endswith(("_camera", "_action")) for name in scores), "none is told of"
        sorts = {s["labels"]["kind"] for s in clip["samples"] if s["kind"].startswith("elements")}
        assert sorts == {"scene", "attribute"}
        [question] = [sample for sample in clip["samples"] if sample["kind"] == "qa"]
        assert question["answer"] in question["options"]
        asked = {name: question["labels"][name] for name in ("full", "one_frame", "shuffled")}
        assert asked == {"full": "1.000", "one_frame": "0.000", "shuffled": "0.000"}
