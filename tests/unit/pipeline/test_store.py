from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clipmill.pipeline.store import store as store_module
from clipmill.pipeline.store.store import RESERVE, Store
from clipmill.schemas.errors import NoSpace, StoreError


def keys(store: Store, prefix: str = "") -> list[str]:
    return sorted(item.key for item in store.list(prefix))


def test_put_replaces_and_put_if_absent_does_not(store: Store) -> None:
    store.put("a/one", b"1")
    store.put("a/one", b"22")
    assert not store.put_if_absent("a/one", b"333")
    assert store.put_if_absent("a/two", b"4")
    assert store.get("a/one") == b"22"
    assert store.get("a/two") == b"4"
    assert store.size("a/one") == 2


def test_of_many_writers_of_one_key_exactly_one_wins(store: Store) -> None:
    told: list[tuple[bool, int]] = []
    gate = threading.Barrier(8)

    def race(number: int) -> None:
        gate.wait()
        told.append((store.put_if_absent("lease/1", str(number).encode() * 1000), number))

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [number for won, number in told if won]
    assert len(winners) == 1
    assert store.get("lease/1") == str(winners[0]).encode() * 1000


def test_files_are_put_from_disk_both_ways(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "clip.bin"
    path.write_bytes(os.urandom(6_000_000))
    store.put_file("shards/0.tar", path)
    assert store.put_if_absent("staged/0", path)
    assert not store.put_if_absent("staged/0", path)
    assert store.get("shards/0.tar") == store.get("staged/0") == path.read_bytes()


def test_ranges_are_exact_and_never_short(store: Store) -> None:
    store.put("a", bytes(range(100)))
    assert store.get_range("a", 10, 5) == bytes(range(10, 15))
    assert store.get_range("a", 10, 0) == b""
    with pytest.raises(StoreError):
        store.get_range("a", 90, 20)


def test_listing_goes_by_the_beginning_of_the_key(store: Store) -> None:
    for key in ("units/v/part-1", "units/v/failed-1", "units/vv/part-1", "other"):
        store.put(key, b"x")
    assert keys(store, "units/v/") == ["units/v/failed-1", "units/v/part-1"]
    assert keys(store, "units/v/part") == ["units/v/part-1"]
    assert keys(store) == ["other", "units/v/failed-1", "units/v/part-1", "units/vv/part-1"]
    assert keys(store, "nothing/") == []


def test_a_listing_tells_when_an_object_was_written(store: Store) -> None:
    store.put("a", b"x")
    (item,) = store.list()
    assert abs(item.modified - time.time()) < 60


def test_deleting_what_is_gone_is_no_error(store: Store) -> None:
    store.put("a", b"x")
    store.delete(["a", "b"])
    store.delete("a")
    assert not store.exists("a")
    assert store.find("a") is None
    with pytest.raises(StoreError, match="holds no 'a'"):
        store.get("a")


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../b", "a//b", ".tmp/x", "a/.hidden", "a b", "a\nb", "ü"]
)
def test_keys_that_could_leave_the_folder_or_hide_are_refused(key: str, tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    for call in (store.get, store.exists, store.delete, store.local_path):
        with pytest.raises(StoreError, match="not a key"):
            call(key)
    with pytest.raises(StoreError, match="not a key"):
        store.put(key, b"x")


def test_a_pickled_store_writes_to_the_same_place(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pickle.dumps(store)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    pickle.loads(data).put("a", b"x")
    assert store.get("a") == b"x"


def test_the_secret_key_is_not_shown(s3_store: Store) -> None:
    assert "s3cr3t" not in repr(s3_store) + s3_store.uri


def test_a_bucket_that_is_missing_is_an_error_with_a_cure(s3_environment: str) -> None:
    store = Store.open("s3://nobody-made-this/out")
    with pytest.raises(StoreError, match="AWS_ENDPOINT_URL"):
        list(store.list())
    with pytest.raises(StoreError, match="check the bucket"):
        store.put("a", b"x")


@pytest.mark.parametrize("uri", ["ftp://host/x", "s3://", "s3:///prefix"])
def test_addresses_that_cannot_be_written_are_refused(uri: str) -> None:
    with pytest.raises(StoreError):
        Store.open(uri)


def test_a_file_as_the_output_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("hello")
    with pytest.raises(StoreError, match="is a file"):
        Store.open(tmp_path / "out")


def test_a_nearly_full_disk_is_refused_before_it_is_full(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "not" / "there" / "yet")
    free = store.free_bytes()
    assert free is not None
    store.reserve(0)
    with pytest.raises(NoSpace, match="free space"):
        store.reserve(free - RESERVE // 2)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up_leaves_no_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(tmp_path)
    real = Path.open

    def onto_a_full_disk(path: Path, mode: str = "r", *rest: object) -> object:
        full = Path("/dev/full") if mode == "xb" else path
        return real(full, "wb" if mode == "xb" else mode, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", onto_a_full_disk)
    with pytest.raises(NoSpace):
        store.put_if_absent("a", b"x" * 100_000)
    assert keys(store) == []


WRITER = """
import sys
from pathlib import Path
from clipmill.pipeline.store.store import Store
store, source = Store.open(sys.argv[1]), Path(sys.argv[2])
data = source.read_bytes()
print("ready", flush=True)
for number in range(100_000):
    if number % 2:
        store.put_file("replaced", source)
    else:
        store.put_if_absent(f"made/{number}", data)
    print("written", flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_whole_objects_only(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.write_bytes(b"clip" * 500_000)
    store = Store.open(out)
    moments = random.Random(7)
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(out), str(source)], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        for _ in range(moments.randint(1, 12)):  # then it is somewhere in the next write
            assert child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        assert {item.size for item in store.list()} <= {2_000_000}
    assert len(keys(store)) > 3
    assert all(store.get(key) == source.read_bytes() for key in keys(store))
    left = list((out / ".tmp").iterdir())
    assert store.clean() == len(left)
    assert list((out / ".tmp").iterdir()) == []


def test_cleaning_spares_the_living_and_takes_the_day_old(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    with store.scratch() as folder:
        (folder / "work").write_bytes(b"x")
        old = tmp_path / ".tmp" / "elsewhere.1.abc"
        old.write_bytes(b"x")
        assert store.clean() == 0
        os.utime(old, (0, 0))
        assert store.clean() == 1
        assert (folder / "work").exists()
        assert keys(store) == []
    assert not folder.exists()


def test_scratch_lies_on_the_disk_of_the_store(tmp_path: Path, s3_store: Store) -> None:
    with Store.open(tmp_path / "out").scratch() as folder:
        assert folder.is_relative_to(tmp_path / "out")
    with s3_store.scratch() as folder:
        assert folder.is_dir()


def test_what_another_program_left_in_the_folder_is_not_an_object(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    for name in (".DS_Store", "a b.txt", "part#1"):
        (tmp_path / name).write_text("x")
    assert keys(store) == []


def test_every_write_is_synced_before_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def noting(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object) -> object:
            order.append(name)
            return real(*args)

        return call

    monkeypatch.setattr(store_module.os, "fsync", noting("sync", os.fsync))
    monkeypatch.setattr(store_module.os, "link", noting("name", os.link))
    Store.open(tmp_path).put_if_absent("a", b"x")
    assert order == ["sync", "name"]
