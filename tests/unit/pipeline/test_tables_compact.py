from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clipmill.pipeline.output.tables import (
    MANIFEST,
    compact,
    manifest,
    open_duckdb,
    read_table,
    read_videos,
)
from clipmill.pipeline.store.store import Store
from clipmill.schemas.clocks import Span
from clipmill.schemas.columns import VERSION
from clipmill.schemas.errors import Conflict, StoreError
from clipmill.schemas.records import Author, Embedding, Video

AUTHOR = Author("caption_clip", "tiny", "1")


def library(count: int, segments: int = 3) -> Iterator[Video]:
    for number in range(count):
        video = Video(f"v{number:03d}", f"/in/v{number:03d}.mp4", consent="signed")
        video.add_segments("shots", [Span.of_seconds(i, i + 1) for i in range(segments)])
        for place, segment in enumerate(video.segments):
            segment.add_text("caption", f"clip {place} of {number}", AUTHOR)
            segment.scores["blur"] = place / 4
            if number >= count // 2:  # a score that early batches do not know
                segment.scores["motion"] = 0.5
            vector = [0.5] * (2 if number else 3)
            segment.embeddings.append(Embedding("clip", "m", vector))
        yield video


def test_tables_hold_the_videos_in_several_batches(store: Store) -> None:
    done = compact(store, library(20), "g1", batch_rows=20)
    assert (done.batches, done.videos, done.segments) == (4, 20, 60)
    assert list(read_videos(store)) == list(library(20))
    assert len(read_table(store, "texts")) == 60


def test_a_score_that_one_batch_lacks_is_null_there(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    compact(store, library(20), "g1", batch_rows=20)
    table = read_table(store, "segments", ["video", "score_motion"])
    assert table.column_names == ["video", "score_motion"]
    assert table["score_motion"].null_count == 30
    with pytest.raises(StoreError, match="score_nothing"):
        read_table(store, "segments", ["score_nothing"])


def test_vectors_of_different_sizes_in_different_batches_are_read_together(
    tmp_path: Path,
) -> None:
    store = Store.open(tmp_path)
    compact(store, library(4), "g1", batch_rows=1)
    vectors = read_table(store, "embeddings")["vector"].to_pylist()
    assert sorted({len(vector) for vector in vectors}) == [2, 3]


def test_sql_over_all_batches(store: Store) -> None:
    compact(store, library(20), "g1", batch_rows=20)
    sql = """
        select count(*), count(score_motion), max(seconds) from segments
        join texts using (video, segment) where role = 'caption' and score_blur < 0.5
    """
    assert open_duckdb(store).sql(sql).fetchall() == [(40, 20, 1.0)]


def test_a_folder_with_a_quote_in_its_name_can_be_queried(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "it's mine")
    compact(store, library(1), "g1")
    assert open_duckdb(store).sql("select count(*) from videos").fetchall() == [(1,)]


def test_compacting_again_gives_the_same_bytes_and_a_new_generation_replaces(
    tmp_path: Path,
) -> None:
    store = Store.open(tmp_path)

    def content() -> dict[str, bytes]:
        return {item.key: store.get(item.key) for item in store.list()}

    compact(store, library(5), "g1", batch_rows=4)
    first = content()
    compact(store, library(5), "g1", batch_rows=4)
    assert content() == first
    compact(store, library(2), "g2")
    assert {key.rsplit("/", 1)[1] for key in content()} == {"manifest.json", "g2-00000.parquet"}
    assert len(list(read_videos(store))) == 2


def test_a_compaction_that_dies_half_way_changes_nothing(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    compact(store, library(3), "g1")

    def dying() -> Iterator[Video]:
        yield from library(10)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compact(store, dying(), "g2", batch_rows=4)
    assert len(list(read_videos(store))) == 3
    compact(store, library(10), "g2", batch_rows=4)
    assert len(list(read_videos(store))) == 10


def test_a_run_without_videos_still_has_its_tables(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    compact(store, [], "g1")
    assert list(read_videos(store)) == []
    assert read_table(store, "segments", ["video", "layer"]).num_rows == 0
    assert open_duckdb(store).sql("select count(*) from embeddings").fetchall() == [(0,)]


def test_reading_before_compaction_and_newer_tables_are_named_errors(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    assert manifest(store) is None
    with pytest.raises(StoreError, match="no tables yet"):
        read_table(store, "segments")
    compact(store, [], "g1")
    own, newer = (f'"version": {version}'.encode() for version in (VERSION, VERSION + 1))
    store.put(MANIFEST, store.get(MANIFEST).replace(own, newer))
    with pytest.raises(Conflict, match="newer"):
        read_table(store, "segments")
