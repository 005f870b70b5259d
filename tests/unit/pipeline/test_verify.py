"""Packing with the real cutter, and what `verify` says of whole and of spoilt outputs."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import wave
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from clipmill.pipeline.output.decide import decide
from clipmill.pipeline.output.pack import FAILURES, MANIFEST, pack, read_manifest
from clipmill.pipeline.output.pack_settings import PackSettings
from clipmill.pipeline.output.tables import compact, to_parquet
from clipmill.pipeline.output.verify import Report, verify
from clipmill.pipeline.store.store import Store
from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Author, Video
from clipmill.stages.clip.cut_clip import Settings as CutSettings
from clipmill.stages.media.probe import probe
from clipmill.stages.media.source import content
from tests.rendered import beeps_in, number_of, render

SETTINGS = PackSettings(max_clips=2, wav=True, thumbnail=True, cut=CutSettings(preset="ultrafast"))


def film(folder: Path, number: int) -> Video:
    path = folder / f"film-{number}.mp4"
    truth = render(path, [20, 15, 25], beeps=[0.9])
    video = Video(path.name, str(path), content(str(path)), probe=probe(path))
    assert video.probe is not None
    clock = video.probe.picture.clock
    edges = [truth.ticks[0], *truth.cut_ticks, truth.end]
    spans = [Span(clock, a, b) for a, b in pairwise(edges)]
    video.add_segments("shots", spans)
    for place, segment in enumerate(video.segments):
        segment.add_text("caption", f"scene {place}", Author("caption_clip"))
        segment.scores["blur"] = place / 2
    return video


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real output of two films with three scenes each; copy it before spoiling it."""
    folder = tmp_path_factory.mktemp("verify")
    store = Store.open(folder / "out")
    compact(store, [film(folder, number) for number in range(2)], "g1")
    pack(store, SETTINGS, decide(store, [], "shots"))
    return folder / "out"


@pytest.fixture
def output(packed: Path, tmp_path: Path) -> Store:
    shutil.copytree(packed, tmp_path / "out")
    return Store.open(tmp_path / "out")


def problems(report: Report) -> str:
    return "\n".join(f"{p.key}: {p.what} -> {p.cure}" for p in report.problems)


def test_a_fresh_pack_is_in_order(output: Store) -> None:
    report = verify(output)
    assert problems(report) == ""
    assert (report.shards, report.clips, report.frames) == (3, 6, 120)
    assert (report.kept, report.failed) == (6, 0)


