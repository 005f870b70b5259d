"""Second phase of packing: plan shards from exact sizes, write each, read it back, publish it.

The plan orders clips by a seeded hash of their keys, so it depends on nothing but the set of clips
and the seed: not on which actor finished first, nor on Python's random numbers. A shard is written
to scratch, read back as a trainer would, and only then put under its name, followed by its index;
an index that names the plan and the tar's digest therefore proves a finished shard. Python's own
`tarfile` writes it: WebDataset is a way to name members, and its library would load torch for that.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clipmill.pipeline.output.pack_clips import MEDIA_FACTS, NO_MEDIA, StagedClip, read_clip
from clipmill.pipeline.output.tables import to_parquet
from clipmill.pipeline.output.tars import members
from clipmill.pipeline.store.lease import Fence
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import StoreError
from clipmill.schemas.fingerprints import fingerprint

TAR_END = 10_240
"""What closes a tar at most: two empty blocks, and padding to a whole record."""

_PLAN, _SHA256 = b"clipmill.plan", b"clipmill.tar_sha256"
_TYPES: dict[str, pa.DataType] = {
    "key": pa.string(),
    "video": pa.string(),
    "segment": pa.string(),
    "layer": pa.string(),
    "licence": pa.string(),
    "consent": pa.string(),
    "start_s": pa.float64(),
    "end_s": pa.float64(),
    "frames": pa.int64(),
    "fps": pa.float64(),
    "width": pa.int64(),
    "height": pa.int64(),
    "seconds": pa.float64(),
    "audio": pa.bool_(),
    "mode": pa.string(),
    "readers": pa.string(),
    "sha256": pa.string(),
    "text_role": pa.string(),
    "text_chars": pa.int64(),
}
assert set(MEDIA_FACTS) <= set(_TYPES)


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """A finished shard, as the manifest lists it."""

    name: str
    sha256: str
    size: int  # bytes
    clips: int
    without_text: int


@dataclass(frozen=True)
class ShardJob:
    """The clips of one shard, in their order."""

    store: Store
    fence: Fence | None
    name: str
    clips: tuple[StagedClip, ...]

    @property
    def tar(self) -> str:
        return f"shards/{self.name}.tar"

    @property
    def index(self) -> str:
        return f"shards/{self.name}.parquet"

    @property
    def plan(self) -> str:
        """Digest of what this shard is made of."""
        return fingerprint(
            [(clip.key, clip.staged, clip.offset, clip.length) for clip in self.clips]
        )


def plan_shards(
    clips: Sequence[StagedClip], seed: int, max_clips: int, max_bytes: int
) -> Iterator[tuple[StagedClip, ...]]:
    """Clips in seeded order, divided where the next would exceed count or bytes."""

    def place(clip: StagedClip) -> tuple[bytes, str]:
        text = f"{seed}:{clip.key}".encode()
        return hashlib.blake2b(text, digest_size=16).digest(), clip.key

    shard: list[StagedClip] = []
    size = TAR_END
    for clip in sorted(clips, key=place):
        if shard and (len(shard) == max_clips or size + clip.tar_bytes > max_bytes):
            yield tuple(shard)
            shard, size = [], TAR_END
        shard.append(clip)
        size += clip.tar_bytes
    if shard:
        yield tuple(shard)


def write_shard(job: ShardJob) -> ShardEntry:
    """Write, check and publish a shard, unless that has been done."""
    done = _finished(job)
    if done is not None:
        return done
    with job.store.scratch() as folder:
        path = folder / "shard.tar"
        job.store.reserve(2 * (sum(clip.tar_bytes for clip in job.clips) + TAR_END))
        rows: list[dict[str, Any]] = []
        with path.open("wb") as file, tarfile.open(fileobj=file, mode="w|") as tar:
            for staged in job.clips:
                clip = read_clip(job.store, staged)
                for extension, data in sorted(clip.members.items()):
                    tar.addfile(_header(f"{staged.key}.{extension}", len(data)), BytesIO(data))
                rows.append(clip.row)
        digest = _read_back(job, path, rows)
        if job.fence is not None:
            job.fence.check()
        job.store.put_file(job.tar, path)
        size = path.stat().st_size
    index = _index(rows).replace_schema_metadata({_PLAN: job.plan, _SHA256: digest})
    job.store.put(job.index, to_parquet(index))
    return _entry(job, index, digest, size)


def _header(name: str, size: int) -> tarfile.TarInfo:
    """Of a member; nothing in it depends on when or by whom it is written."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o444, 0
    info.uname = info.gname = "clipmill"
    return info


def _read_back(job: ShardJob, path: Path, rows: list[dict[str, Any]]) -> str:
    """Compare the file with what was meant, note offsets in `rows`; returns its sha256."""
    by_key = {row["key"]: row for row in rows}
    with path.open("rb") as file:
        for member in members(file, job.tar):
            row = by_key[member.key]
            row[f"{member.extension}_offset"] = member.offset
            row[f"{member.extension}_size"] = member.size
            if member.extension == "mp4":
                file.seek(member.offset)
                digest = hashlib.sha256(file.read(member.size)).hexdigest()
                if digest != row["sha256"]:
                    raise _spoilt(job, f"clip {member.key} came back changed")
        file.seek(0)
        whole = hashlib.file_digest(file, "sha256").hexdigest()
    needed = [("json",) if row["mode"] == NO_MEDIA else ("json", "mp4") for row in rows]
    if any(f"{e}_offset" not in r for r, es in zip(rows, needed, strict=True) for e in es):
        raise _spoilt(job, "a clip is missing")
    return whole


def _index(rows: list[dict[str, Any]]) -> pa.Table:
    names = list(_TYPES) + sorted({name for row in rows for name in row} - set(_TYPES))
    fields = [pa.field(name, _index_type(name)) for name in names]
    columns = [pa.array([row.get(f.name) for row in rows], f.type) for f in fields]
    return pa.table(columns, schema=pa.schema(fields))


def _index_type(name: str) -> pa.DataType:
    if name in _TYPES:
        return _TYPES[name]
    if name.startswith("score_"):
        return pa.float64()
    return pa.string() if name.startswith("label_") else pa.int64()


def _finished(job: ShardJob) -> ShardEntry | None:
    data = job.store.find(job.index)
    if data is None:
        return None
    index = pq.read_table(BytesIO(data))
    marks = index.schema.metadata or {}
    size = job.store.size(job.tar)
    if marks.get(_PLAN) != job.plan.encode() or size is None:
        return None
    return _entry(job, index, marks[_SHA256].decode(), size)


def _entry(job: ShardJob, index: pa.Table, digest: str, size: int) -> ShardEntry:
    return ShardEntry(job.name, digest, size, len(index), index["text_role"].null_count)


def _spoilt(job: ShardJob, what: str) -> StoreError:
    return StoreError(
        f"shard {job.name} is not what was written: {what}",
        cure="check the disk of the temporary folder; a rerun writes the shard again",
        stage="pack",
    )
