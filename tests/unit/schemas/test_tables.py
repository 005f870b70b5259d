from __future__ import annotations

import random
from io import BytesIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipmill.schemas.arrow import to_arrow
from clipmill.schemas.clocks import Span
from clipmill.schemas.columns import VERSION, VERSION_KEY
from clipmill.schemas.errors import ClipmillError, Conflict, InputError
from clipmill.schemas.records import Author, Embedding, Segment, Video
from clipmill.schemas.tables import flatten, unflatten
from tests.unit.schemas.record_strategies import videos

libraries = st.lists(videos, max_size=3, unique_by=lambda video: video.id)


def parquet(table: pa.Table) -> pa.Table:
    sink = BytesIO()
    pq.write_table(table, sink)
    return pq.read_table(BytesIO(sink.getvalue()))


def content(library: list[Video]) -> str:
    return repr(to_arrow(library))


@settings(max_examples=60)
@given(libraries)
def test_any_library_survives_the_tables_and_parquet(library: list[Video]) -> None:
    tables = {name: parquet(table) for name, table in flatten(library).items()}
    assert content(unflatten(tables)) == content(library)


@settings(max_examples=30)
@given(libraries, st.randoms(use_true_random=False))
def test_the_order_of_rows_below_videos_does_not_matter(
    library: list[Video], shuffle: random.Random
) -> None:
    tables = flatten(library)
    for name, table in tables.items():
        if name != "videos":
            order = list(range(len(table)))
            shuffle.shuffle(order)
            tables[name] = table.take(pa.array(order, pa.int64()))
    assert content(unflatten(tables)) == content(library)


def clip(**more: object) -> Segment:
    return Segment("shots-00000", "shots", Span.of_seconds(1.5, 4.0), **more)  # type: ignore[arg-type]


def test_scores_and_labels_are_columns_and_absent_ones_are_null() -> None:
    one = Video("a", "a.mp4", segments=[clip(scores={"blur": 0.0}, labels={"camera": "pan"})])
    two = Video("b", "b.mp4", segments=[clip()])
    table = flatten([one, two])["segments"]
    assert table["score_blur"].to_pylist() == [0.0, None]
    assert table["label_camera"].to_pylist() == ["pan", None]
    assert table["start_s"].to_pylist() == [1.5, 1.5]
    assert table["seconds"].to_pylist() == [2.5, 2.5]


def test_a_score_that_is_not_a_number_is_not_one_that_was_never_computed() -> None:
    table = flatten([Video("a", "a.mp4", segments=[clip(scores={"blur": float("nan")})])])
    column = parquet(table["segments"])["score_blur"]
    assert column.null_count == 0
    assert pc.is_nan(column).to_pylist() == [True]


def test_vectors_of_one_size_are_fixed_and_single_precision_where_that_is_exact() -> None:
    def vectors(*values: list[float]) -> pa.DataType:
        found = [Embedding("clip", "m", value) for value in values]
        tables = flatten([Video("a", "a.mp4", segments=[clip(embeddings=found)])])
        return tables["embeddings"].schema.field("vector").type

    assert vectors([0.5, 1.0], [2.0, 0.25]) == pa.list_(pa.float32(), 2)
    assert vectors([0.1, 1.0]) == pa.list_(pa.float64(), 2)
    assert vectors([0.5], [0.5, 1.0]) == pa.list_(pa.float32())


def test_a_file_of_version_0_without_consent_is_read_with_its_default() -> None:
    video = Video("a", "a.mp4", consent="signed", segments=[clip()])
    tables = flatten([video])
    tables["videos"] = tables["videos"].drop_columns(["consent"]).replace_schema_metadata({})
    tables["segments"] = tables["segments"].replace_schema_metadata({})
    del tables["words"]
    video.consent = None
    assert unflatten(tables) == [video]


def test_samples_of_version_1_have_no_turn() -> None:
    own = clip()
    own.add_sample("qa", "?", "!", Author("a"), turn=Span.of_seconds(1, 2))
    tables = flatten([Video("a", "a.mp4", segments=[own])])
    old = tables["samples"].drop_columns(["turn"]).replace_schema_metadata({VERSION_KEY: b"1"})
    [video] = unflatten(tables | {"samples": old})
    [sample] = video.segments[0].samples
    assert own.samples[0].turn is not None and sample.turn is None


def test_a_file_of_a_newer_version_is_refused() -> None:
    tables = flatten([Video("a", "a.mp4")])
    newer = str(VERSION + 1).encode()
    tables["videos"] = tables["videos"].replace_schema_metadata({VERSION_KEY: newer})
    with pytest.raises(Conflict, match="newer"):
        unflatten(tables)


def test_doubled_ids_are_refused() -> None:
    with pytest.raises(InputError, match="one id"):
        flatten([Video("a", "a.mp4"), Video("a", "b.mp4")])
    with pytest.raises(InputError, match="shots-00000"):
        flatten([Video("a", "a.mp4", segments=[clip(), clip()])])


def test_a_row_without_its_owner_is_an_error_and_not_dropped() -> None:
    video = Video("a", "a.mp4", segments=[clip()])
    video.segments[0].add_text("caption", "a red ball", Author("caption_clip"))
    tables = flatten([video])
    tables["segments"] = tables["segments"].slice(0, 0)
    with pytest.raises(ClipmillError, match="no table holds"):
        unflatten(tables)
