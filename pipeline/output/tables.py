"""Compaction: committed timelines become flat Parquet tables, and are read back from there.

    tables/manifest.json                          what is current; put last
    tables/<table>/<generation>-<batch>.parquet   the eight tables of `schemas.columns`

A video lies in one batch of all tables, so a batch can be turned back into records alone and
memory stays bounded both ways. Files of a new generation stand beside the old ones until the
manifest is replaced; a killed compaction is invisible and is simply done again. The price is that
compaction rewrites everything: appending in place would need a second way to become visible.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from clipmill.pipeline.store.lease import Fence
from clipmill.pipeline.store.store import Store
from clipmill.schemas.columns import COLUMNS, VERSION, check_version
from clipmill.schemas.errors import Conflict, StoreError
from clipmill.schemas.records import Video
from clipmill.schemas.tables import flatten, unflatten

if TYPE_CHECKING:
    import duckdb

MANIFEST = "tables/manifest.json"
BATCH_ROWS = 20_000
"""Rows of videos, segments and utterances after which a batch is closed; an embedding counts as one
for every 128 numbers, so that a batch of long vectors stays near 100 MB."""


@dataclass(frozen=True, slots=True)
class TablesManifest:
    """What the tables hold. `generation` says of which committed units they were made."""

    version: int
    generation: str
    batches: int
    videos: int
    segments: int

    def file(self, table: str, batch: int) -> str:
        return f"tables/{table}/{self.generation}-{batch:05d}.parquet"


def compact(
    store: Store,
    videos: Iterable[Video],
    generation: str,
    *,
    batch_rows: int = BATCH_ROWS,
    fence: Fence | None = None,
) -> TablesManifest:
    """Write the tables of `videos` and make them the current ones.

    `generation` is a short file-name-safe name of what went in, such as a digest over the names
    of the committed units. The same generation again overwrites with the same content.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", generation):
        raise ValueError(f"{generation!r} cannot be part of a file name")
    done = TablesManifest(VERSION, generation, 0, 0, 0)
    for batch in _batches(videos, batch_rows):
        tables = flatten(batch)
        for name, table in tables.items():
            if fence is not None:
                fence.check()
            store.put(done.file(name, done.batches), to_parquet(table))
        done = TablesManifest(
            VERSION,
            generation,
            done.batches + 1,
            done.videos + len(tables["videos"]),
            done.segments + len(tables["segments"]),
        )
    if fence is not None:
        fence.check()
    store.put(MANIFEST, json.dumps(asdict(done), sort_keys=True).encode())
    current = {done.file(name, number) for name in COLUMNS for number in range(done.batches)}
    store.delete(
        [item.key for item in store.list("tables/") if item.key not in {*current, MANIFEST}]
    )
    return done


def manifest(store: Store) -> TablesManifest | None:
    """The current tables, None before the first compaction. Raises Conflict for newer versions."""
    data = store.find(MANIFEST)
    if data is None:
        return None
    try:
        found = json.loads(data)
        newer = found["version"] > VERSION
        current = None if newer else TablesManifest(**found)
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{store.uri}/{MANIFEST} is not a manifest", cure="run the recipe again; it is rebuilt"
        ) from error
    if newer:
        raise Conflict(
            f"{store.uri}/{MANIFEST} was written by a newer Clipmill", cure="update Clipmill"
        )
    return current


def read_table(store: Store, name: str, columns: Collection[str] | None = None) -> pa.Table:
    """A whole table, or some of its columns; a column that one batch lacks is null there."""
    current = _current(store)
    if name not in COLUMNS:
        raise StoreError(f"there is no table {name!r}", cure=f"one of: {', '.join(COLUMNS)}")
    parts = [_read(store, current.file(name, number), columns) for number in range(current.batches)]
    missing = set(columns or ()) - {column for part in parts for column in part.column_names}
    if missing:
        raise StoreError(
            f"table {name} has no column {', '.join(sorted(missing))}",
            cure="has the stage that provides it run?",
        )
    table = _joined(parts)
    return table.select(list(columns)) if columns is not None else table


def read_videos(store: Store, without: Collection[str] = ()) -> Iterator[Video]:
    """Every video again, batch by batch; `without` names tables that need not be read."""
    current = _current(store)
    for number in range(current.batches):
        yield from unflatten(
            {
                name: _read(store, current.file(name, number))
                for name in COLUMNS
                if name not in without
            }
        )


def open_duckdb(store: Store) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection in memory with every table as a view of its name."""
    import duckdb

    current = _current(store)
    connection = duckdb.connect()
    filesystem = store.filesystem()
    if filesystem is not None:
        connection.register_filesystem(filesystem)
    for name in COLUMNS:
        files = [store.url(current.file(name, number)) for number in range(current.batches)]
        quoted = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
        connection.execute(
            f"create view {name} as select * from read_parquet([{quoted}], union_by_name=true)"
        )
    return connection


def to_parquet(table: pa.Table) -> bytes:
    """The bytes of a Parquet file; the same table gives the same bytes."""
    sink = BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _batches(videos: Iterable[Video], batch_rows: int) -> Iterator[list[Video]]:
    """At least one batch, so that empty tables exist and have their columns."""
    batch: list[Video] = []
    rows = 0
    first = True
    for video in videos:
        batch.append(video)
        rows += _weight(video)
        if rows >= batch_rows:
            yield batch
            batch, rows, first = [], 0, False
    if batch or first:
        yield batch


def _weight(video: Video) -> int:
    numbers = sum(len(item.vector) for segment in video.segments for item in segment.embeddings)
    spoken = sum(len(transcript.utterances) for transcript in video.transcripts)
    return 1 + len(video.segments) + spoken + numbers // 128


def _current(store: Store) -> TablesManifest:
    current = manifest(store)
    if current is None:
        raise StoreError(
            f"{store.uri} has no tables yet", cure="run a recipe into it first: clipmill run"
        )
    return current


def _read(store: Store, key: str, columns: Collection[str] | None = None) -> pa.Table:
    file = pq.ParquetFile(BytesIO(store.get(key)))
    check_version(file.schema_arrow, key)
    if columns is None:
        return file.read()
    return file.read(columns=[name for name in file.schema_arrow.names if name in columns])


def _joined(parts: list[pa.Table]) -> pa.Table:
    """Batches under one another; vectors of unlike sizes or precisions get a type for all."""
    kinds = {part.schema.field("vector").type for part in parts if "vector" in part.column_names}
    if len(kinds) > 1:
        wide = pa.list_(pa.float64())
        parts = [
            part.set_column(part.column_names.index("vector"), "vector", part["vector"].cast(wide))
            for part in parts
        ]
    return pa.concat_tables(parts, promote_options="default")
