"""Open a file of published annotations: fetched, bounded, and parsed once in a process.

All videos of a data set read the same file, in the process that lists the inputs and in every
worker. What was parsed is kept for as long as the file stays the same and few others are opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from pathlib import Path

from clipmill.schemas.errors import InputError
from clipmill.stages.convert.annotation_files import MAX_BYTES, read_annotations
from clipmill.stages.convert.annotation_rows import Layout, Row
from clipmill.stages.media.source import local


@dataclass(frozen=True)
class Published:
    """What a file holds. `revision` is a digest of its bytes."""

    rows: dict[str, list[Row]]  # by the video's name; "" is of no video
    revision: str

    @cached_property
    def texts(self) -> list[str]:
        """All that is told of any video, each text once, in alphabetical order."""
        rows = (row for own in self.rows.values() for row in own)
        return sorted({row.text for row in rows if row.text and not row.refused})


def published(file: str, layout: Layout) -> Published:
    """The annotations at a path or URI; raises Unreadable where there are none, InputError where
    they are of no use."""
    with local(file) as path:
        facts = path.stat()
        return _parsed(path, facts.st_size, facts.st_mtime_ns, layout, file)


def revision_of(file: str) -> str:
    """Digest of a file's bytes, without parsing them."""
    with local(file) as path:
        return _digest(bounded(path, file))


@lru_cache(maxsize=8)
def _parsed(path: Path, size: int, modified: int, layout: Layout, file: str) -> Published:
    data = bounded(path, file)
    form = file.rpartition(".")[2].lower()
    return Published(read_annotations(data, form, layout, file), _digest(data))


def bounded(path: Path, file: str) -> bytes:
    """The bytes of a file beside or of annotations; raises InputError past `MAX_BYTES`."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise InputError(
            f"the file has {size >> 20} MB",
            cure=f"files up to {MAX_BYTES >> 20} MB are read; split it",
            input=file,
            stage="import_annotations",
        )
    return path.read_bytes()


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()