def test_clips_hold_exactly_their_scene_with_picture_and_sound(
    output: Store, tmp_path: Path
) -> None:
    import cv2

    manifest = read_manifest(output)
    assert manifest is not None
    first = {"shots-00000": 0, "shots-00001": 20, "shots-00002": 35}
    length = {"shots-00000": 20, "shots-00001": 15, "shots-00002": 25}
    for shard in manifest.shards:
        for row in pq.read_table(
            io.BytesIO(output.get(f"shards/{shard.name}.parquet"))
        ).to_pylist():

            def member(extension: str, row: dict = row, name: str = shard.name) -> bytes:  # type: ignore[type-arg]
                at, size = row[f"{extension}_offset"], row[f"{extension}_size"]
                return output.get_range(f"shards/{name}.tar", at, size)

            scene = row["segment"]
            path = tmp_path / "clip.mp4"
            path.write_bytes(member("mp4"))
            video = cv2.VideoCapture(str(path))
            numbers = []
            while (read := video.read())[0]:
                numbers.append(number_of(read[1]))
            assert numbers == list(range(first[scene], first[scene] + length[scene]))
            still = cv2.imdecode(np.frombuffer(member("jpg"), np.uint8), cv2.IMREAD_COLOR)
            assert abs(number_of(still) - (first[scene] + length[scene] // 2)) <= 1
            with wave.open(io.BytesIO(member("wav"))) as sound:
                assert sound.getframerate() == 16_000
                samples = np.frombuffer(sound.readframes(10**6), np.int16)
            assert len(samples) == length[scene] / 25 * 16_000
            heard = beeps_in(samples, 16_000)
            expected = [0.9 - 20 / 25] if scene == "shots-00001" else []
            assert heard == pytest.approx(expected, abs=0.03)


def shard_path(store: Store, suffix: str = "tar") -> Path:
    path = store.local_path(f"shards/clips-000000.{suffix}")
    assert path is not None
    return path


def flip_a_byte(store: Store) -> None:
    path = shard_path(store)
    data = bytearray(path.read_bytes())
    row = pq.read_table(shard_path(store, "parquet")).to_pylist()[0]
    data[row["mp4_offset"] + row["mp4_size"] // 2] ^= 255
    path.write_bytes(data)


def cut_the_shard_off(store: Store) -> None:
    path = shard_path(store)
    path.write_bytes(path.read_bytes()[:5000])


def lose_a_shard(store: Store) -> None:
    shard_path(store).unlink()


def lose_an_index(store: Store) -> None:
    shard_path(store, "parquet").unlink()


def leave_a_stranger(store: Store) -> None:
    store.put("shards/clips-000009.tar", b"x")


def smuggle_a_link(store: Store) -> None:
    with tarfile.open(shard_path(store), "a") as tar:
        info = tarfile.TarInfo("../../evil.mp4")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)


def double_a_clip(store: Store) -> None:
    manifest = json.loads(store.get(MANIFEST))
    again = dict(manifest["shards"][0], name="clips-000003")
    manifest["shards"].append(again)
    store.put(MANIFEST, json.dumps(manifest).encode())
    for suffix in ("tar", "parquet"):
        store.put_file(f"shards/clips-000003.{suffix}", shard_path(store, suffix))


def lie_about_frames(store: Store) -> None:
    path = shard_path(store)
    data = path.read_bytes()
    row = pq.read_table(shard_path(store, "parquet")).to_pylist()[0]
    old, new = (f'"frames": {n}'.encode() for n in (row["frames"], row["frames"] + 1))
    at = data.index(old, row["json_offset"])
    path.write_bytes(data[:at] + new + data[at + len(old) :])
    table = pq.read_table(shard_path(store, "parquet"))
    place = table.column_names.index("frames")
    frames = [row["frames"] + 1, *table["frames"].to_pylist()[1:]]
    shard_path(store, "parquet").write_bytes(
        to_parquet(table.set_column(place, table.schema.field("frames"), [frames]))
    )


def spoil_the_index(store: Store) -> None:
    shard_path(store, "parquet").write_bytes(b"PAR1 nothing PAR1")


def drop_a_segment_from_the_tables(store: Store) -> None:
    path = next(iter(store.list("tables/segments/"))).key
    table = pq.read_table(io.BytesIO(store.get(path)))
    store.put(path, to_parquet(table.slice(1)))


def decide_again(store: Store) -> None:
    decide(store, [], "windows")


def compact_again(store: Store) -> None:
    compact(store, [], "g2")


def spoil_the_decisions(store: Store) -> None:
    store.put("decisions/current.json", b"{}")


def forge_a_failure(store: Store) -> None:
    rows = pq.read_table(io.BytesIO(store.get(FAILURES)))
    forged = rows.from_pylist(
        [{"video": "film-0.mp4", "segment": "shots-00000", "kind": "media", "message": "no"}],
        schema=rows.schema,
    )
    store.put(FAILURES, to_parquet(forged))


def name_a_shard_outside(store: Store) -> None:
    store.put(MANIFEST, store.get(MANIFEST).replace(b"clips-000000", b"../../secret"))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (flip_a_byte, "sha256 differs"),
        (cut_the_shard_off, "not a whole tar"),
        (lose_a_shard, "is kept, and neither packed nor counted"),
        (lose_an_index, "is missing"),
        (leave_a_stranger, "belongs to no pack"),
        (smuggle_a_link, "link or device"),
        (double_a_clip, "is packed 2 times"),
        (lie_about_frames, "its .json says"),
        (spoil_the_index, "cannot be read"),
        (drop_a_segment_from_the_tables, "is in the decisions only"),
        (decide_again, "made anew since the pack"),
        (compact_again, "were made for other tables"),
        (spoil_the_decisions, "names no outcome"),
        (forge_a_failure, "is packed, and counted as failed"),
        (name_a_shard_outside, "not a key of the store"),
    ],
)
def test_what_is_wrong_is_named(output: Store, spoil: Callable[[Store], None], said: str) -> None:
    spoil(output)
    report = verify(output)
    assert not report.ok
    assert said in problems(report)
    assert all(problem.cure for problem in report.problems)


def test_an_output_without_a_pack_is_not_in_order(tmp_path: Path) -> None:
    report = verify(Store.open(tmp_path / "nothing"))
    assert "no finished pack" in problems(report)
