"""Every recipe of the family from file to shards on rendered films, models replaced at the edge.

The models see the pictures they are given and read their prompts; the questions of people lie in
files beside the films, as published sets do. What leaks is dropped and exported with its reason.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from leaky import FACTS, SIGHT, Answerer
from narrated import LAGGING, rendered, vtt
from quizzers import named
from test_grounded_recipes import packed
from typer.testing import CliRunner

from clipmill.pipeline.cli.app import app
from clipmill.pipeline.engine.run import run
from clipmill.pipeline.output.stats import stats
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.pipeline.store.store import Store
from clipmill.stages.compose.render_synthetic import RenderedVideo
from clipmill.stages.compose.world import COLOURS, SHAPES
from clipmill.stages.models import teacher_stage
from clipmill.stages.models.teacher import Request

pytestmark = pytest.mark.timeout(120)
_THING = re.compile(rf"\b(?:{'|'.join(COLOURS)}) (?:{'|'.join(SHAPES)})\b")
FRAMES = ("stages.sample_frames.count=14", "stages.one_frame.frames=7")
"""Two frames of every scene of two seconds, one of each alone."""
SUBTITLES = ["stages.transcribe.engine=subtitles"]


class Model(Answerer):
    """Answers as `Answerer` does, also questions by templates and open ones; and writes questions.

    A question that it writes is about the order of all that is told of; every other one is given
    away by options that nobody could take for true.
    """

    slip = 0.0

    def answer(self, request: Request) -> dict[str, Any]:
        for picture in request.images:
            if picture not in SIGHT:
                SIGHT[picture] = named(picture) or "nothing"
        if "same" in (request.schema or {})["properties"]:
            return {"same": "no"}
        if "questions" in (request.schema or {})["properties"]:
            return {"questions": self._written(request)}
        return super().answer(request)

    def _found(self, question: str, options: list[str], seen: list[str]) -> str | None:
        order = list(dict.fromkeys(thing for thing in seen if thing != "nothing"))
        if question.startswith("What is seen first"):
            return order[0] if order else None
        things = {option: _THING.findall(option) for option in options}
        if question in FACTS or not options or not any(things.values()):
            return super()._found(question, options, seen)
        if question.startswith(("In which order do these appear", "Bring these")):
            wanted = {thing for own in things.values() for thing in own}
            said = [thing for thing in order if thing in wanted]
            fits = [option for option, own in things.items() if own == said]
            return fits[0] if len(fits) == 1 else super()._found(question, options, [])
        return super()._found(question, options, seen)

    def _written(self, request: Request) -> list[dict[str, Any]]:
        told = list(dict.fromkeys(_THING.findall(request.prompt)))
        one, two, three = told[0], told[len(told) // 2], told[-1]
        right, odd = f"{one}, then {two}, then {three}", "last Tuesday"
        wrong = [(one, three, two), (two, one, three), (two, three, one), (three, two, one)]
        orders = [", then ".join(names) for names in wrong]
        asked = f"In which order do these appear: {', '.join(sorted((one, two, three)))}?"
        when = [{"start": 0.0, "end": 1.0}]
        return [
            {"type": "choice", "evidence": when, "answer": right, "question": text,
             "options": [right, *others]}
            for text, others in ((asked, orders), (asked, [f"{o}, then {odd}" for o in orders]))
        ]  # fmt: skip


@pytest.fixture(autouse=True)
def _edge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_stage, "open_teacher", Model)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[RenderedVideo]:
    plan = LAGGING.model_copy(
        update={"count": 2, "min_lag": 0, "max_lag": 0, "min_scenes": 7, "max_scenes": 7,
                "min_seconds": 2.0, "max_seconds": 2.0, "narration": False, "gradual": 0.0}
    )  # fmt: skip
    return rendered(plan, tmp_path_factory.mktemp("films") / "v")


def things(film: RenderedVideo) -> list[str]:
    return [f"{scene.things[0].colour} {scene.things[0].shape}" for scene in film.truth.scenes]


def once(film: RenderedVideo) -> list[str]:
    seen = things(film)
    return [thing for thing in seen if seen.count(thing) == 1]


def asked_of(film: RenderedVideo) -> dict[str, dict[str, Any]]:
    """People's questions about a film, as rows of a published file, by what gives them away."""
    one, two, *_, three = once(film)
    orders = [(one, two, three), (one, three, two), (two, one, three), (three, two, one)]
    absent = [f"{c} {s}" for c in COLOURS for s in SHAPES if f"{c} {s}" not in things(film)]
    three_of = [" and ".join(sorted(own)) for own in ((one, two, three), (one, two, absent[0]),
                (one, absent[1], three), (absent[2], two, three))]  # fmt: skip
    fact = next(iter(FACTS))
    names = ", ".join(sorted((one, two, three)))
    return {
        "none": {"question": f"In which order do these appear: {names}?", "answer": 0,
                 "options": [", then ".join(order) for order in orders]},
        "single_frame": {"question": "Which one is seen?", "answer": two,
                         "options": [*absent[:3], two]},
        "order_free": {"question": "Which three are all seen?", "answer": "A", "options": three_of},
        "knowledge": {"question": fact, "answer": FACTS[fact], "options": list(FACTS.values())[:4]},
        "easy": {"question": "What is seen first?", "answer": one, "checked": "yes"},
        "hard": {"question": "Who made it?", "answer": "nobody knows", "checked": "yes"},
        "unproven": {"question": "Who sold it?", "answer": "nobody knows", "checked": "no"},
    }  # fmt: skip


