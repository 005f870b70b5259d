"""Every recipe of the family from file to shards on rendered films; models at the edge, and one run
with the small teacher that ships.
"""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from narrated import LAGGING, Eye, rendered
from tellers import THING, Writer

from clipmill.pipeline.engine.account import Summary
from clipmill.pipeline.engine.run import run
from clipmill.pipeline.output.stats import stats
from clipmill.pipeline.output.verify import verify
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.pipeline.store.store import Store
from clipmill.stages.compose.render_synthetic import RenderedVideo
from clipmill.stages.models import encoder_stage, teacher_stage

pytestmark = pytest.mark.timeout(120)
Clip = dict[str, Any]
SUBTITLES = "stages.transcribe.engine=subtitles"


@pytest.fixture
def edge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_stage, "open_teacher", Writer)
    monkeypatch.setattr(encoder_stage, "open_encoder", lambda _: Eye())


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[RenderedVideo]:
    """Three narrated films of five scenes, subtitles beside them."""
    plan = LAGGING.model_copy(
        update={"count": 3, "min_lag": 0, "max_lag": 0, "min_scenes": 5, "max_scenes": 5,
                "min_seconds": 3.0, "max_seconds": 4.0, "gradual": 0.0}
    )  # fmt: skip
    return rendered(plan, tmp_path_factory.mktemp("films") / "v")


def folder(films: list[RenderedVideo], path: Path, **renamed: RenderedVideo) -> Path:
    """The films with their subtitles, and some again under other names."""
    path.mkdir()
    named = {film.path.stem: film for film in films} | renamed
    for name, film in named.items():
        for file in (film.path, film.path.with_suffix(".vtt")):
            shutil.copy(file, path / f"{name}{file.suffix}")
    return path


