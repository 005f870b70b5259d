"""Decisions about samples: what is judged, what leaves the shards, what is refused."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pytest

from clipmill.pipeline.output.audit_shortcuts import audit
from clipmill.pipeline.output.decide import Verdicts, decide, read_verdicts
from clipmill.pipeline.output.pack import pack, read_manifest
from clipmill.pipeline.output.pack_settings import PackSettings
from clipmill.pipeline.output.stats import stats
from clipmill.pipeline.output.tables import compact
from clipmill.pipeline.output.verify import verify
from clipmill.pipeline.store.store import Store
from clipmill.schemas.clocks import Span
from clipmill.schemas.errors import AccountingError, Conflict
from clipmill.schemas.records import Author, Video
from clipmill.stages.decision import Decision
from clipmill.stages.filter.filter_samples import FilterSamples
from clipmill.stages.filter.filter_samples import Settings as FilterSettings
from clipmill.stages.filter.filter_scores import FilterScores
from clipmill.stages.filter.filter_scores import Settings as ScoreSettings
from clipmill.stages.sample_decision import SampleDecision, sample_rows
from clipmill.stages.stage import StageSettings
from tests.unit.pipeline.fake_pack import AUTHOR, FakeCutter, library


def sound(most: float, **more: str) -> FilterSamples:
    settings = {"kind": "qa", "profile": {"blind": {"max": most}}, **more}
    return FilterSamples(FilterSettings.model_validate(settings))


def sharp(most: float) -> FilterScores:
    return FilterScores(ScoreSettings.model_validate({"profile": {"blur": {"max": most}}}))


def asked(folder: Path) -> list[Video]:
    """Shot k of five has k questions, the n-th answered blindly n times in ten."""
    videos = library(folder, videos=2)
    for video in videos:
        for place, segment in enumerate(video.segments):
            for number in range(place):
                segment.add_sample(
                    "qa", "What?", f"this {number}", Author("ask"),
                    options=["that", f"this {number}"], evidence=[Span.of_seconds(0, 2)],
                    labels={"blind": f"{number / 10:.3f}", "type": "choice"},
                )  # fmt: skip
            segment.add_sample("note", "?", "!", AUTHOR)
    return videos


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.open(tmp_path / "out")
    compact(made, asked(tmp_path / "in"), "g1")
    return made


def packed(store: Store, verdicts: Verdicts, *, repack: bool = False) -> dict[str, list[str]]:
    """Segment of the first video -> ids of the samples in its clip."""
    pack(store, PackSettings(), verdicts, cutter=FakeCutter(), repack=repack)
    manifest = read_manifest(store)
    found = {}
    for shard in manifest.shards if manifest else ():
        with tarfile.open(fileobj=BytesIO(store.get(f"shards/{shard.name}.tar"))) as tar:
            for member in tar.getmembers():
                file = tar.extractfile(member)
                if member.name.endswith(".json") and file is not None:
                    facts = json.load(file)
                    if facts["video"]["id"].endswith("v0.mp4"):
                        found[facts["segment"]] = [sample["id"] for sample in facts["samples"]]
    return found


def test_a_refused_question_leaves_its_clip_in_the_shards_and_nothing_else(store: Store) -> None:
    verdicts = decide(store, [sound(0.15)], "shots")
    assert verdicts.kept == 10 and verdicts.samples.num_rows == 2 * (10 + 5)
    assert dict(verdicts.sample_reasons) == {("filter_samples", "blind > 0.15"): 2 * 3}
    again = read_verdicts(store)
    assert again is not None and again.samples == verdicts.samples
    assert packed(store, verdicts) == {
        f"shots-0000{k}": [f"qa:ask:{n}" for n in range(min(k, 2))] + ["note:caption_clip:0"]
        for k in range(5)
    }
    found = stats(store)
    assert (found.samples["qa"].count, found.samples["qa"].kept) == (20, 14)
    assert found.samples["qa"].places == {"2 of 2": 14}
    assert found.samples["qa"].labels == {"type": {"choice": 14}}
    assert found.samples["qa"].figures["blind"].high == 0.1
    assert found.samples["qa"].figures["evidence_s"].mean == 2.0
    assert found.dropped_samples == {"filter_samples: blind > 0.15": 6}


def test_what_is_dropped_is_not_audited_and_not_in_the_shards_unnoticed(store: Store) -> None:
    def asked_of_clips() -> int:
        findings = audit(store).findings
        return next(f.asked for f in findings if (f.task, f.guesser) == ("choice", "position"))

    assert asked_of_clips() == 20
    verdicts = decide(store, [sound(0.15)], "shots")
    assert asked_of_clips() == 14
    packed(store, replace(verdicts, samples=verdicts.samples.slice(0, 0)))  # it knows of none
    said = {problem.what for problem in verify(store).problems}
    assert "holds samples that were dropped" in said


def test_a_clip_without_a_sample_left_goes_where_asked(store: Store) -> None:
    verdicts = decide(store, [sound(0.15, others="drop", bare="drop")], "shots")
    assert verdicts.kept == 8  # the first shot of each video has no question
    assert verdicts.reasons == {("filter_samples", "no sample left"): 2}
    assert "shots-00000" not in packed(store, verdicts)


def test_samples_of_a_dropped_clip_are_not_judged(store: Store) -> None:
    verdicts = decide(store, [sharp(0.3), sound(0.05), sound(0.15)], "shots")
    assert set(verdicts.samples["segment"].to_pylist()) == {f"shots-0000{k}" for k in range(3)}
    assert dict(verdicts.sample_reasons) == {("filter_samples", "blind > 0.05"): 2}


def test_a_decision_about_clips_sees_what_one_about_samples_left(store: Store) -> None:
    verdicts = decide(store, [sound(0.15, others="drop", bare="drop"), sharp(0.3)], "shots")
    assert verdicts.reasons == {
        ("filter_samples", "no sample left"): 2, ("filter_scores", "blur > 0.3"): 4,
    }  # fmt: skip


def test_a_pack_is_not_appended_to_when_samples_of_its_clips_changed(store: Store) -> None:
    before = packed(store, decide(store, [sound(0.15)], "shots"))
    other = decide(store, [sound(0.25)], "shots")
    with pytest.raises(Conflict, match="other samples"):
        pack(store, PackSettings(), other, cutter=FakeCutter())
    after = packed(store, other, repack=True)
    assert after["shots-00004"] == ["qa:ask:0", "qa:ask:1", "qa:ask:2", "note:caption_clip:0"]
    assert before["shots-00001"] == after["shots-00001"]


class Careless(SampleDecision[StageSettings]):
    """Answer in the ways that must be refused."""

    how = ""

    def decide(self, samples: pa.Table) -> pa.Table:
        rows = sample_rows(samples, [None] * len(samples))
        if self.how == "lost":
            return rows.slice(1)
        if self.how == "no reason":
            return rows.set_column(3, "keep", pa.array([False] * len(rows)))
        return rows.drop_columns(["sample"])


@pytest.mark.parametrize(
    ("how", "said"), [("lost", "other samples"), ("no reason", "reason"), ("short", "no column")]
)
def test_a_decision_that_loses_samples_or_says_no_reason_is_refused(
    store: Store, how: str, said: str
) -> None:
    careless = Careless(StageSettings())
    careless.how = how
    with pytest.raises(AccountingError, match=said):
        decide(store, [careless], "shots")
    assert isinstance(careless, Decision)