def beside(films: list[RenderedVideo], folder: Path, *kinds: str) -> Path:
    """The films in a folder with the questions of these kinds beside them."""
    folder.mkdir()
    for film in films:
        (folder / film.path.name).symlink_to(film.path)
        rows = [{**asked_of(film)[kind], "task": kind} for kind in kinds]
        side = folder / f"{film.path.stem}.questions.json"
        side.write_text(json.dumps({film.path.name: rows}))
    return folder


def tasks(clips: list[dict[str, Any]]) -> list[str]:
    """The published tasks of the questions that were packed."""
    return sorted(
        s["labels"]["task"] for clip in clips for s in clip["samples"] if s["kind"] == "qa"
    )


def rejects(out: Path) -> list[dict[str, Any]]:
    said = CliRunner().invoke(app, ["questions", str(out), "--state", "dropped", "--kind", "qa"])
    assert said.exit_code == 0, said.output
    return [json.loads(line) for line in said.stdout.splitlines()]


def test_tomato_keeps_what_takes_several_frames_in_order_and_exports_the_rest(
    films: list[RenderedVideo], tmp_path: Path
) -> None:
    source = beside(films, tmp_path / "in", "none", "single_frame", "order_free")
    clips = packed("audited_qa/tomato", source, tmp_path / "out", *FRAMES)
    assert tasks(clips) == ["none", "none"]
    lost = rejects(tmp_path / "out")
    assert sorted((row["labels"]["task"], row["reason"]) for row in lost) == [
        ("order_free", "leak is order_free"), ("order_free", "leak is order_free"),
        ("single_frame", "leak is single_frame"), ("single_frame", "leak is single_frame"),
    ]  # fmt: skip
    asked = {row["question"] for film in films for row in asked_of(film).values()}
    assert {row["question"] for row in lost} < asked and all(row["options"] for row in lost)
    found = stats(Store.open(tmp_path / "out"))
    assert found.samples["qa"].figures["full"].mean == 1.0
    assert found.dropped_samples == {
        "filter_samples: leak is order_free": 2, "filter_samples: leak is single_frame": 2,
    }  # fmt: skip


def test_exported_questions_are_imported_again_with_what_people_say_of_them(
    films: list[RenderedVideo], tmp_path: Path
) -> None:
    source = beside(films, tmp_path / "in", "hard", "easy", "knowledge")
    run(load_recipe("audited_qa/mimeqa", SUBTITLES), str(source), str(tmp_path / "out"),
        engine="inline")  # fmt: skip
    said = CliRunner().invoke(app, ["questions", str(tmp_path / "out"), "--kind", "qa"])
    rows = [json.loads(line) for line in said.stdout.splitlines()]
    assert len(rows) == 6 and len({row["key"] for row in rows}) == 6
    judged = tmp_path / "judged.jsonl"
    verdicts = [
        row | {"verdict": "reject" if "first" in row["question"] else "fine"} for row in rows
    ]
    judged.write_text("\n".join(json.dumps(row) for row in verdicts))
    again = load_recipe("audited_qa/mimeqa", [
        *SUBTITLES, f"stages.import_annotations.file={judged}", "profiles.checked.blind.max=1"
    ])  # fmt: skip
    run(again, str(source), str(tmp_path / "again"), engine="inline")
    found = stats(Store.open(tmp_path / "again"))
    assert found.dropped_samples == {"filter_samples: verdict is reject": 2}
    told = {(row["question"], row["answer"], tuple(sorted(row.get("options", [])))) for row in rows}
    kept = CliRunner().invoke(app, ["questions", str(tmp_path / "again"), "--kind", "qa"])
    back = [json.loads(line) for line in kept.stdout.splitlines()]
    assert told == {
        (row["question"], row["answer"], tuple(sorted(row.get("options", [])))) for row in back
    }


def test_lvbench_drops_what_is_known_unseen_and_what_is_too_short(
    films: list[RenderedVideo], tmp_path: Path
) -> None:
    source = beside(films, tmp_path / "in", "none", "knowledge")
    long = max(film.truth.seconds for film in films)
    clips = packed("audited_qa/lvbench", source, tmp_path / "out",
                   f"profiles.half_an_hour.seconds.min={long - 5}")  # fmt: skip
    assert tasks(clips) == ["none", "none"]
    assert {row["reason"] for row in rejects(tmp_path / "out")} == {"leak is knowledge"}


