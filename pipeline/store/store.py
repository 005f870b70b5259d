"""The output store: one interface over a local folder and S3, with an atomic put-if-absent.

Reading, listing and deleting go through obstore. On S3 so does writing: a conditional put is what
the service itself makes atomic. Local writing is done here: obstore links a finished file into
place, which survives a killed process, but it never syncs it, so a power cut could leave an empty
object under a committed name. Here a file is written and synced under `.tmp/`, then linked (create)
or renamed (replace): under its name stands nothing or everything. The price is one fsync per put.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import obstore
import psutil
from fsspec import AbstractFileSystem
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError, PreconditionError
from obstore.store import LocalStore, S3Store

from clipmill.schemas.errors import InputError, NoSpace, StoreError

_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9._=+@-]*"
_KEY = re.compile(rf"{_SEGMENT}(/{_SEGMENT})*")
_TMP = ".tmp"  # no key can begin with a dot, so nothing in here is ever an object
_STALE_SECONDS = 24 * 3600.0
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "access_key_id",
    "AWS_SECRET_ACCESS_KEY": "secret_access_key",
    "AWS_SESSION_TOKEN": "session_token",
}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}

RESERVE = 256 * 2**20
"""Bytes that stay free on a local disk: a full disk also breaks logs, receipts and the machine."""


class Stored(NamedTuple):
    """An object in a listing."""

    key: str
    size: int
    modified: float  # seconds since the epoch, by the store's clock


class Store:
    """A folder of immutable-by-convention objects. Picklable; safe in threads and processes.

    Keys are relative, `/`-separated, of letters, digits and `._=+@-`, each segment beginning with
    a letter, a digit or `_`; names made by people go through `schemas.shards.video_key` first.
    Credentials found in the environment travel with a pickled store, so that actors on machines
    without that environment can write too; they are not part of `repr` or `uri`.
    """

    def __init__(self, uri: str, root: Path | None, options: dict[str, Any]) -> None:
        self.uri = uri
        self._root = root
        self._options = options
        self._connect()

    @classmethod
    def open(cls, uri: str | Path, existing: bool = False) -> Store:
        """A store at a path, a `file://` URI or `s3://bucket/prefix`.

        A folder is made where there is none; with `existing` that is an InputError.

        S3 is set by the usual environment: `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`,
        `AWS_REGION` or `AWS_DEFAULT_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
        `AWS_SESSION_TOKEN`; without keys the machine's own role is used. Plain http is allowed
        exactly when the endpoint says http.
        """
        text = str(uri).removeprefix("file://")
        scheme, separator, rest = text.partition("://")
        if not separator:
            root = Path(text).expanduser().absolute()
            if root.exists() and not root.is_dir():
                raise StoreError(f"{root} is a file", cure="name a folder as the output")
            if existing and not root.exists():
                raise InputError(f"there is no folder {root}", cure="check the path")
            return cls(str(root), root, {})
        if scheme != "s3":
            raise StoreError(
                f"cannot write to {scheme}:// ({uri})",
                cure="use a folder or s3://bucket/prefix (any service that speaks S3)",
            )
        bucket, _, prefix = rest.rstrip("/").partition("/")
        if not bucket:
            raise StoreError(f"no bucket in {uri!r}", cure="write s3://bucket/prefix")
        return cls(f"s3://{bucket}/{prefix}".rstrip("/"), None, _s3_options(bucket, prefix))

    # Writing

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing it at once where it exists."""
        self._write(key, data, create=False)

    def put_if_absent(self, key: str, data: bytes | Path) -> bool:
        """Write an object only where none is; True if this call wrote it.

        Of any number of callers exactly one is told True, unless a lost answer made an S3 request
        be sent twice: then even the writer may hear False. Callers that must know put a nonce
        into the object and read it back.
        """
        return self._write(key, data, create=True)

    def put_file(self, key: str, path: Path) -> None:
        """Write a file's bytes as an object (streamed, multipart on S3), replacing at once."""
        self._write(key, path, create=False)

    def delete(self, keys: str | Iterable[str]) -> None:
        """Delete objects; those already gone are no error."""
        for key in [keys] if isinstance(keys, str) else keys:
            self._check(key)
            try:
                obstore.delete(self._store, key)
            except FileNotFoundError:
                continue
            except (BaseError, OSError) as error:
                raise self._failed("delete", key, error) from error

    # Reading

    def get(self, key: str) -> bytes:
        """The whole object; StoreError where there is none."""
        data = self.find(key)
        if data is None:
            raise StoreError(
                f"{self.uri} holds no {key!r}",
                cure="check the output's address; was a part of it deleted?",
            )
        return data

    def find(self, key: str) -> bytes | None:
        """The whole object, or None where there is none."""
        self._check(key)
        try:
            return bytes(obstore.get(self._store, key).bytes())
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise self._failed("read", key, error) from error

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`; StoreError where the object has fewer."""
        self._check(key)
        if length == 0:
            return b""
        try:
            data = bytes(obstore.get_range(self._store, key, start=start, length=length))
        except (BaseError, OSError) as error:
            raise self._failed("read", key, error) from error
        if len(data) != length:
            raise StoreError(f"{key!r} ends before byte {start + length}", cure="delete it, rerun")
        return data

    def size(self, key: str) -> int | None:
        """Bytes of an object, None where there is none."""
        self._check(key)
        try:
            return int(obstore.head(self._store, key)["size"])
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise self._failed("look up", key, error) from error

    def exists(self, key: str) -> bool:
        return self.size(key) is not None

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """Every object whose key begins with `prefix`, in no particular order.

        The prefix's folder is what is really listed, so end it with `/` or make it narrow.
        """
        folder = prefix.rpartition("/")[0]
        if folder:
            self._check(folder)
        if self._root is not None and not self._root.is_dir():
            return
        try:
            for chunk in obstore.list(self._store, folder or None, chunk_size=1000):
                for meta in chunk:
                    key = meta["path"]
                    if key.startswith(prefix) and _KEY.fullmatch(key):
                        yield Stored(key, meta["size"], meta["last_modified"].timestamp())
        except (BaseError, OSError) as error:
            raise self._failed("list", prefix, error) from error

    # Places and room

    def local_path(self, key: str) -> Path | None:
        """Where the object lies on this machine's disk; None for a remote store."""
        self._check(key)
        return self._root / key if self._root is not None else None

    def url(self, key: str) -> str:
        """The object's address for readers outside: a path, or an `s3://` URI."""
        self._check(key)
        return f"{self.uri}/{key}"

    def filesystem(self) -> AbstractFileSystem | None:
        """What reads `url`s of a remote store in DuckDB or pandas; None for a local one."""
        if self._root is not None:
            return None
        from obstore.fsspec import FsspecStore

        options = {k: v for k, v in self._options.items() if k not in ("bucket", "prefix")}
        return FsspecStore("s3", **options)

    def free_bytes(self) -> int | None:
        """Free bytes of the disk; None where the question makes no sense."""
        if self._root is None:
            return None
        place = self._root
        while not place.exists():
            place = place.parent
        return shutil.disk_usage(place).free

    def reserve(self, size: int) -> None:
        """Raise NoSpace unless `size` more bytes fit and `RESERVE` stays free."""
        free = self.free_bytes()
        if free is not None and free < size + RESERVE:
            raise self._no_space(f"{free / 2**20:.0f} MiB are free, {size / 2**20:.0f} are needed")

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A temporary folder, on the store's own disk where it has one; gone afterwards."""
        home = self._temporary() if self._root is not None else None
        with tempfile.TemporaryDirectory(prefix=f"{_owner()}.", dir=home) as folder:
            yield Path(folder)

    def clean(self) -> int:
        """Remove what killed writers left under `.tmp`; returns how many.

        A temporary goes if its process on this machine is gone, or if it is a day old.
        """
        if self._root is None or not (self._root / _TMP).is_dir():
            return 0
        removed = 0
        for path in (self._root / _TMP).iterdir():
            if _abandoned(path):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
                removed += 1
        return removed

    def __repr__(self) -> str:
        return f"Store({self.uri!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {"uri": self.uri, "_root": self._root, "_options": self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._connect()

    def _connect(self) -> None:
        self._store: LocalStore | S3Store
        if self._root is None:
            self._store = S3Store(**self._options)
        else:
            self._store = LocalStore(self._root, mkdir=True)

    def _check(self, key: str) -> None:
        if len(key) > 900 or not _KEY.fullmatch(key):
            raise StoreError(
                f"{key!r} is not a key of the store",
                cure="keys are relative, without '..', of letters, digits and ._=+@-",
            )

    def _write(self, key: str, data: bytes | Path, *, create: bool) -> bool:
        self._check(key)
        try:
            if self._root is not None:
                return self._write_local(self._root / key, data, create)
            if create:
                obstore.put(self._store, key, data, mode="create")
            else:
                obstore.put(self._store, key, data)
            return True
        except (AlreadyExistsError, PreconditionError) as error:
            if create:
                return False
            raise self._failed("write", key, error) from error
        except NotSupportedError as error:
            raise StoreError(
                f"{self.uri} cannot put an object only where none is",
                cure="use a service with conditional writes (If-None-Match)",
            ) from error
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise self._no_space(f"writing {key!r} failed") from error
            raise self._failed("write", key, error) from error
        except BaseError as error:
            raise self._failed("write", key, error) from error

    def _write_local(self, target: Path, data: bytes | Path, create: bool) -> bool:
        if create and target.exists():
            return False
        temporary = self._temporary() / f"{_owner()}.{secrets.token_hex(8)}"
        try:
            with temporary.open("xb") as file:
                if isinstance(data, Path):
                    with data.open("rb") as source:
                        shutil.copyfileobj(source, file, 2**20)
                else:
                    file.write(data)
                file.flush()
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            if not create:
                temporary.replace(target)
                return True
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            return True
        finally:
            temporary.unlink(missing_ok=True)

    def _temporary(self) -> Path:
        assert self._root is not None
        folder = self._root / _TMP
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _failed(self, verb: str, key: str, error: Exception) -> StoreError:
        reason = str(error).split("\n", 1)[0]
        cure = (
            "check that the folder may be read and written"
            if self._root is not None
            else "check the bucket, AWS_ENDPOINT_URL, the credentials and the network"
        )
        return StoreError(f"could not {verb} {key!r} in {self.uri}: {reason}", cure=cure)

    def _no_space(self, message: str) -> NoSpace:
        return NoSpace(
            f"no space left for {self.uri}: {message}",
            cure="free space or choose another --out; a rerun continues where this one stopped",
        )


def _s3_options(bucket: str, prefix: str) -> dict[str, Any]:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    options: dict[str, Any] = {"bucket": bucket, "region": region}
    if prefix:
        options["prefix"] = prefix
    if endpoint:
        options["endpoint"] = endpoint
        if endpoint.startswith("http://"):
            options["client_options"] = {"allow_http": True}
    for variable, option in _ENVIRONMENT.items():
        if value := os.environ.get(variable):
            options[option] = value
    return options


def _owner() -> str:
    return f"{re.sub(r'[^A-Za-z0-9-]', '-', socket.gethostname())}.{os.getpid()}"


def _abandoned(path: Path) -> bool:
    host, _, rest = path.name.partition(".")
    pid = rest.partition(".")[0]
    if host == _owner().partition(".")[0] and pid.isdigit() and not psutil.pid_exists(int(pid)):
        return True
    try:
        return time.time() - path.stat().st_mtime > _STALE_SECONDS
    except FileNotFoundError:
        return False
