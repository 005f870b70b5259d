"""Every recipe of the family from clips to shards; each answer recomputed from the packed pixels.

Runs use the plain loop, not Ray: what is tested is what recipes say, and the loop runs the same
groups. An operator counts only if this test goes red without it, which is tested too.
"""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from clipmill.pipeline.engine.run import run
from clipmill.pipeline.output.verify import verify
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.pipeline.selfcheck.records import complaint
from clipmill.pipeline.store.store import Store
from clipmill.stages.compose.read_manifest import ReadManifest
from clipmill.stages.media import sandbox
from clipmill.stages.qa.record_to_tasks import RecordToTasks
from tests.diagnostic.checker import right
from tests.diagnostic.marked import REVERSED, manifest_of_films


@pytest.fixture(scope="module", autouse=True)
def child() -> Iterator[None]:
    yield
    sandbox.close()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three captioned films of about two seconds."""
    folder = tmp_path_factory.mktemp("clips")
    return manifest_of_films(folder, {1: 40, 2: 44, 3: 52}, caption_reversed=REVERSED)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One film of four seconds that has steps."""
    texts = ["break the eggs", "whisk the eggs", "heat the pan", "pour the eggs"]
    steps = [
        {"start": n + 0.2, "end": n + 0.2 + 0.2 * (n % 3 + 1), "text": text}
        for n, text in enumerate(texts)
    ]
    folder = tmp_path_factory.mktemp("host")
    return manifest_of_films(folder, {1: 110}, steps={1: json.dumps(steps)})


def packed(recipe: str, source: Path, out: Path, *sets: str) -> list[tuple[dict[str, Any], Path]]:
    """Run a recipe; every clip's facts and its file, as a reader of the shards gets them."""
    summary = run(load_recipe(recipe, sets), str(source), str(out), engine="inline")
    assert set(summary.inputs) == {"packed"}, summary
    assert verify(Store.open(str(out))).ok
    facts: dict[str, dict[str, Any]] = {}
    for shard in sorted((out / "shards").glob("*.tar")):
        with tarfile.open(shard) as tar:
            tar.extractall(out / "read", filter="data")
    for path in sorted((out / "read").glob("*.json")):
        facts[path.stem] = json.loads(path.read_text())
    return [(fact, out / "read" / f"{key}.mp4") for key, fact in facts.items()]


def hold(clips: list[tuple[dict[str, Any], Path]], tasks: set[str]) -> Counter[str]:
    """The acceptance: every task is there, every record keeps its schema, every answer is right."""
    counts: Counter[str] = Counter()
    for facts, path in clips:
        assert complaint(facts) is None, complaint(facts)
        assert json.loads(facts["video"]["meta"]["manifest"])["frames"] > 0
        for sample in facts["samples"]:
            assert right(sample, path), (facts["video"]["id"], sample)
            counts[sample["labels"]["task"]] += 1
    assert set(counts) == tasks, counts
    return counts


def test_videoniah_asks_about_its_needles_only(host: Path, tmp_path: Path) -> None:
    clips = packed("diagnostic/videoniah", host, tmp_path)
    assert len(clips) == 5
    counts = hold(clips, {"retrieval", "ordering", "counting"})
    assert counts == {"retrieval": 2, "ordering": 2, "counting": 1}
    assert all(facts["video"]["parents"][0] == "1" for facts, _ in clips)


def test_pu_valor_knows_when_scaled_and_permuted_clips_are_shown(
    clips: Path, tmp_path: Path
) -> None:
    made = packed("diagnostic/pu_valor", clips, tmp_path, "compose.untrimmed.count=3")
    hold(made, {"localisation", "span_caption", "timeline"})
    pieces = [json.loads(facts["video"]["meta"]["manifest"])["pieces"] for facts, _ in made]
    speeds = {round(piece["speed"], 2) for items in pieces for piece in items}
    assert len(speeds) > 3 and 0.5 <= min(speeds) < 1 < max(speeds) <= 2


def test_vcrbench_wants_the_steps_in_their_order(host: Path, tmp_path: Path) -> None:
    [(facts, path)] = packed("diagnostic/vcrbench", host, tmp_path)
    hold([(facts, path)], {"rearrangement"})
    assert "eggs" in facts["texts"][0]["text"] and not facts["samples"][0]["options"]


def test_sf2t_asks_about_fragments_without_any_caption(clips: Path, tmp_path: Path) -> None:
    made = packed(
        "diagnostic/sf2t", clips, tmp_path, "compose.foreign.needle_s=0.4",
        "compose.foreign.compose.margin_s=0.3",
    )  # fmt: skip
    counts = hold(made, {"fragments", "consistency", "odd_one", "disorder", "rearrangement"})
    assert counts["disorder"] == 6 and counts["consistency"] == 6
    said = {
        (sample["labels"]["task"], sample["answer"])
        for facts, _ in made
        for sample in facts["samples"]
    }
    both = {(task, word) for task in ("disorder", "consistency") for word in ("yes", "no")}
    assert both <= said, "yes or no must not follow from the task"


def test_tempcompass_makes_copies_that_conflict(clips: Path, tmp_path: Path) -> None:
    made = packed("diagnostic/tempcompass", clips, tmp_path)
    hold(made, {"playback", "speed", "before", "caption_match", "captioning"})
    answers: dict[str, dict[str, str]] = {}
    for facts, _ in made:
        way, _, clip = facts["video"]["id"].partition("/")
        for sample in facts["samples"]:
            answers.setdefault(f"{sample['labels']['task']} {clip}", {})[way] = sample["answer"]
    for name, by_way in answers.items():
        assert len(set(by_way.values())) == len(by_way) or name.startswith("before"), by_way


def test_ea_vtr_tells_the_transitions(clips: Path, tmp_path: Path) -> None:
    made = packed("diagnostic/ea_vtr", clips, tmp_path, "compose.three.compose.overlap_s=0.04")
    hold(made, {"caption_match", "ordering", "captioning"})
    assert {facts["labels"]["operation"] for facts, _ in made} == {"concat", "overlap"}


@pytest.mark.parametrize("operator", [ReadManifest, RecordToTasks])
def test_without_one_of_its_operators_the_family_fails(
    operator: Any, host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator, "process", lambda self, part: part)
    with pytest.raises(AssertionError):
        hold(packed("diagnostic/vcrbench", host, tmp_path), {"rearrangement"})


def test_what_cannot_be_composed_is_a_failed_input_and_a_rerun_makes_nothing_again(
    tmp_path: Path,
) -> None:
    """Of two videos one has steps, the other a broken list of them."""
    steps = json.dumps([{"start": n, "end": n + 0.5, "text": f"do {n}"} for n in (0, 1)])
    source = manifest_of_films(tmp_path / "in", {1: 50, 2: 50}, steps={1: steps, 2: "[1, 2"})
    recipe, out = load_recipe("diagnostic/vcrbench"), tmp_path / "out"
    summary = run(recipe, str(source), str(out), engine="inline")
    assert summary.inputs == {"packed": 1, "failed": 1} and not summary.ok
    [failure] = [
        row["message"]
        for row in pq.read_table(out / "inputs.parquet").to_pylist()
        if row["message"]
    ]
    assert "no list of steps" in failure
    before = {path: path.stat().st_mtime_ns for path in (out / "composed").iterdir()}
    assert len(before) == 2
    run(recipe, str(source), str(out), engine="inline")
    assert {path: path.stat().st_mtime_ns for path in (out / "composed").iterdir()} == before
