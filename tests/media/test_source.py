"""Remote media is downloaded once, known by its content, and shared by all processes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pytest

from clipmill.schemas.errors import Unreadable
from clipmill.stages.media import source
from clipmill.stages.media.source import content, local, unchanged_since


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLIPMILL_SCRATCH", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


def put(name: str, data: bytes) -> str:
    with fsspec.open(f"memory://{name}", "wb") as file:
        file.write(data)
    return f"memory://{name}"


def cached(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix != ".lock"]


def test_a_local_path_is_used_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a b%20c.mp4"
    path.write_bytes(b"x")
    with local(str(path)) as found:
        assert found == path
    with local(f"file://{tmp_path}/a%20b%2520c.mp4") as found:
        assert found == path


def test_a_remote_file_is_downloaded_once(scratch: Path) -> None:
    uri = put("bucket/film.mp4", b"12345")
    with local(uri) as first, local(uri) as second:
        assert first == second
        assert first.read_bytes() == b"12345"
        assert first.suffix == ".mp4"
    assert len(cached(scratch)) == 1


def test_a_changed_remote_file_is_downloaded_anew() -> None:
    uri = put("bucket/changing.mp4", b"old")
    with local(uri) as path:
        assert path.read_bytes() == b"old"
    put("bucket/changing.mp4", b"newer")
    with local(uri) as path:
        assert path.read_bytes() == b"newer"


def test_a_full_cache_drops_what_nobody_reads(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPMILL_SCRATCH_GB", "0.0000015")  # 1500 bytes
    held, free, new = (put(f"bucket/{name}.mp4", name[0].encode() * 600) for name in "hfn")
    with local(held) as kept:
        with local(free) as dropped:
            pass
        with local(new) as path:
            assert path.exists()
            assert kept.exists()
            assert not dropped.exists()


def test_a_missing_file_is_unreadable_and_named() -> None:
    for uri in ("/no/such/file.mp4", "memory://no/such.mp4"):
        with pytest.raises(Unreadable) as caught, local(uri):
            pass
        assert caught.value.input == uri
        with pytest.raises(Unreadable):
            content(uri)


def test_equal_bytes_have_equal_content_wherever_they_lie(tmp_path: Path) -> None:
    data = bytes(range(256)) * 100
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    assert content(str(path)) == content(put("bucket/b.mp4", data))
    assert content(put("bucket/c.mp4", data[:-1] + b"!")) != content(str(path))


def test_a_large_file_is_known_by_size_and_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "FULL_DIGEST", 1000)
    monkeypatch.setattr(source, "WINDOW", 10)
    path = tmp_path / "large.mp4"
    data = bytearray(10_000)
    path.write_bytes(data)
    before = content(str(path))
    for position in (0, 9_999):
        data[position] = 1
        path.write_bytes(data)
        assert content(str(path)) != before
        data[position] = 0
    path.write_bytes(data + b"\0")
    assert content(str(path)) != before


def test_a_date_tells_that_nothing_changed_since(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x")
    uri = put("bucket/dated.mp4", b"x")
    now = datetime.now(UTC)
    for address in (str(path), uri):
        assert unchanged_since(address, now + timedelta(hours=1))
        assert not unchanged_since(address, now - timedelta(hours=1))
