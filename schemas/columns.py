"""The columns of the flat tables, and the version that a file carries.

Version 2 is written. Version 1 had no `turn` of samples; a file without a mark is version 0, which
had no `consent` either. The one rule for older files is that what they lack takes the record's
default: a version that only adds needs no conversion, at the price that a column is never renamed.
Files of a newer version are refused.
"""

from __future__ import annotations

import pyarrow as pa

from clipmill.schemas.arrow import arrow_type
from clipmill.schemas.clocks import Span
from clipmill.schemas.errors import Conflict
from clipmill.schemas.records import Probe, Step

VERSION = 2
VERSION_KEY = b"clipmill.tables"

STRING, INT, FLOAT = pa.string(), pa.int64(), pa.float64()
STRINGS = pa.list_(pa.string())
_OWNER = [("video", STRING), ("segment", STRING), ("place", INT)]
_CLOCK = [("clock", STRING), ("clock_num", INT), ("clock_den", INT), ("clock_zero", INT)]
_SPAN = [*_CLOCK, ("start", INT), ("end", INT), ("start_s", FLOAT), ("end_s", FLOAT)]
_AUTHOR = [("stage", STRING), ("model", STRING), ("revision", STRING), ("prompt", STRING)]

COLUMNS: dict[str, list[tuple[str, pa.DataType]]] = {
    "videos": [
        ("video", STRING),
        ("source", STRING),
        ("size", INT),
        ("digest", STRING),
        ("licence", STRING),
        ("consent", STRING),
        ("provenance", STRING),
        ("duration_s", FLOAT),
        ("width", INT),
        ("height", INT),
        ("damaged", pa.bool_()),
        ("segments", INT),
        ("meta", arrow_type(dict[str, str])),
        ("side_files", arrow_type(dict[str, str])),
        ("parents", STRINGS),
        ("probe", arrow_type(Probe)),
        ("steps", arrow_type(list[Step])),
    ],
    "segments": [*_OWNER, ("layer", STRING), *_SPAN, ("seconds", FLOAT), ("parent", STRING)],
    "texts": [
        *_OWNER,
        ("id", STRING),
        ("role", STRING),
        ("text", STRING),
        *_AUTHOR,
        ("language", STRING),
        ("sources", STRINGS),
        *_SPAN,
    ],
    "embeddings": [*_OWNER, ("name", STRING), ("model", STRING)],  # and `vector`
    "samples": [
        *_OWNER,
        ("id", STRING),
        ("kind", STRING),
        ("question", STRING),
        ("answer", STRING),
        *_AUTHOR,
        ("options", STRINGS),
        ("evidence", arrow_type(list[Span])),
        ("sources", STRINGS),
        ("labels", arrow_type(dict[str, str])),
        ("turn", arrow_type(Span)),
    ],
    "transcripts": [
        ("video", STRING),
        ("transcript", INT),
        *_CLOCK,
        *_AUTHOR,
        ("kind", STRING),
        ("language", STRING),
        ("track", INT),
    ],
    "utterances": [
        ("video", STRING),
        ("transcript", INT),
        ("utterance", INT),
        ("text", STRING),
        ("start", INT),
        ("end", INT),
        ("start_s", FLOAT),
        ("end_s", FLOAT),
        ("speaker", STRING),
        ("language", STRING),
        ("doubt", STRING),
    ],
    "words": [
        ("video", STRING),
        ("transcript", INT),
        ("utterance", INT),
        ("place", INT),
        ("text", STRING),
        ("start", INT),
        ("end", INT),
        ("start_s", FLOAT),
        ("end_s", FLOAT),
        ("confidence", FLOAT),
    ],
}
"""Table -> its fixed columns. `segments` also has `score_<name>` and `label_<name>` columns."""


def versioned(table: pa.Table) -> pa.Table:
    """The table with this version's mark."""
    return table.replace_schema_metadata({VERSION_KEY: str(VERSION).encode()})


def check_version(table: pa.Table | pa.Schema, name: str = "table") -> int:
    """The version that wrote a table; raises Conflict if it is newer than this code."""
    schema = table.schema if isinstance(table, pa.Table) else table
    mark = (schema.metadata or {}).get(VERSION_KEY, b"0")
    if not mark.isdigit() or int(mark) > VERSION:
        raise Conflict(
            f"{name} was written by a newer Clipmill (tables version {mark.decode()!r}, "
            f"this one reads up to {VERSION})",
            cure="update Clipmill, or read it with the version that wrote it",
        )
    return int(mark)
