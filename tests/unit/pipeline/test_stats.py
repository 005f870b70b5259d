from __future__ import annotations

import io
import json
import tarfile
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pytest

from clipmill.pipeline.output.decide import decide
from clipmill.pipeline.output.pack import pack
from clipmill.pipeline.output.pack_settings import PackSettings
from clipmill.pipeline.output.stats import histogram, shard_stats, stats
from clipmill.pipeline.output.tables import compact
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import StoreError
from clipmill.stages.filter.filter_scores import FilterScores
from clipmill.stages.filter.filter_scores import Settings as FilterSettings
from tests.unit.pipeline.fake_pack import FakeCutter, library


def sharp() -> FilterScores:
    settings = {"profile": {"blur": {"max": 0.3}}, "profile_name": "sharp"}
    return FilterScores(FilterSettings.model_validate(settings))


def test_the_funnel_of_a_packed_output_adds_up(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    videos = library(tmp_path / "in")
    for segment in videos[0].segments:
        segment.scores["blur"] = 1.0
    compact(store, videos, "g1")
    pack(store, PackSettings(), decide(store, [sharp()], "shots"), cutter=FakeCutter(bad=(0,)))
    found = stats(store)
    assert found.inputs == {"dropped": 1, "packed": 3}
    assert found.clips == {"kept": 9, "dropped": 11, "packed": 6, "failed": 3}
    assert sum(found.dropped.values()) == 11
    assert found.failed == {"media": 3}
    assert found.clip_hours == {"kept": pytest.approx(18 / 3600, abs=1e-6)} | {
        "dropped": pytest.approx(22 / 3600, abs=1e-6)
    }
    assert found.segments == {"shots": 20}
    assert found.labels == {"camera": {"pan": 20}}
    assert found.languages == {"unknown": 20}
    blur = found.scores["blur"]
    assert (blur.count, blur.low, blur.high, sum(blur.counts)) == (20, 0.0, 1.0, 20)
    assert (found.text_chars["caption"].low, found.seconds.mean) == (14.0, 2.0)
    assert found.shards == 1
    json.dumps(asdict(found), allow_nan=False)


def test_an_output_can_be_counted_before_it_is_decided_or_packed(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    with pytest.raises(StoreError, match="holds no output"):
        stats(store)
    compact(store, library(tmp_path / "in"), "g1")
    assert stats(store).inputs == {"annotated": 4}
    decide(store, [sharp()], "shots")
    assert stats(store).inputs == {"kept": 4}
    assert stats(store).shards == 0


def test_inputs_that_failed_are_counted_with_their_class(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    for name, state in (("a", "failed"), ("b", "quarantined")):
        failure = {"state": state, "kind": "no_video", "stage": "probe_media", "message": "none"}
        store.put(f"units/{name}/failed-video.json", json.dumps(failure).encode())
    found = stats(store)
    assert found.inputs == {"failed": 1, "quarantined": 1}
    assert found.failed == {"no_video": 2}


def test_histograms_set_apart_what_was_not_computed() -> None:
    found = histogram(pa.array([0.0, 1.0, None, float("nan"), float("inf"), 1.0]))
    assert (found.count, found.missing, found.low, found.high) == (3, 3, 0.0, 1.0)
    assert found.counts == [1, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    assert histogram(pa.array([2.0, 2.0])).counts == [2]
    assert histogram(pa.array([], pa.float64())).count == 0


def write(path: Path, *entries: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_shards_of_other_people_are_counted_by_what_they_hold(tmp_path: Path) -> None:
    one = write(
        tmp_path / "0.tar",
        ("a.jpg", b"x" * 10),
        ("a.json", b'{"caption": "hi", "width": 3}'),
        ("b.jpg", b"x" * 30),
        ("b.json", b'{"caption": null}'),
    )
    two = write(tmp_path / "1.tar", ("c.jpg", b"x"), ("a.jpg", b"x"), ("d/e.seg.png", b""))
    found = shard_stats([one, two])
    assert (found.shards, found.samples, found.doubled, found.problems) == (2, 4, 1, [])
    assert found.extensions == {"jpg": 4, "json": 2, "seg.png": 1}
    assert found.samples_by_parts == {"jpg+json": 2, "jpg": 2, "seg.png": 1}
    assert found.json_keys == {"caption: str": 1, "width: int": 1, "caption: NoneType": 1}
    assert found.member_bytes["jpg"].high == 30


def test_hostile_shards_become_problems_and_not_crashes(tmp_path: Path) -> None:
    deep = b"[" * 200_000
    paths = [
        write(tmp_path / "0.tar", ("../up.jpg", b"x"), ("a.json", deep), ("b.json", b"\xff[]")),
        tmp_path / "missing.tar",
        tmp_path / "noise.tar",
        tmp_path / "cut.tar",
    ]
    paths[2].write_bytes(b"noise" * 1000)
    paths[3].write_bytes(write(tmp_path / "x.tar", ("a.jpg", b"x" * 9000)).read_bytes()[:4000])
    found = shard_stats(paths)
    assert len(found.problems) == 4
    assert found.json_keys == {"(not JSON)": 2}
    json.dumps(asdict(found))
