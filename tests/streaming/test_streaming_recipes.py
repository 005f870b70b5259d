"""Every streaming recipe from files to shards on rendered films; models replaced at the edge."""

from __future__ import annotations

import json
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from narrated import LAGGING, Eye, rendered
from quizzers import Edge, named
from stream_rules import dialogue_of, faults, replies
from streamers import Streamer

from clipmill.pipeline.engine.run import run
from clipmill.pipeline.output.tables import read_videos
from clipmill.pipeline.output.verify import verify
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.pipeline.store.store import Store
from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Part, Segment
from clipmill.stages.compose.render_synthetic import RenderedVideo
from clipmill.stages.interleave.build_dialogue import BuildDialogue, Settings
from clipmill.stages.models import encoder_stage, teacher_stage
from clipmill.stages.models.teacher import Reply, Request
from clipmill.stages.qa.stream_qa import StreamQa

pytestmark = pytest.mark.timeout(240)
Clip = dict[str, Any]
seen_in = cache(named)  # the same pictures are looked at for one question after another
THING = r"a \w+ \w+$"


class Model(Edge):
    """One model for every stage; what a reply must hold says which part it plays.

    It captions what most pictures show, and answers from the pictures it is given: an option
    that the newest of them shows, or all that it has seen.
    """

    streamer = Streamer()

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        self.asked += requests
        return [Reply(r.id, self.text(r)) for r in requests][::-1]

    def text(self, request: Request) -> str:
        assert request.schema is not None
        fields = request.schema["properties"]
        if "questions" in fields and "answers" in fields["questions"]["items"]["properties"]:
            return self.streamer.text(request)
        return json.dumps(self.answer(request))

    def answer(self, request: Request) -> dict[str, Any]:
        assert request.schema is not None
        fields = request.schema["properties"]
        said = [line for block in quoted(request) for line in block]
        if "caption" in fields:
            seen = Counter(filter(None, map(seen_in, request.images))).most_common(1)
            return {"caption": f"a {seen[0][0]}" if seen else "nothing in particular"}
        if "questions" in fields:
            return {"questions": [{"question": "What can be seen?", "answer": said[0]}]}
        if "sentences" in fields:
            lines = [re.findall(r"^(\d+) \([\d.]+-[\d.]+\) \w+: (.*)", line)[0] for line in said]
            return {"sentences": [{"text": f"{t}.", "from": [int(n)]} for n, t in lines]}
        if "text" in fields:
            return {"text": f"now there is {said[-1]}"}
        shown = [f"a {seen}" for picture in request.images if (seen := seen_in(picture))]
        for option in fields["answer"].get("enum", []):
            if option in shown[-1:]:
                return {"answer": option}
        options = fields["answer"].get("enum", ["; ".join(dict.fromkeys(shown)) or "nothing"])
        return {"answer": options[0]}


def quoted(request: Request) -> list[list[str]]:
    blocks = re.findall(r"<data ([0-9a-f]+)>\n(.*?)</data \1>", request.prompt, re.DOTALL)
    return [[json.loads(line) for line in text.splitlines()] for _, text in blocks]