def test_video_simpleqa_keeps_what_is_proven_and_not_answered_by_all(
    films: list[RenderedVideo], tmp_path: Path
) -> None:
    source = beside(films, tmp_path / "in", "easy", "hard", "unproven")
    clips = packed("audited_qa/video_simpleqa", source, tmp_path / "out")
    assert (
        tasks(clips) == ["hard", "hard"]
        or [s["question"] for clip in clips for s in clip["samples"]] == ["Who made it?"] * 2
    )
    reasons = sorted(row["reason"] for row in rejects(tmp_path / "out"))
    assert reasons == ["checked is no"] * 2 + ["difficulty < 0.5"] * 2


def test_mimeqa_takes_the_films_in_which_nobody_speaks(
    films: list[RenderedVideo], tmp_path: Path
) -> None:
    source = beside(films, tmp_path / "in", "hard", "knowledge")
    (source / films[0].path.with_suffix(".vtt").name).write_text(vtt([]))
    spoken = "WEBVTT\n\n00:00:01.000 --> 00:00:09.000\nthis film has a voice all along\n"
    (source / films[1].path.with_suffix(".vtt").name).write_text(spoken)
    recipe = load_recipe("audited_qa/mimeqa", SUBTITLES)
    summary = run(recipe, str(source), str(tmp_path / "out"), engine="inline")
    assert summary.inputs == {"dropped": 1, "packed": 1}
    found = stats(Store.open(tmp_path / "out"))
    assert list(found.dropped) == ["filter_scores: words_per_second > 0.05"]
    assert found.dropped_samples == {"filter_samples: blind > 0.5": 1}


def test_tvbench_keeps_orders_and_drops_what_one_frame_shows(
    films: list[RenderedVideo], tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    everything = {}
    for film in films:
        (source / film.path.name).symlink_to(film.path)
        everything[film.path.name] = [
            {"text": f"a {thing}", "start": scene.start_s, "end": scene.end_s}
            for scene, thing in zip(film.truth.scenes, things(film), strict=True)
            if things(film).count(thing) == 1
        ]
    file = tmp_path / "events.json"
    file.write_text(json.dumps(everything))
    clips = packed("audited_qa/tvbench", source, tmp_path / "out",
                   f"stages.import_annotations.file={file}", "stages.record_to_tasks.each=1",
                   *FRAMES)  # fmt: skip
    kept = [s for clip in clips for s in clip["samples"] if s["kind"] == "qa"]
    assert {s["labels"]["leak"] for s in kept} == {"none"}
    assert len(set(Counter(tasks(clips)).values())) == 1, "some task is asked more often"
    assert "ordering" in tasks(clips) and "retrieval" not in tasks(clips)
    reasons = {row["reason"] for row in rejects(tmp_path / "out")}
    assert {"leak is single_frame", "full < 0.5"} <= reasons


def test_egoschema_keeps_what_takes_long_and_is_not_guessed_from_its_options(
    films: list[RenderedVideo], tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for film in films:
        (source / film.path.name).symlink_to(film.path)
        rows = [
            {"text": f"the {thing} comes", "start": scene.start_s, "end": scene.end_s}
            for scene, thing in zip(film.truth.scenes, things(film), strict=True)
        ]
        side = source / f"{film.path.stem}.annotations.json"
        side.write_text(json.dumps({film.path.name: rows}))
    sets = ("stages.split_uniform.window_s=13", "profiles.narrated.narrations_count.min=5",
            "stages.sample_frames.fps=2", "profiles.long_need.certificate.min=5",
            "profiles.long_need.certificate.missing=drop")  # fmt: skip
    clips = packed("audited_qa/egoschema", source, tmp_path / "out", *sets)
    kept = [s for clip in clips for s in clip["samples"]]
    assert len(kept) == len(clips) == 2
    for sample in kept:
        assert sample["labels"]["leak"] == "none" and len(sample["options"]) == 5
        assert float(sample["labels"]["certificate"]) >= 5
        assert not any("Tuesday" in option for option in sample["options"])
    assert {row["reason"] for row in rejects(tmp_path / "out")} == {"leak is blind"}


def test_a_clip_with_few_narrations_is_not_asked_about(
    films: list[RenderedVideo], tmp_path: Path
) -> None:
    source = beside(films, tmp_path / "in")
    recipe = load_recipe("audited_qa/egoschema", ["stages.split_uniform.window_s=5"])
    summary = run(recipe, str(source), str(tmp_path / "out"), engine="inline")
    assert summary.inputs == {"dropped": 2}
    assert summary.dropped == {"filter_scores: narrations_count < 30": summary.clips["dropped"]}
