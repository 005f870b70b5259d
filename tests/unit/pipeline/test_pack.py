from __future__ import annotations

import io
import json
import random
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset

from clipmill.pipeline.output.decide import Verdicts
from clipmill.pipeline.output.pack import FAILURES, MANIFEST, pack, read_manifest
from clipmill.pipeline.output.pack_clips import CHUNK_SECONDS, StagedClip, clip_jobs, finite
from clipmill.pipeline.output.pack_settings import PackSettings
from clipmill.pipeline.output.shards import TAR_END, plan_shards
from clipmill.pipeline.output.verify import verify
from clipmill.pipeline.store.store import Store
from clipmill.schemas.clocks import Span
from clipmill.schemas.errors import AccountingError, Conflict
from clipmill.schemas.records import Video
from clipmill.schemas.shards import clip_key, video_key
from tests.unit.pipeline.fake_pack import CLOCK, FakeCutter, library, prepared

SETTINGS = PackSettings(max_clips=6, embedding="clip")
T = TypeVar("T")
R = TypeVar("R")


def shards(store: Store) -> dict[str, bytes]:
    return {
        item.key: store.get(item.key)
        for item in store.list("shards/")
        if item.key.endswith((".tar", ".parquet"))
    }


def backwards(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """An engine that finishes in another order than it was given."""
    return iter([function(item) for item in reversed(list(items))])


def index(store: Store) -> list[dict[str, Any]]:
    keys = sorted(k for k in shards(store) if k.endswith(".parquet") and k != FAILURES)
    rows: list[dict[str, Any]] = []
    for key in keys:
        table = pq.read_table(io.BytesIO(store.get(key)))
        rows.extend({**row, "shard": key.replace(".parquet", ".tar")} for row in table.to_pylist())
    return rows


def test_every_kept_clip_is_packed_once_and_a_trainer_can_read_it(
    store: Store, tmp_path: Path
) -> None:
    manifest = pack(store, SETTINGS, prepared(store, library(tmp_path / "in")), cutter=FakeCutter())
    assert manifest.clips == 20
    assert [shard.clips for shard in manifest.shards] == [6, 6, 6, 2]
    assert read_manifest(store) == manifest
    seen = []
    for shard in manifest.shards:
        path = tmp_path / f"{shard.name}.tar"
        path.write_bytes(store.get(f"shards/{shard.name}.tar"))
        data = webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False)
        for sample in data:
            seen.append(sample["__key__"])
            facts = json.loads(sample["json"])
            assert facts["key"] == sample["__key__"]
            assert facts["video"]["licence"] == "CC0"
            assert sample["txt"].decode() == facts["texts"][0]["text"]
            vector = np.load(io.BytesIO(sample["npy"]), allow_pickle=False)
            assert vector.dtype == np.float32
            assert vector[0] == 0.5
    assert sorted(seen) == sorted(
        clip_key(video.id, segment.id)
        for video in library(tmp_path / "in")
        for segment in video.segments
    )
    assert list(store.list("staging/")) == []


