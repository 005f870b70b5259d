"""Where media comes from: a path to read, and a digest to know it again.

Decoders get local files only: FFmpeg's own network code would widen what a hostile file can reach,
and seeking over a network is slow. A remote input is therefore downloaded once to a scratch cache
that all processes of a machine share, under the name of what it is (address, size, version tag),
held by a lock while it is read, and dropped oldest first when the cache is full.

The digest reads every byte up to 64 MiB. Beyond that it reads 64 windows of 1 MiB, evenly spread
from the first byte to the last, and the size: a terabyte of inputs is checked in minutes, and the
price is that a change inside a large file that moves nothing and misses all windows goes unseen.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from clipmill.schemas.errors import InputError, MediaError, NoSpace, Unreadable
from clipmill.schemas.records import Content

REMOTE = frozenset({"s3", "gs", "gcs", "az", "abfs", "http", "https", "memory"})
"""Protocols an input may name; chained or local trick protocols are refused."""

FULL_DIGEST = 64 << 20
WINDOWS, WINDOW = 64, 1 << 20

_SPARE = 1 << 30  # bytes of disk that a download leaves free


def scratch() -> Path:
    """The cache folder: `CLIPMILL_SCRATCH`, or one per user among the temporary files."""
    named = os.environ.get("CLIPMILL_SCRATCH")
    folder = Path(named) if named else Path(tempfile.gettempdir()) / f"clipmill-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def local_path(uri: str) -> Path | None:
    """The path an address stands for, or None where it is remote."""
    scheme, separator, _ = uri.partition("://")
    if not separator or "/" in scheme:
        return Path(uri)
    if scheme == "file":
        return Path(unquote(urlsplit(uri).path))
    if scheme not in REMOTE:
        raise InputError(
            f"{scheme}:// is not a kind of address that media is read from",
            cure=f"use a path or one of {', '.join(sorted(REMOTE))}",
            input=uri,
        )
    return None


@contextmanager
def local(uri: str) -> Iterator[Path]:
    """A local file with an input's bytes, valid inside the `with`.

    Raises `Unreadable` where there is no such file, `NoSpace` where the disk cannot hold it. Media
    errors raised inside the `with` name the address instead of the file's place in the cache.
    """
    try:
        path = local_path(uri)
        if path is None:
            with _cached(uri) as path:
                yield path
            return
        if not path.is_file():
            raise Unreadable("there is no such file", cure="check the list of inputs", input=uri)
        yield path
    except MediaError as error:
        error.input = uri
        raise


@contextmanager
def _cached(uri: str) -> Iterator[Path]:
    filesystem, name = _remote(uri)
    facts = _facts(filesystem, name, uri)
    version = facts.get("ETag") or facts.get("etag") or facts.get("LastModified")
    version = version or facts.get("last_modified") or facts.get("created")
    key = hashlib.blake2b(
        repr((uri, facts.get("size"), str(version))).encode(), digest_size=16
    ).hexdigest()
    suffix = Path(name).suffix
    target = scratch() / (key + (suffix if re.fullmatch(r"\.\w{1,8}", suffix) else ""))
    with (scratch() / f"{key}.lock").open("w") as lock:
        # Readers share the lock while they read, so the cleaner, who wants it alone, waits for
        # none of them and drops nothing that is read. Only a missing file is worth excluding all.
        fcntl.flock(lock, fcntl.LOCK_SH)
        while not target.exists():
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.exists():
                _download(filesystem, name, target, int(facts.get("size") or 0))
            fcntl.flock(lock, fcntl.LOCK_SH)
        os.utime(target)
        yield target


def content(uri: str) -> Content:
    """Size and digest of an input, to be compared with what it was when last read."""
    path = local_path(uri)
    if path is not None:
        if not path.is_file():
            raise Unreadable("there is no such file", cure="check the list of inputs", input=uri)
        facts = path.stat()
        return _digest_at(path, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    filesystem, name = _remote(uri)
    size = int(_facts(filesystem, name, uri).get("size") or 0)
    with filesystem.open(name, "rb", block_size=WINDOW, cache_type="readahead") as file:
        return _digest(file, size)


def unchanged_since(uri: str, moment: datetime) -> bool:
    """Whether an input's own date says that it was last changed before `moment`.

    False where it has no date; then only the digest can tell.
    """
    path = local_path(uri)
    if path is not None:
        # The change time too: a file moved into place keeps the modification time it had.
        facts = path.stat() if path.is_file() else None
        return facts is not None and max(facts.st_mtime, facts.st_ctime) < moment.timestamp()
    filesystem, name = _remote(uri)
    try:
        changed: datetime = filesystem.modified(name)
    except (NotImplementedError, FileNotFoundError):
        return False
    return (changed if changed.tzinfo else changed.replace(tzinfo=UTC)) < moment


@lru_cache(maxsize=16)
def _digest_at(path: Path, size: int, modified: int, changed: int) -> Content:
    # Inputs may share a file: all videos of a data set whose media is not there.
    with path.open("rb") as file:
        return _digest(file, size)


def _digest(file: Any, size: int) -> Content:
    if size <= FULL_DIGEST:
        digest = hashlib.blake2b(digest_size=32)
        while chunk := file.read(WINDOW):
            digest.update(chunk)
    else:
        digest = hashlib.blake2b(size.to_bytes(8, "little"), digest_size=32, person=b"sampled")
        for number in range(WINDOWS):
            file.seek(number * (size - WINDOW) // (WINDOWS - 1))
            digest.update(file.read(WINDOW))
    return Content(size, digest.hexdigest())


def _remote(uri: str) -> tuple[Any, str]:
    import fsspec  # imported late: local inputs never need it

    filesystem, name = fsspec.core.url_to_fs(uri)
    return filesystem, name


def _facts(filesystem: Any, name: str, uri: str) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = filesystem.info(name)
    except FileNotFoundError as error:
        raise Unreadable(
            "there is no such object", cure="check the list of inputs", input=uri
        ) from error
    return facts


def _download(filesystem: Any, name: str, target: Path, size: int) -> None:
    make_room(size)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        filesystem.get_file(name, str(partial))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def make_room(size: int) -> None:
    """Drop unused files of the cache, least recently used first, until `size` bytes fit under its
    cap. Raises `NoSpace` where the disk cannot hold them."""
    folder = scratch()
    cap = float(os.environ.get("CLIPMILL_SCRATCH_GB", "50")) * 1e9
    held = []
    for file in folder.iterdir():
        with suppress(FileNotFoundError):
            if file.suffix not in (".lock", ".partial"):
                held.append((file.stat().st_mtime, file.stat().st_size, file))
    total = sum(length for _, length, _ in held)
    for _, length, file in sorted(held, key=lambda item: item[0]):
        enough = total + size <= cap and shutil.disk_usage(folder).free > size + _SPARE
        if enough:
            break
        if _drop(file):
            total -= length
    if shutil.disk_usage(folder).free < size + _SPARE:
        raise NoSpace(
            f"{folder} cannot hold another {size / 1e9:.1f} GB",
            cure="free the disk, or set CLIPMILL_SCRATCH to a larger one",
        )


def _drop(file: Path) -> bool:
    with (file.parent / f"{file.name.split('.')[0]}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False  # somebody reads it
        file.unlink(missing_ok=True)
        return True
