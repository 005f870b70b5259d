"""Every grounded-QA recipe from file to shards on rendered input, models replaced at the edge only.

The captioner sees pixels, the quizzer and the reader read their prompts, and the answerer sees the
pictures it is given. None is told the truth, and the quizzer breaks its contract in a planted share
of first replies.
"""

from __future__ import annotations

import itertools
import json
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from chainers import Chainer
from narrated import LAGGING, Eye, rendered, vtt
from quizzers import Edge, Quizzer, Watcher, named
from test_question_chains import iou
from test_spoken_questions import programme

from clipmill.pipeline.engine.run import run
from clipmill.pipeline.output.verify import verify
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.pipeline.store.store import Store
from clipmill.schemas.clocks import Span
from clipmill.stages.compose.render_synthetic import RenderedVideo
from clipmill.stages.models import encoder_stage, teacher_stage
from clipmill.stages.models.teacher import Request
from tests.rendered import render

RULES = "timeline"
pytestmark = pytest.mark.timeout(120)
_CLIP = re.compile(r'^"(\d+)\. [\d.]+-[\d.]+ s: (.*)"$', re.MULTILINE)
_QUOTED = re.compile(r'^"(.*)"$', re.MULTILINE)


class Model(Edge):
    """One model for every stage; what a reply must hold says which part it plays."""

    quizzer, watcher, chainer = Quizzer(), Watcher(), Chainer()

    def answer(self, request: Request) -> dict[str, Any]:
        asked = set((request.schema or {})["properties"])
        if asked == {"caption"}:
            seen = named(request.images[len(request.images) // 2])
            return {"caption": f"a {seen}" if seen else "nothing in particular"}
        if asked == {"why", "clips"}:
            question = _QUOTED.findall(request.prompt)[0]
            cited = [int(n) for n, text in _CLIP.findall(request.prompt) if text[2:] in question]
            return {"why": "they show it", "clips": cited}
        if asked in ({"chains"}, {"boxes"}):
            return self.chainer.answer(request)
        player = self.quizzer if asked == {"questions"} else self.watcher
        return player.answer(request)


@pytest.fixture(autouse=True)
def _edge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_stage, "open_teacher", Model)
    monkeypatch.setattr(encoder_stage, "open_encoder", lambda _: Eye("colour", "shape"))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[RenderedVideo]:
    plan = LAGGING.model_copy(
        update={"count": 2, "min_lag": 0, "max_lag": 0, "min_scenes": 8, "max_scenes": 8,
                "min_seconds": 2.0, "max_seconds": 3.0, "narration": False, "gradual": 0.0}
    )  # fmt: skip
    return rendered(plan, tmp_path_factory.mktemp("in") / "v")


def packed(recipe: str, source: Path, out: Path, *sets: str) -> list[dict[str, Any]]:
    """Run a recipe inline; the facts of every clip in its shards."""
    summary = run(load_recipe(recipe, sets), str(source), str(out), engine="inline")
    assert set(summary.inputs) == {"packed"}, summary
    assert verify(Store.open(str(out))).ok
    clips = []
    for shard in sorted((out / "shards").glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar.getmembers():
                if member.name.endswith(".json"):
                    file = tar.extractfile(member)
                    assert file is not None
                    clips.append(json.loads(file.read()))
    return clips


def told(clip: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """A clip's samples of a kind; what rules ask over the timeline is `posed`."""
    return [s for s in clip["samples"] if s["kind"] == kind and s["labels"].get("fact") != RULES]


def posed(clip: dict[str, Any]) -> list[dict[str, Any]]:
    return [sample for sample in clip["samples"] if sample["labels"].get("fact") == RULES]


def spans(sample: dict[str, Any]) -> list[Span]:
    return [Span.of_seconds(e["start_s"], e["end_s"]) for e in sample["evidence"]]


def scenes_of(clip: dict[str, Any], videos: Sequence[RenderedVideo], what: str) -> list[Span]:
    """Where a colour and shape are seen, by the truth."""
    truth = {video.truth.name: video.truth for video in videos}[Path(clip["video"]["id"]).stem]
    return [
        Span.of_seconds(scene.start_s, scene.end_s)
        for scene in truth.scenes
        if any(f"{thing.colour} {thing.shape}" == what for thing in scene.things)
    ]


def check_evidence(clips: list[dict[str, Any]], kind: str, videos: list[RenderedVideo]) -> int:
    """Nine in ten samples name a scene that they overlap by 0.7; none leaves the video."""
    good, total = 0, 0
    for clip in clips:
        whole = Span.of_seconds(clip["span"]["start_s"], clip["span"]["end_s"])
        for sample in told(clip, kind):
            what = re.search(r"\ba (\w+ \w+)\s*$", sample["answer"])
            [span] = spans(sample)
            assert whole.start_s <= span.start_s < span.end_s <= whole.end_s + 0.001
            total += 1
            good += what is not None and any(
                span.iou(scene) >= 0.7 for scene in scenes_of(clip, videos, what[1])
            )
    assert good >= 0.9 * total
    return total


def test_grounded_videollm_packs_choices_with_their_evidence(
    videos: list[RenderedVideo], tmp_path: Path
) -> None:
    clips = packed(
        "grounded_qa/grounded_videollm", videos[0].path.parent, tmp_path,
        "stages.build_distractors.options=3", "profiles.grounded.blind.max=1.0",
    )  # fmt: skip
    assert len(clips) == 2 and check_evidence(clips, "qa", videos) >= 12
    choices = [sample for clip in clips for sample in told(clip, "choice")]
    assert len(choices) >= 2
    for sample in choices:
        assert sample["answer"] in sample["options"] and len(set(sample["options"])) == 3
        assert {"from_span", "blind", "relative"} <= set(sample["labels"])
        assert sample["labels"]["from_span"] == "1.000"
    tasks = [sample for clip in clips for sample in posed(clip)]
    assert {sample["labels"]["task"] for sample in tasks} == {"localisation", "span_caption"}
    assert all(re.search(r"<\d+>", f"{s['question']} {s['answer']}") for s in tasks)


def test_vstar_packs_chains_whose_span_and_boxes_are_the_things(
    videos: list[RenderedVideo], tmp_path: Path
) -> None:
    clips = packed("grounded_qa/vstar", videos[0].path.parent, tmp_path)
    assert len(clips) == 2
    truths = {video.truth.name: video.truth for video in videos}
    overlaps, named = [], []
    for clip in clips:
        truth = truths[Path(clip["video"]["id"]).stem]
        steps: dict[tuple[str, str], list[str]] = {}
        for sample in told(clip, "chain"):
            labels = sample["labels"]
            steps.setdefault((labels["chain"], labels["order"]), []).append(labels["type"])
            if labels["type"] != "where":
                continue
            [span] = spans(sample)
            scenes = scenes_of(clip, videos, labels["thing"].removeprefix("the "))
            named.append(any(span.iou(scene) >= 0.7 for scene in scenes))
            for second, *box in json.loads(sample["answer"]):
                at = min(truth.boxes, key=lambda own: abs(own.seconds - second))
                wide, tall = truth.width, truth.height
                sides = [at.x0 / wide, at.y0 / tall, at.x1 / wide, at.y1 / tall]
                overlaps.append(iou(box, sides))
        assert len(steps) == 2 * 5, "five chains in two orders"
        assert all("_".join(kinds) == order for (_, order), kinds in steps.items())
    assert sum(named) >= 0.9 * len(named)
    assert sum(own >= 0.5 for own in overlaps) >= 0.9 * len(overlaps) > 20


def test_lita_answers_when_questions_by_spans(videos: list[RenderedVideo], tmp_path: Path) -> None:
    clips = packed(
        "grounded_qa/lita", videos[0].path.parent, tmp_path, "stages.timeline_qa.questions=10"
    )
    assert len(clips) == 2 and check_evidence(clips, "qa", videos) >= 12
    for sample in (sample for clip in clips for sample in told(clip, "qa")):
        [span] = spans(sample)
        assert sample["labels"]["type"] == "when" and sample["labels"]["blind"] == "0.000"
        assert f"From {span.start_s:.1f} to {span.end_s:.1f} seconds." in sample["answer"]


def test_videoitg_finds_spans_and_frames_for_the_instruction(
    videos: list[RenderedVideo], tmp_path: Path
) -> None:
    rows, wanted = [], []
    for video in videos:
        thing = video.truth.scenes[3].things[0]
        wanted.append(f"{thing.colour} {thing.shape}")
        rows.append({"path": str(video.path), "question": f"What does the {wanted[-1]} do?"})
    manifest = tmp_path / "videos.jsonl"
    manifest.write_text("\n".join(json.dumps(row) for row in rows))
    clips = packed(
        "grounded_qa/videoitg", manifest, tmp_path / "out", "stages.windows.window_s=0.5",
        "stages.sample_frames.fps=4", "stages.select_frames.budget=4",
    )  # fmt: skip
    assert len(clips) == 2
    for clip in clips:
        [sample] = told(clip, "grounding")
        what = next(name for name in wanted if name in sample["question"])
        scenes = scenes_of(clip, videos, what)
        assert max(span.iou(scene) for span in spans(sample) for scene in scenes) >= 0.7
        whole = Span.of_seconds(clip["span"]["start_s"], clip["span"]["end_s"])
        assert max(whole.iou(scene) for scene in scenes) < 0.7, "so would no operator at all"
        [chosen] = told(clip, "frames")
        inside = [any(s.overlap_s(f) > 0 or s.contains(f.clock, f.start) for s in scenes)
                  for f in spans(chosen)]  # fmt: skip
        assert 1 <= len(inside) <= 4 and sum(inside) >= 0.75 * len(inside)


def test_doravqa_packs_clips_that_end_before_the_answer(tmp_path: Path) -> None:
    lines, asked, seconds = programme(0)
    source = tmp_path / "in"
    source.mkdir()
    render(source / "p.mp4", [int(seconds) * 4], fps=4, size=(64, 48), beeps=[])
    (source / "p.vtt").write_text(vtt(lines))
    clips = packed(
        "grounded_qa/doravqa", source, tmp_path / "out", "stages.transcribe.engine=subtitles"
    )
    found = sorted(
        (clip["span"]["end_s"], sample["question"], sample["answer"])
        for clip in clips
        for sample in told(clip, "qa")
    )
    assert [own[1:] for own in found] == [(own.question, own.answer) for own in asked]
    ends = [own.pause[1] for own in asked]
    assert all(abs(a - b) <= 0.3 for (a, *_), b in itertools.zip_longest(found, ends))