@pytest.fixture(autouse=True)
def _edge(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "embedded" not in request.node.name:
        monkeypatch.setattr(teacher_stage, "open_teacher", Model)
        monkeypatch.setattr(encoder_stage, "open_encoder", lambda _: Eye())


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[RenderedVideo]:
    """Two films of eight scenes, with what happens in them as people would annotate it."""
    plan = LAGGING.model_copy(
        update={"count": 2, "min_scenes": 8, "max_scenes": 8, "min_seconds": 2.0,
                "max_seconds": 3.0, "narration": False, "gradual": 0.0, "moving_camera": 0.0,
                "min_lag": 0, "max_lag": 0}
    )  # fmt: skip
    found = rendered(plan, tmp_path_factory.mktemp("in") / "v")
    for video in found:
        rows: list[dict[str, Any]] = [
            {"text": thing_of(video, n), "start": scene.start_s, "end": scene.end_s}
            for n, scene in enumerate(video.truth.scenes)
        ]
        rows += [{"text": "", "start": 1, "end": 2}, {"text": "back", "start": 5, "end": 4}]
        write(video, rows)
    return found


def thing_of(video: RenderedVideo, scene: int) -> str:
    thing = video.truth.scenes[scene].things[0]
    return f"a {thing.colour} {thing.shape}"


def write(video: RenderedVideo, rows: list[dict[str, Any]]) -> None:
    video.path.with_suffix(".annotations.json").write_text(json.dumps(rows))


def packed(recipe: str, source: Path, out: Path, *sets: str) -> tuple[list[Clip], list[Segment]]:
    """Run a recipe inline: facts of every clip in its shards, and its segments in the tables."""
    summary = run(load_recipe(recipe, sets), str(source), str(out), engine="inline")
    assert set(summary.inputs) == {"packed"}, summary
    store = Store.open(str(out))
    assert verify(store).ok
    members: dict[str, Clip] = {}
    for shard in sorted((out / "shards").glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar.getmembers():
                key, _, form = member.name.partition(".")
                file = tar.extractfile(member)
                assert file is not None
                if form == "json":
                    members.setdefault(key, {}).update(json.loads(file.read()))
                elif form == "txt":
                    members.setdefault(key, {})["said"] = json.loads(file.read())
    layer = load_recipe(recipe).pack.layer
    held = [segment for video in read_videos(store) for segment in video.layer(layer)]
    return list(members.values()), held


def accept(
    clips: list[Clip], held: list[Segment], videos: list[RenderedVideo],
    requests: Sequence[str] = Settings().requests, least: float = 0.9,
) -> Counter[str]:  # fmt: skip
    """Causal and silent elsewhere, the same in tables and shards, evidence where the thing is.

    Returns how many answers there are by mode.
    """
    assert len(clips) == len(held) == 2
    modes: Counter[str] = Counter()
    good = total = 0
    for segment in held:
        assert faults(segment, requests) == []
    truths = {video.truth.name: video for video in videos}
    written = [dialogue_of(segment) for segment in held]
    for clip in clips:
        assert clip["said"] in written  # the text to train on is the dialogue
        video = truths[Path(clip["video"]["id"]).stem]
        for sample in clip["samples"]:
            if sample["kind"] != "turn" or sample["labels"]["reply"] != "answer":
                continue
            modes[sample["labels"]["mode"]] += 1
            turn, evidence = sample["turn"], sample["evidence"]
            assert turn["start_s"] <= turn["end_s"] and evidence
            assert all(span["end_s"] <= turn["end_s"] + 1e-6 for span in evidence)
            if named_thing := re.search(THING, sample["answer"]):
                last = Span.of_seconds(evidence[-1]["start_s"], evidence[-1]["end_s"])
                total += 1
                good += any(
                    last.iou(Span.of_seconds(scene.start_s, scene.end_s)) >= 0.7
                    for n, scene in enumerate(video.truth.scenes)
                    if thing_of(video, n) == named_thing[0]
                )
    assert good >= least * total > 0, (good, total)
    return modes


def test_mmduet_tells_events_as_they_end_and_answers_one_question_several_times(
    videos: list[RenderedVideo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model.streamer, "several", True)
    clips, held = packed("streaming/mmduet", videos[0].path.parent, tmp_path)
    assert accept(clips, held, videos).keys() <= {"now", "forward"}
    for segment, video in zip(held, videos, strict=True):
        told = {s.answer for s in replies(segment) if not s.labels.get("thread")}
        assert told == {thing_of(video, n) for n in range(8)}
        steps = [s.labels["step"] for s in replies(segment) if s.labels.get("thread")]
        assert {"1", "2", "3"} <= set(steps)
        assert not replies(segment, "not_yet")


def test_videollm_online_replies_at_changes_from_a_random_moment_on(
    videos: list[RenderedVideo], tmp_path: Path
) -> None:
    clips, held = packed("streaming/videollm_online", videos[0].path.parent, tmp_path)
    recipe = load_recipe("streaming/videollm_online")
    [stage] = [e.stage for e in recipe.stages if e.operator == "build_dialogue"]
    requests = stage.settings.requests  # type: ignore[attr-defined]
    assert set(accept(clips, held, videos, requests)) == {"forward"}
    starts = []
    for segment in held:
        user, *told = dialogue_of(segment)["messages"]
        assert user["role"] == "user" and all(m["role"] == "assistant" for m in told)
        assert all(m["content"].startswith("now there is a ") for m in told)
        starts.append(user["time"])
        assert user["time"] <= segment.span.duration_s / 2 and len(told) >= 4
    assert len(set(starts)) == 2


def test_timechat_online_asks_back_now_and_ahead_about_scenes(
    videos: list[RenderedVideo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What turns is taken for another shape now and then.
    monkeypatch.setattr(encoder_stage, "open_encoder", lambda _: Eye("colour", "backdrop"))
    clips, held = packed(
        "streaming/timechat_online", videos[0].path.parent, tmp_path,
        "stages.steps.window_s=0.5", "stages.glimpses.fps=2", "stages.split_semantic.min_s=1",
        "stages.thin_frames.every_s=1", "stages.build_dialogue.fps=4",
    )  # fmt: skip
    modes = accept(clips, held, videos, least=0.8)  # borders are found, at every half second
    assert set(modes) == {"backward", "now", "forward"} and sum(modes.values()) >= 12
    assert any(replies(segment, "not_yet") for segment in held)


@pytest.mark.models
@pytest.mark.timeout(600)
def test_timechat_online_embedded_runs_on_films_without_a_download(
    tmp_path: Path,
) -> None:
    plan = LAGGING.model_copy(
        update={"count": 1, "seed": 5, "width": 320, "height": 240, "narration": False,
                "gradual": 0.0, "min_scenes": 5, "max_scenes": 5, "min_seconds": 2.0,
                "max_seconds": 3.0, "moving_camera": 0.0}
    )  # fmt: skip
    films = rendered(plan, tmp_path / "in")
    clips, held = packed("streaming/timechat_online@embedded", tmp_path / "in", tmp_path / "out")
    assert len(clips) == len(held) == 1
    right = total = 0
    for segment, film in zip(held, films, strict=True):
        assert faults(segment) == []
        for sample in replies(segment):
            [span] = sample.evidence
            total += 1
            right += any(
                span.iou(Span.of_seconds(scene.start_s, scene.end_s)) >= 0.5
                and re.search(rf"\b({scene.things[0].colour}|{scene.things[0].shape})\b",
                              f"{sample.question} {sample.answer}")
                for scene in film.truth.scenes
            )  # fmt: skip
    print(f"{right} of {total} answers are about what their scene shows")
    assert right >= 0.8 * total >= 6


def test_vstream_qa_asks_along_the_clips_and_sums_them_up(
    videos: list[RenderedVideo], tmp_path: Path
) -> None:
    clips, held = packed(
        "streaming/vstream_qa", videos[0].path.parent, tmp_path,
        "stages.split_uniform.window_s=2.5", "stages.build_dialogue.gap_s=1",
        "stages.stream_qa.events=2",
    )  # fmt: skip
    for clip in clips:
        assert {t["role"] for t in clip["texts"]} >= {"summary", "story", "dialogue"}
    for segment in held:
        assert faults(segment) == []
        answers = replies(segment)
        assert {s.labels["mode"] for s in answers} <= {"now", "backward"} and len(answers) >= 5
        assert any(s.labels["link"] for s in answers)


def test_svbench_keeps_chains_that_are_answered_when_due_and_not_before(
    videos: list[RenderedVideo], tmp_path: Path
) -> None:
    clips, held = packed(
        "streaming/svbench", videos[0].path.parent, tmp_path, "stages.sample_frames.fps=2",
        "profiles.moving.motion.min=0",
    )  # fmt: skip
    assert set(accept(clips, held, videos)) == {"now"}
    for clip in clips:
        turns = [s for s in clip["samples"] if s["kind"] == "turn"]
        assert len(turns) == len(clip["samples"]) >= 6
        assert all(float(s["labels"]["when_due"]) == 1 for s in turns)
        assert all(float(s["labels"].get("too_early", "0")) == 0 for s in turns)
        assert len({s["labels"]["chain"] for s in turns}) >= 4
        assert any(s["labels"]["link"] for s in turns)
    dropped = sum(len(replies(segment)) for segment in held) - sum(
        sum(s["kind"] == "turn" for s in clip["samples"]) for clip in clips
    )
    assert dropped > 0, "nothing was seen before it was asked about"


def test_ovo_bench_puts_choices_before_at_and_after_their_events(
    videos: list[RenderedVideo], tmp_path: Path
) -> None:
    clips, held = packed(
        "streaming/ovo_bench", videos[0].path.parent, tmp_path,
        "stages.build_distractors.options=3", "stages.when_due.frames=400",
        "stages.too_early.frames=400",
        "stages.build_dialogue.gap_s=1",
    )  # fmt: skip
    modes = accept(clips, held, videos)
    assert len(modes) >= 2
    for clip in clips:
        assert all(s["answer"] in s["options"] for s in clip["samples"])
        for message in clip["said"]["messages"]:
            assert message["role"] != "user" or message["content"].count("\n- ") == 3


def test_ovbench_interleaves_what_annotations_decide(
    videos: list[RenderedVideo], tmp_path: Path
) -> None:
    clips, held = packed("streaming/ovbench", videos[0].path.parent, tmp_path)
    modes = accept(clips, held, videos)
    assert set(modes) == {"backward", "now", "forward"}
    for clip, segment in zip(clips, held, strict=True):
        tasks = {s["labels"]["task"] for s in clip["samples"] if s["kind"] == "qa"}
        assert {"localisation", "span_caption"} <= tasks
        refused = [t.text for t in segment.texts if t.role == "refused_events"]
        assert refused == []  # they are told of the video, not of a clip


def test_h2vu_takes_people_at_their_moment_and_balances_their_tasks(
    videos: list[RenderedVideo], tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    asked: dict[str, list[float]] = {}
    for video in videos:
        path = source / video.path.name
        path.write_bytes(video.path.read_bytes())
        rows = []
        for n, scene in enumerate(video.truth.scenes):
            at = max(0.0, scene.start_s - 1.5 + 1.4 * (n % 4))
            asked.setdefault(video.truth.name, []).append(at)
            rows.append({
                "question": f"What is scene {n}?", "answer": thing_of(video, n), "asked": at,
                "start": scene.start_s, "end": scene.end_s,
                "task": "state" if n % 4 else "sense",
            })  # fmt: skip
        rows.append({**rows[0], "asked": "soon"})
        path.with_suffix(".annotations.json").write_text(json.dumps(rows))
    clips, held = packed(
        "streaming/h2vu", source, tmp_path / "out", "stages.sample_frames.fps=2",
        "stages.sample_frames.count=60", "stages.build_dialogue.fps=4",
    )  # fmt: skip
    accept(clips, held, videos)
    for segment, video in zip(held, videos, strict=True):
        for sample in replies(segment):
            number = int(sample.question.rstrip("?").rpartition(" ")[2])
            assert sample.turn is not None
            assert 0 <= sample.turn.start_s - asked[video.truth.name][number] <= 0.2505
    assert any("too_early" in s["labels"] for clip in clips for s in clip["samples"])
    tasks = Counter(s["labels"]["task"] for clip in clips for s in clip["samples"])
    assert tasks["state"] == tasks["sense"] > 0


def gone(part: Part) -> Part:
    return part


@pytest.mark.parametrize(("recipe", "operator"), [
    ("streaming/mmduet", BuildDialogue), ("streaming/videollm_online", BuildDialogue),
    ("streaming/vstream_qa", StreamQa), ("streaming/ovbench", BuildDialogue),
])  # fmt: skip
def test_a_recipe_without_its_operator_packs_nothing(
    recipe: str, operator: Any, videos: list[RenderedVideo], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    left: Callable[[Any, Part], Part] = lambda self, part: gone(part)  # noqa: E731
    monkeypatch.setattr(operator, "process", left)
    summary = run(load_recipe(recipe), str(videos[0].path.parent), str(tmp_path), engine="inline")
    assert set(summary.inputs) == {"dropped"}
