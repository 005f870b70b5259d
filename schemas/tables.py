"""Timelines flat at rest: nested in flight, plain columns in Parquet, and back without loss.

A million clips stay queryable only if a score is a column and not an entry of a map in a struct in
a list. So a video becomes rows of eight tables that share the columns `video` and `segment`. The
price is columns that follow the data (`score_<name>`, `label_<name>`); null means *not computed*.
Columns for people (seconds, sizes) are derived on writing and ignored on reading. `place` is a
row's position in its list, so the way back does not depend on the order of rows.

What an older file lacks takes the record's default (`schemas.columns`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from clipmill.schemas.arrow import from_arrow, to_arrow
from clipmill.schemas.clocks import Clock, Span
from clipmill.schemas.columns import COLUMNS, FLOAT, STRING, check_version, versioned
from clipmill.schemas.errors import InputError, StoreError
from clipmill.schemas.records import (
    Author,
    Content,
    Embedding,
    Probe,
    Sample,
    Segment,
    Step,
    Text,
    Transcript,
    Utterance,
    Video,
    Word,
)

Row = dict[str, Any]
K = TypeVar("K")
V = TypeVar("V")


@dataclass
class _Flat:
    """Rows under way, by table, and the columns that follow the data."""

    tables: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in COLUMNS})
    scores: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)


def flatten(videos: Iterable[Video]) -> dict[str, pa.Table]:
    """The eight tables of some videos; raises InputError where an id occurs twice."""
    rows = _Flat()
    seen: set[str] = set()
    for video in videos:
        if video.id in seen:
            raise InputError("two videos have one id", input=video.id, cure="give each its own id")
        seen.add(video.id)
        _flatten_video(video, rows)
    extra: dict[str, list[tuple[str, pa.DataType]]] = {
        "segments": [
            *((f"score_{name}", FLOAT) for name in sorted(rows.scores)),
            *((f"label_{name}", STRING) for name in sorted(rows.labels)),
        ],
        "embeddings": [("vector", _vector_type(rows.tables["embeddings"]))],
    }
    return {
        name: _table(rows.tables[name], [*columns, *extra.get(name, [])])
        for name, columns in COLUMNS.items()
    }


def unflatten(tables: Mapping[str, pa.Table]) -> list[Video]:
    """The videos again, in the order of the `videos` table; missing tables count as empty.

    Raises Conflict for tables of a newer version and StoreError for rows without an owner.
    """
    rows = {name: _rows(name, tables.get(name)) for name in COLUMNS}
    videos = {row["video"]: _video(row) for row in rows["videos"]}
    segments: dict[tuple[str, str], Segment] = {}
    for row in rows["segments"]:
        segment = _segment(row)
        segments[row["video"], segment.id] = segment
        _owner(videos, row["video"]).segments.append(segment)
    for row in rows["texts"]:
        text = Text(**_fields(row, "id", "role", "text", "language", "sources"), **_said(row))
        text.span = _span(row)
        _holder(videos, segments, row).texts.append(text)
    for row in rows["embeddings"]:
        embedding = Embedding(row["name"], row["model"], row["vector"])
        _owner(segments, (row["video"], row["segment"])).embeddings.append(embedding)
    for row in rows["samples"]:
        sample = Sample(
            **_fields(row, "id", "kind", "question", "answer", "options", "sources"), **_said(row)
        )
        sample.evidence = from_arrow(list[Span], row.get("evidence") or [])
        sample.labels = dict(row.get("labels") or [])
        sample.turn = from_arrow(Span, row["turn"]) if row.get("turn") else None
        _owner(segments, (row["video"], row["segment"])).samples.append(sample)
    _unflatten_speech(videos, rows)
    return list(videos.values())


# There


def _flatten_video(video: Video, rows: _Flat) -> None:
    content, probe = video.content, video.probe
    picture = probe.picture if probe and 0 <= probe.video < len(probe.streams) else None
    rows.tables["videos"].append(
        {
            **_fields_of(video, "source", "licence", "consent", "provenance", "parents"),
            "video": video.id,
            "size": content.size if content else None,
            "digest": content.digest if content else None,
            "duration_s": probe.duration_s if probe else None,
            "width": picture.width if picture else None,
            "height": picture.height if picture else None,
            "damaged": probe.damaged if probe else None,
            "segments": len(video.segments),
            "meta": to_arrow(video.meta),
            "side_files": to_arrow(video.side_files),
            "probe": to_arrow(probe),
            "steps": to_arrow(video.steps),
        }
    )
    _flatten_texts(video.texts, video.id, None, rows)
    seen: set[str] = set()
    for place, segment in enumerate(video.segments):
        if segment.id in seen:
            raise InputError(
                f"two segments are called {segment.id!r}",
                input=video.id,
                cure="the stage that made them must number them",
            )
        seen.add(segment.id)
        _flatten_segment(segment, video.id, place, rows)
    _flatten_speech(video, rows)


def _flatten_segment(segment: Segment, video: str, place: int, rows: _Flat) -> None:
    rows.scores.update(segment.scores)
    rows.labels.update(segment.labels)
    owner = {"video": video, "segment": segment.id}
    rows.tables["segments"].append(
        {
            **owner,
            "place": place,
            **_fields_of(segment, "layer", "parent"),
            **_span_columns(segment.span),
            "seconds": segment.span.duration_s,
            **{f"score_{name}": value for name, value in segment.scores.items()},
            **{f"label_{name}": value for name, value in segment.labels.items()},
        }
    )
    _flatten_texts(segment.texts, video, segment.id, rows)
    for number, item in enumerate(segment.embeddings):
        fields = _fields_of(item, "name", "model", "vector")
        rows.tables["embeddings"].append({**owner, "place": number, **fields})
    for number, sample in enumerate(segment.samples):
        rows.tables["samples"].append(
            {
                **owner,
                "place": number,
                **_fields_of(sample, "id", "kind", "question", "answer", "options", "sources"),
                **to_arrow(sample.author),
                "evidence": to_arrow(sample.evidence),
                "labels": to_arrow(sample.labels),
                "turn": to_arrow(sample.turn),
            }
        )


def _flatten_texts(texts: list[Text], video: str, segment: str | None, rows: _Flat) -> None:
    for place, text in enumerate(texts):
        rows.tables["texts"].append(
            {
                "video": video,
                "segment": segment,
                "place": place,
                **_fields_of(text, "id", "role", "text", "language", "sources"),
                **to_arrow(text.author),
                **(_span_columns(text.span) if text.span else {}),
            }
        )


def _flatten_speech(video: Video, rows: _Flat) -> None:
    for number, transcript in enumerate(video.transcripts):
        clock = transcript.clock
        rows.tables["transcripts"].append(
            {
                "video": video.id,
                "transcript": number,
                **_clock_columns(clock),
                **to_arrow(transcript.author),
                **_fields_of(transcript, "kind", "language", "track"),
            }
        )
        for place, utterance in enumerate(transcript.utterances):
            at = {"video": video.id, "transcript": number, "utterance": place}
            rows.tables["utterances"].append(
                {
                    **at,
                    **_timed(utterance, clock),
                    **_fields_of(utterance, "speaker", "language", "doubt"),
                }
            )
            rows.tables["words"].extend(
                {**at, "place": nth, **_timed(word, clock), "confidence": word.confidence}
                for nth, word in enumerate(utterance.words)
            )


def _timed(item: Utterance | Word, clock: Clock) -> Row:
    return {
        "text": item.text,
        "start": item.start,
        "end": item.end,
        "start_s": clock.seconds(item.start),
        "end_s": clock.seconds(item.end),
    }


def _clock_columns(clock: Clock) -> Row:
    return {
        "clock": clock.name,
        "clock_num": clock.num,
        "clock_den": clock.den,
        "clock_zero": clock.zero,
    }


def _span_columns(span: Span) -> Row:
    return {
        **_clock_columns(span.clock),
        "start": span.start,
        "end": span.end,
        "start_s": span.start_s,
        "end_s": span.end_s,
    }


def _fields_of(record: object, *names: str) -> Row:
    return {name: getattr(record, name) for name in names}


def _table(rows: list[Row], columns: list[tuple[str, pa.DataType]]) -> pa.Table:
    # from_pandas=False keeps a NaN score apart from one that was not computed.
    arrays = [
        pa.array([row.get(name) for row in rows], type=kind, from_pandas=False)
        for name, kind in columns
    ]
    return versioned(pa.table(arrays, schema=pa.schema(columns)))


def _vector_type(rows: list[Row]) -> pa.DataType:
    """Narrowest exact type: float32 where every value is one, fixed size where all are equal."""
    sizes = {len(row["vector"]) for row in rows}
    value = pa.float32() if all(_is_single(row["vector"]) for row in rows) else pa.float64()
    return pa.list_(value, *sizes) if len(sizes) == 1 and min(sizes) > 0 else pa.list_(value)


def _is_single(vector: list[float]) -> bool:
    wide = np.asarray(vector, dtype=np.float64)
    with np.errstate(over="ignore"):
        return np.array_equal(wide.astype(np.float32), wide, equal_nan=True)


# And back


def _rows(name: str, table: pa.Table | None) -> list[Row]:
    if table is None:
        return []
    check_version(table, name)
    rows: list[Row] = table.to_pylist()
    order = [key for key in ("transcript", "utterance", "place") if key in table.column_names]
    if order and name != "videos":
        rows.sort(key=lambda row: tuple(row[key] for key in order))
    return rows


def _video(row: Row) -> Video:
    digest, size = row.get("digest"), row.get("size")
    return Video(
        id=row["video"],
        **_fields(row, "source", "licence", "consent", "provenance", "parents"),
        content=Content(size, digest) if digest is not None and size is not None else None,
        meta=dict(row.get("meta") or []),
        side_files=dict(row.get("side_files") or []),
        probe=from_arrow(Probe, row.get("probe")),
        steps=from_arrow(list[Step], row.get("steps") or []),
    )


def _segment(row: Row) -> Segment:
    span = _span(row)
    if span is None:
        raise StoreError(
            f"segment {row['segment']!r} has no span",
            input=row["video"],
            cure="the table is damaged; compact it again",
        )
    return Segment(
        id=row["segment"],
        span=span,
        **_fields(row, "layer", "parent"),
        scores=_named(row, "score_"),
        labels=_named(row, "label_"),
    )


def _unflatten_speech(videos: dict[str, Video], rows: dict[str, list[Row]]) -> None:
    transcripts: dict[tuple[str, int], Transcript] = {}
    utterances: dict[tuple[str, int, int], Utterance] = {}
    for row in rows["transcripts"]:
        transcript = Transcript(
            _clock(row), **_fields(row, "kind", "language", "track"), **_said(row)
        )
        transcripts[row["video"], row["transcript"]] = transcript
        _owner(videos, row["video"]).transcripts.append(transcript)
    for row in rows["utterances"]:
        told = _fields(row, "text", "start", "end", "speaker", "language", "doubt")
        utterance = Utterance(**told)
        utterances[row["video"], row["transcript"], row["utterance"]] = utterance
        _owner(transcripts, (row["video"], row["transcript"])).utterances.append(utterance)
    for row in rows["words"]:
        word = Word(**_fields(row, "text", "start", "end", "confidence"))
        _owner(utterances, (row["video"], row["transcript"], row["utterance"])).words.append(word)


def _fields(row: Row, *names: str) -> Row:
    """The columns that exist; a record's default stands in for those an older writer lacked."""
    return {name: row[name] for name in names if name in row}


def _named(row: Row, prefix: str) -> Row:
    return {
        name.removeprefix(prefix): value
        for name, value in row.items()
        if name.startswith(prefix) and value is not None
    }


def _said(row: Row) -> Row:
    return {"author": Author(**_fields(row, "stage", "model", "revision", "prompt"))}


def _clock(row: Row) -> Clock:
    return Clock(row["clock"], row["clock_num"], row["clock_den"], row["clock_zero"])


def _span(row: Row) -> Span | None:
    return None if row.get("clock") is None else Span(_clock(row), row["start"], row["end"])


def _holder(
    videos: dict[str, Video], segments: dict[tuple[str, str], Segment], row: Row
) -> Video | Segment:
    if row["segment"] is None:
        return _owner(videos, row["video"])
    return _owner(segments, (row["video"], row["segment"]))


def _owner(owners: Mapping[K, V], key: K) -> V:
    found = owners.get(key)
    if found is None:
        raise StoreError(f"a row belongs to {key!r}, which no table holds", cure="compact it again")
    return found