def shards(
    recipe: str, source: Path, out: Path, *sets: str
) -> tuple[Summary, list[dict[str, Any]]]:
    """Run a recipe inline; its account, and the facts of every clip in its shards."""
    summary = run(load_recipe(recipe, sets), str(source), str(out), engine="inline")
    assert verify(Store.open(str(out))).ok and "failed" not in summary.inputs, summary
    clips = []
    for shard in sorted((out / "shards").glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar.getmembers():
                file = tar.extractfile(member)
                if member.name.endswith(".json") and file is not None:
                    clips.append(json.loads(file.read()))
    return summary, clips


def questions(clips: list[Clip]) -> list[tuple[str, dict[str, Any]]]:
    """(id of the video, sample) of all questions that were packed."""
    return [(c["video"]["id"], s) for c in clips for s in c["samples"] if s["kind"] == "qa"]


@pytest.mark.usefixtures("edge")
def test_just_ask_asks_of_sentences_and_nothing_of_test_videos(
    films: list[RenderedVideo], tmp_path: Path
) -> None:
    _, held_out = shards("text_qa/just_ask", folder(films[:1], tmp_path / "eval"),
                         tmp_path / "EVAL", SUBTITLES)  # fmt: skip
    assert held_out
    source = folder(films[1:], tmp_path / "in", again=films[0], twin=films[1])
    reference = f"decide.dedup.reference={tmp_path / 'EVAL' / 'tables' / 'embeddings'}"
    summary, again = shards("text_qa/just_ask", source, tmp_path / "out", SUBTITLES, reference)
    assert summary.dropped["dedup: near the reference set"] >= len(held_out)
    found = stats(Store.open(tmp_path / "out"))
    assert found.dropped_samples["dedup_samples: the same question and answer again"] > 0
    assert not [name for name, _ in questions(again) if name.startswith("again")]
    asked = [(s["question"], s["answer"]) for _, s in questions(again)]
    assert asked and len(asked) == len(set(asked))
    for clip in again:
        for sample in clip["samples"]:
            assert sample["answer"] in clip["texts"][0]["text"].casefold()


@pytest.mark.usefixtures("edge")
def test_valley_asks_of_captions_by_type(films: list[RenderedVideo], tmp_path: Path) -> None:
    _, clips = shards("text_qa/valley", folder(films, tmp_path / "in"), tmp_path / "out")
    found = questions(clips)
    kinds = [sample["labels"]["type"] for _, sample in found]
    assert found and {kinds.count(kind) for kind in set(kinds)} == {len(kinds) // len(set(kinds))}
    assert all(s["sources"] == [s["sources"][0]] and "caption" in s["sources"][0] for _, s in found)


@pytest.mark.models
def test_valley_by_the_small_teacher_is_right_about_the_film(
    films: list[RenderedVideo], tmp_path: Path
) -> None:
    """Embedded models caption and ask: answers are held against the truth of the film."""
    _, clips = shards(
        "text_qa/valley@embedded", folder(films[:1], tmp_path / "in"), tmp_path / "out"
    )
    things = {f"{t.colour} {t.shape}" for scene in films[0].truth.scenes for t in scene.things}
    right = []
    for _, sample in questions(clips):
        if shape := re.fullmatch(r"What colour is the (\w+)\?", sample["question"]):
            right.append(f"{sample['answer']} {shape[1]}" in things)
    print(f"{sum(right)} of {len(right)} colours right")
    assert len(right) >= 4 and sum(right) >= 0.75 * len(right)


@pytest.mark.usefixtures("edge")
def test_videogpt_plus_asks_from_the_dense_text_of_key_frames(
    films: list[RenderedVideo], tmp_path: Path
) -> None:
    _, clips = shards("text_qa/videogpt_plus", folder(films, tmp_path / "in"), tmp_path / "out",
                   "stages.sample_frames.fps=2")  # fmt: skip
    assert len(clips) == 3
    for clip in clips:
        [dense] = [text["text"] for text in clip["texts"] if text["role"] == "dense"]
        assert len(set(THING.findall(dense))) >= 3
        assert {s["labels"]["type"] for s in clip["samples"]} <= {
            "spatial",
            "reasoning",
            "description",
        }
    kinds = [sample["labels"]["type"] for _, sample in questions(clips)]
    assert kinds and len({kinds.count(kind) for kind in set(kinds)}) == 1


@pytest.mark.usefixtures("edge")
def test_sfd_keeps_what_needs_the_film_and_says_what_speech_and_sight_are_worth(
    films: list[RenderedVideo], tmp_path: Path
) -> None:
    _, clips = shards("text_qa/sfd", folder(films, tmp_path / "in"), tmp_path / "out", SUBTITLES)
    found = [sample for _, sample in questions(clips)]
    assert found
    for sample in found:
        assert len(sample["options"]) == 5 and sample["labels"]["leak"] == "none"
        assert {"blind", "heard", "seen", "difficulty"} <= set(sample["labels"])
    heard = [float(sample["labels"]["heard"]) for sample in found]
    blind = [float(sample["labels"]["blind"]) for sample in found]
    assert sum(heard) / len(heard) > 0.9 > 0.6 > sum(blind) / len(blind)


COUNTS = (3, 0, 2, 0, 5)


@pytest.mark.usefixtures("edge")
def test_tgif_qa_asks_what_people_counted_and_what_comes_next(
    films: list[RenderedVideo], tmp_path: Path
) -> None:
    source = folder(films, tmp_path / "in")
    labels, rows = {}, []
    truth: dict[str, list[tuple[str, int]]] = {}
    for film in films:
        told = [f"the {s.things[0].colour} {s.things[0].shape} turns" for s in film.truth.scenes]
        truth[film.path.name] = list(zip(told, COUNTS, strict=True))
        labels[film.path.name] = [
            {"text": text, "start": scene.start_s, "end": scene.end_s} | ({"count": n} if n else {})
            for (text, n), scene in zip(truth[film.path.name], film.truth.scenes, strict=True)
        ]
        rows.append({"path": str(source / film.path.name), "id": film.path.name,
                     "caption": f"a {told[0][4:-6]} is seen"})  # fmt: skip
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    (tmp_path / "loops.jsonl").write_text("\n".join(map(json.dumps, rows)))
    _, clips = shards("text_qa/tgif_qa", tmp_path / "loops.jsonl", tmp_path / "out",
                   f"stages.import_annotations.file={tmp_path / 'labels.json'}")  # fmt: skip
    checked: dict[str, list[bool]] = {}
    for name, sample in questions(clips):
        told = truth[name]
        task = sample["labels"].get("task", "frame")
        checked.setdefault(task, []).append(answers(task, sample, told))
    print({task: f"{sum(good)} of {len(good)}" for task, good in checked.items()})
    assert set(checked) == {"repetition", "repeated", "transition", "frame"}
    every = [good for own in checked.values() for good in own]
    assert sum(every) >= 0.98 * len(every)


def answers(task: str, sample: dict[str, Any], told: list[tuple[str, int]]) -> bool:
    """Whether the answer is the one that the labels give, and the only such option."""
    texts, question, answer = [text for text, _ in told], sample["question"], sample["answer"]
    if task == "frame":
        [(colour, shape)] = THING.findall(texts[0])
        return answer == colour and shape in question
    if task == "repetition":
        return any(text in question and str(count) == answer for text, count in told)
    if task == "repeated":
        fits = [text for text, count in told if f" {count} times" in question and count]
    else:
        [known] = [text for text in texts if text in question and texts.count(text) == 1]
        step = 1 if " after " in question else -1
        fits = [texts[texts.index(known) + step]]
    return fits == [answer] and answer in sample["options"] and len(set(sample["options"])) >= 2
