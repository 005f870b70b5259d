"""Read shards that nobody vouches for: headers only, nothing unpacked, nothing believed.

Python's tarfile follows whatever a header says (negative sizes, endless extended headers, links),
so the walk from header to header is done here, with `TarInfo.frombuf` parsing single blocks. Only
plain tars are read; a compressed one could unfold to any size. Member names are data, never paths.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from clipmill.schemas.errors import StoreError

BLOCK = 512
MAX_MEMBER = 4 * 2**30
"""Largest member taken for a clip; more is refused."""
_MAX_EXTENSION = 64 * 2**10  # bytes of an extended header: a name, not a payload
_EXTENSIONS = {
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
}


class BadTar(StoreError):
    """The file is not a tar, or lies about its members."""

    kind = "bad_tar"


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in a tar; `problem` says why it should not be used, empty if nothing."""

    name: str
    offset: int  # of its data
    size: int
    problem: str = ""

    @property
    def key(self) -> str:
        """The WebDataset key: the name up to the first dot of its last part."""
        folder, slash, base = self.name.rpartition("/")
        return folder + slash + base.partition(".")[0]

    @property
    def extension(self) -> str:
        return self.name.rpartition("/")[2].partition(".")[2].lower()


def members(file: IO[bytes], name: str) -> Iterator[Member]:
    """The members of a seekable plain tar, in order; raises BadTar where it cannot go on.

    Directories are left out. Links and devices come out with a `problem` and no data.
    """
    end = file.seek(0, 2)
    at = 0
    long_name: str | None = None
    while True:
        file.seek(at)
        block = file.read(BLOCK)
        if len(block) < BLOCK:
            raise _bad(name, "it ends without an end mark")
        if not block.strip(b"\0"):
            return
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise _bad(name, f"no header at byte {at} ({error})") from error
        data = at + BLOCK
        if info.size < 0 or data + info.size > end:
            raise _bad(name, f"member at byte {at} claims {info.size} bytes, more than there are")
        at = data + -(-info.size // BLOCK) * BLOCK
        if info.type in _EXTENSIONS:
            if info.size > _MAX_EXTENSION:
                raise _bad(name, f"an extended header of {info.size} bytes")
            file.seek(data)
            long_name = _long_name(info.type, file.read(info.size), name) or long_name
            continue
        found = long_name or info.name
        long_name = None
        if info.type != tarfile.DIRTYPE:
            yield Member(found, data, info.size, _problem(found, info))


def _problem(name: str, info: tarfile.TarInfo) -> str:
    if not info.isreg():
        return "not a plain file (link or device)"
    if name.startswith("/") or "\\" in name or ".." in name.split("/"):
        return "a name that leaves the folder"
    if not name.isprintable():
        return "a name of odd characters"
    if info.size > MAX_MEMBER:
        return f"larger than {MAX_MEMBER // 2**30} GiB"
    return ""


def _long_name(kind: bytes, data: bytes, name: str) -> str | None:
    """The name that an extended header gives the next member."""
    if kind == tarfile.GNUTYPE_LONGNAME:
        return data.rstrip(b"\0").decode("utf-8", "surrogateescape")
    if kind != tarfile.XHDTYPE:
        return None
    found = None
    while data.strip(b"\0"):  # records are "<length> <key>=<value>\n"
        length, _, _ = data.partition(b" ")
        if not length.isdigit() or not len(length) < int(length[:9]) <= len(data):
            raise _bad(name, "a broken extended header")
        record, data = data[len(length) + 1 : int(length)], data[int(length) :]
        key, _, value = record.rstrip(b"\n").partition(b"=")
        if key == b"size":
            raise _bad(name, "a size in an extended header")
        if key == b"path":
            found = value.decode("utf-8", "surrogateescape")
    return found


def _bad(name: str, what: str) -> BadTar:
    return BadTar(
        f"{name} is not a whole tar: {what}", cure="fetch or pack the shard again", stage="read"
    )