def test_the_index_points_at_every_member(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    pack(store, SETTINGS, prepared(store, library(tmp_path / "in")), cutter=FakeCutter())
    rows = index(store)
    assert len(rows) == 20
    for row in rows:
        facts = json.loads(store.get_range(row["shard"], row["json_offset"], row["json_size"]))
        assert facts["key"] == row["key"]
        assert (row["score_blur"], row["label_camera"]) == (facts["scores"]["blur"], "pan")
        assert (row["start_s"], row["end_s"]) == (facts["span"]["start_s"], facts["span"]["end_s"])
        text = store.get_range(row["shard"], row["txt_offset"], row["txt_size"])
        assert text.startswith(b"caption")


def test_the_same_input_gives_the_same_bytes_whatever_finishes_first(tmp_path: Path) -> None:
    videos = library(tmp_path / "in")
    one, two, three = (Store.open(tmp_path / name) for name in ("one", "two", "three"))
    pack(one, SETTINGS, prepared(one, videos), cutter=FakeCutter())
    pack(two, SETTINGS, prepared(two, videos), cutter=FakeCutter(), run_all=backwards)
    assert shards(one) == shards(two)
    assert one.get(MANIFEST) == two.get(MANIFEST)
    other = SETTINGS.model_copy(update={"seed": 1})
    pack(three, other, prepared(three, videos), cutter=FakeCutter())
    assert shards(one) != shards(three)


def test_members_carry_no_time_and_no_name_of_the_machine(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    pack(store, SETTINGS, prepared(store, library(tmp_path / "in")), cutter=FakeCutter())
    data = store.get("shards/clips-000000.tar")
    assert str(tmp_path).encode() not in data
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
    assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in members} == {
        (0, 0, 0, "clipmill", 0o444)
    }
    first = [m.name.partition(".")[2] for m in members[:4]]
    assert first == ["json", "mp4", "npy", "txt"]


def test_a_clip_that_cannot_be_cut_is_counted_and_takes_no_other_along(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    cutter = FakeCutter(bad=(50,), crashes=(150,))
    manifest = pack(store, SETTINGS, prepared(store, library(tmp_path / "in")), cutter=cutter)
    assert manifest.clips == 12
    assert manifest.failed == {"decoder_lost": 4, "media": 4}
    rows = pq.read_table(io.BytesIO(store.get(FAILURES))).to_pylist()
    assert {row["segment"] for row in rows} == {"shots-00001", "shots-00003"}
    assert all(row["message"] for row in rows)


def test_a_source_that_always_crashes_is_given_up_after_two_clips(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    log = tmp_path / "log"
    cutter = FakeCutter(crashes=tuple(range(0, 1000, 50)), log=log)
    verdicts = prepared(store, library(tmp_path / "in", videos=1, shots=20))
    manifest = pack(store, SETTINGS, verdicts, cutter=cutter)
    assert manifest.failed == {"decoder_lost": 20}
    assert len(log.read_text().split()) == 3


def test_a_source_that_is_gone_or_changed_fails_its_clips_only(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    verdicts = prepared(store, library(tmp_path / "in"))
    (tmp_path / "in" / "v0.mp4").unlink()
    (tmp_path / "in" / "v1.mp4").write_bytes(b"quite another film")
    manifest = pack(store, SETTINGS, verdicts, cutter=FakeCutter())
    assert (manifest.clips, manifest.failed) == (10, {"changed": 5, "unreadable": 5})


def test_another_pack_is_refused_and_repack_replaces_it(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    verdicts = prepared(store, library(tmp_path / "in"))
    first = pack(store, SETTINGS, verdicts, cutter=FakeCutter())
    log = tmp_path / "log"
    assert pack(store, SETTINGS, verdicts, cutter=FakeCutter(log=log)) == first
    assert not log.exists()
    bigger = SETTINGS.model_copy(update={"max_clips": 100, "name": "all"})
    with pytest.raises(Conflict, match="--repack"):
        pack(store, bigger, verdicts, cutter=FakeCutter())
    second = pack(store, bigger, verdicts, cutter=FakeCutter(), repack=True)
    assert [shard.name for shard in second.shards] == ["all-000000"]
    assert set(shards(store)) == {"shards/all-000000.tar", "shards/all-000000.parquet", FAILURES}


def test_new_clips_are_appended_and_what_stands_is_not_touched(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    videos = library(tmp_path / "in", videos=6)
    cutter = FakeCutter(bad=(100,))
    pack(store, SETTINGS, prepared(store, videos[:3]), cutter=cutter)
    before = shards(store)
    log = tmp_path / "log"
    cutter = FakeCutter(bad=(100,), log=log)
    manifest = pack(store, SETTINGS, prepared(store, videos), cutter=cutter)
    after = shards(store)
    assert {key: after[key] for key in before if key != FAILURES} == {
        key: data for key, data in before.items() if key != FAILURES
    }
    assert [shard.name[-1] for shard in manifest.shards] == ["0", "1", "2", "3"]
    assert (manifest.clips, manifest.failed) == (24, {"media": 6})
    assert not any(video_key(v.id) in log.read_text() for v in videos[:3])
    assert len({row["key"] for row in index(store)}) == 24


def test_dropping_a_packed_clip_needs_a_repack(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    videos = library(tmp_path / "in")
    pack(store, SETTINGS, prepared(store, videos), cutter=FakeCutter())
    before = shards(store)
    fewer = prepared(store, videos[1:])
    with pytest.raises(Conflict, match="5 packed clips that are no longer kept"):
        pack(store, SETTINGS, fewer, cutter=FakeCutter())
    assert shards(store) == before
    assert pack(store, SETTINGS, fewer, cutter=FakeCutter(), repack=True).clips == 15


class Killed(BaseException):
    """What no handler catches."""


@pytest.mark.parametrize("standing", [0, 1], ids=["new", "appended"])
def test_a_pack_killed_at_any_write_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, standing: int
) -> None:
    videos = library(tmp_path / "in", videos=2 + standing)
    cutter = FakeCutter(bad=(100,))

    def begun(name: str) -> tuple[Store, Verdicts]:
        store = Store.open(tmp_path / name)
        if standing:
            pack(store, SETTINGS, prepared(store, videos[:standing]), cutter=cutter)
        return store, prepared(store, videos)

    clean, verdicts = begun("clean")
    pack(clean, SETTINGS, verdicts, cutter=cutter)
    real_write, real_delete = Store._write, Store.delete
    countdown = [0]

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Store, *args: Any, **kwargs: Any) -> Any:
            countdown[0] -= 1
            if countdown[0] == 0:
                raise Killed
            result = real(self, *args, **kwargs)
            if countdown[0] == -1:
                raise Killed
            return result

        return call

    kills = 0
    for moment in range(1, 60):
        store, verdicts = begun(f"killed-{moment}")
        with monkeypatch.context() as patch:
            patch.setattr(Store, "_write", dying(real_write))
            patch.setattr(Store, "delete", dying(real_delete))
            countdown[0] = moment
            try:
                pack(store, SETTINGS, verdicts, cutter=cutter)
                break
            except Killed:
                kills += 1
        packed = read_manifest(store)
        if standing:
            assert packed is not None
        elif packed is not None:
            assert shards(store) == shards(clean)
        pack(store, SETTINGS, verdicts, cutter=cutter)
        assert shards(store) == shards(clean)
        assert store.get(MANIFEST) == clean.get(MANIFEST)
        assert list(store.list("staging/")) == []
    assert kills > 10


PACKER = """
import sys
from pathlib import Path
from clipmill.pipeline.output.decide import read_verdicts
from clipmill.pipeline.output.decide import Verdicts
from clipmill.pipeline.output.pack import pack
from clipmill.pipeline.output.pack_settings import PackSettings
from clipmill.pipeline.store.store import Store
from tests.unit.pipeline.fake_pack import FakeCutter
store = Store.open(sys.argv[1])
verdicts = read_verdicts(store)
def telling(function, items):
    for item in items:
        print("next", flush=True)
        yield function(item)
settings = PackSettings(max_clips=6, embedding="clip")
pack(store, settings, verdicts, cutter=FakeCutter(), run_all=telling)
"""


def test_a_pack_killed_by_the_system_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    videos = library(tmp_path / "in", videos=12)
    clean, store = Store.open(tmp_path / "clean"), Store.open(tmp_path / "killed")
    pack(clean, SETTINGS, prepared(clean, videos), cutter=FakeCutter())
    verdicts = prepared(store, videos)
    moments = random.Random(3)
    root = str(Path(__file__).parents[3])
    for _ in range(2):
        child = subprocess.Popen(
            [sys.executable, "-c", PACKER, str(tmp_path / "killed")],
            cwd=root,
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        for _ in range(moments.randint(2, 9)):
            assert child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    store.clean()
    pack(store, SETTINGS, verdicts, cutter=FakeCutter())
    assert shards(store) == shards(clean)


def test_work_staged_before_a_kill_is_not_done_again(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    verdicts = prepared(store, library(tmp_path / "in"))

    def two_then_dead(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        for count, item in enumerate(items):
            if count == 2:
                raise Killed
            yield function(item)

    with pytest.raises(Killed):
        pack(store, SETTINGS, verdicts, cutter=FakeCutter(), run_all=two_then_dead)
    log = tmp_path / "log"
    pack(store, SETTINGS, verdicts, cutter=FakeCutter(log=log))
    assert len(log.read_text().split()) == 10


def test_a_clip_without_any_wanted_text_is_packed_and_counted(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    videos = library(tmp_path / "in", videos=1)
    videos[0].segments[0].texts[0].role = "ocr"
    videos[0].segments[1].texts[0].text = "  "
    manifest = pack(store, SETTINGS, prepared(store, videos), cutter=FakeCutter())
    assert (manifest.clips, manifest.without_text) == (5, 2)
    assert sorted(row["text_role"] or "-" for row in index(store)) == ["-", "-"] + ["caption"] * 3


def test_the_newest_text_of_the_best_role_is_trained_on(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    videos = library(tmp_path / "in", videos=1, shots=1)
    segment = videos[0].segments[0]
    segment.add_text("caption", "a better caption", segment.texts[0].author)
    segment.add_text("rewrite", "rewritten", segment.texts[0].author)
    settings = PackSettings(text=["title", "caption", "rewrite"])
    pack(store, settings, prepared(store, videos), cutter=FakeCutter())
    (row,) = index(store)
    text = store.get_range(row["shard"], row["txt_offset"], row["txt_size"])
    assert text == b"a better caption"


def test_ids_that_differ_only_in_punctuation_are_refused(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    videos = library(tmp_path / "in", videos=1, shots=2)
    videos[0].segments[0].id, videos[0].segments[1].id = "a.b", "a:b"
    with pytest.raises(AccountingError, match="share a key"):
        pack(store, SETTINGS, prepared(store, videos), cutter=FakeCutter())
    assert read_manifest(store) is None


def test_nothing_kept_is_an_empty_pack_and_not_an_error(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    manifest = pack(store, SETTINGS, prepared(store, []), cutter=FakeCutter())
    assert (manifest.clips, manifest.shards) == (0, [])


def test_scores_that_are_no_numbers_become_null_in_json() -> None:
    assert finite({"a": [float("nan"), 1.0], "b": float("inf")}) == {"a": [None, 1.0], "b": None}


def test_jobs_are_small_in_number_and_in_length() -> None:
    video = Video("a", "a.mp4")
    lengths = [1] * 100 + [int(CHUNK_SECONDS)] * 3
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    video.add_segments(
        "shots", [Span(CLOCK, s * 25, (s + n) * 25) for s, n in zip(starts, lengths, strict=True)]
    )
    kept = {segment.id for segment in video.segments} - {"shots-00003"}
    jobs = list(clip_jobs(video, kept, PackSettings()))
    assert [number for number, _ in jobs] == list(range(len(jobs)))
    assert [len(part.segments) for _, part in jobs] == [64, 35, 1, 1, 1]
    assert [s.id for _, part in jobs for s in part.segments] == sorted(kept)


def test_shards_keep_within_count_and_bytes_and_hold_every_clip_once() -> None:
    sizes = random.Random(0)
    clips = [StagedClip(f"k{i}", "s", 0, 1, sizes.randrange(512, 90_000, 512)) for i in range(500)]
    plan = list(plan_shards(clips, 5, 40, 1_000_000))
    assert sorted(c.key for shard in plan for c in shard) == sorted(c.key for c in clips)
    assert all(len(shard) <= 40 for shard in plan)
    assert all(sum(c.tar_bytes for c in shard) + TAR_END <= 1_000_000 for shard in plan)
    assert plan == list(plan_shards(clips[::-1], 5, 40, 1_000_000))
    assert plan != list(plan_shards(clips, 6, 40, 1_000_000))


def test_planned_bytes_are_the_bytes_of_the_tar(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    videos = library(tmp_path / "in", videos=1, shots=3)
    videos[0].segments[0].id = "shots-" + "x" * 150  # a name that needs an extended header
    verdicts = prepared(store, videos)
    seen: list[int] = []

    def spying(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        for item in items:
            seen.extend(clip.tar_bytes for clip in getattr(item, "clips", ()))
            yield function(item)

    manifest = pack(store, SETTINGS, verdicts, cutter=FakeCutter(), run_all=spying)
    used = sum(seen)
    assert used < manifest.shards[0].size <= used + TAR_END


def test_a_clip_larger_than_a_shard_gets_its_own() -> None:
    clips = [StagedClip(f"k{i}", "s", 0, 1, size) for i, size in enumerate((9000, 10**6, 9000))]
    assert sorted(len(s) for s in plan_shards(clips, 0, 10, 50_000)) in ([1, 2], [1, 1, 1])


def test_without_media_a_clip_is_its_annotations_and_no_file_is_opened(
    store: Store, tmp_path: Path
) -> None:
    videos = library(tmp_path / "in")
    kept = prepared(store, videos)
    for video in videos:
        Path(video.source).unlink()
    cut = tmp_path / "cut.log"
    bare = SETTINGS.model_copy(update={"media": False})
    manifest = pack(store, bare, kept, cutter=FakeCutter(log=cut))
    assert manifest.clips == 20 and not manifest.failed and not cut.exists()
    rows = index(store)
    assert {(row["mode"], row["sha256"], row["frames"]) for row in rows} == {("none", None, None)}
    shard = tmp_path / "shard.tar"
    shard.write_bytes(store.get(f"shards/{manifest.shards[0].name}.tar"))
    data = webdataset.WebDataset(str(shard), shardshuffle=False, empty_check=False)
    for sample in data:
        assert {"json", "txt", "npy"} <= set(sample) and "mp4" not in sample
        facts = json.loads(sample["json"])
        assert facts["media"]["seconds"] == facts["span"]["end_s"] - facts["span"]["start_s"]
    report = verify(store)
    assert report.ok and report.clips == 20, report.problems


def test_pictures_and_sound_are_not_promised_without_media() -> None:
    with pytest.raises(ValueError, match="made from media"):
        PackSettings(media=False, thumbnail=True)
