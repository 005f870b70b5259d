"""Published annotation files: rows of a text and its times, by video.

Every data set has a form of its own, but they differ in few ways: rows in CSV or JSON, a list of
rows under the name of each video, or the columns of a video as lists side by side. One reader with
a map of names takes them all, instead of an importer per data set; what names alone do not say is
left to a function per record (`layouts.py`). The files are strangers' work: size and rows are
bounded, a file that cannot be read names the place, and a row that cannot be used is kept with the
reason, so that what a data set loses on the way can be counted.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from clipmill.schemas.errors import InputError
from clipmill.stages.asr_text.untrusted import clean_line
from clipmill.stages.convert.annotation_rows import (
    KEY,
    REFUSED,
    Layout,
    Names,
    Row,
    line_of,
    row_of,
)

FORMS = ("json", "jsonl", "ndjson", "csv", "tsv", "txt")
MAX_BYTES = 100 << 20
MAX_ROWS = 2_000_000  # of a file


def read_annotations(data: bytes, form: str, layout: Layout, file: str) -> dict[str, list[Row]]:
    """The rows of every video, by its name in the file; "" holds rows that name no video.

    Raises InputError for a file that is not of its form or holds nothing of what is named.
    """
    names = layout.names
    found: dict[str, list[Row]] = {}
    seen: set[str] = set()
    first: dict[str, int] = {}  # video -> the record that tells of it first
    count = 0
    try:
        for number, (video, record) in enumerate(_records(data, form, layout), 1):
            for values in layout.unfold(record) if layout.unfold else (record,):
                count += 1
                if count > MAX_ROWS:
                    raise _unusable(f"more than {MAX_ROWS:,} rows", "split it", file)
                # A row that says itself why it is none has been looked at by its layout.
                told = names.wanted if REFUSED in values else values
                seen.update(told if len(seen) < 64 else ())
                named = video or line_of(values.get(names.video), 1024)
                row = row_of(number, values, names)
                if layout.once and first.setdefault(named, number) != number:
                    row.refused = row.refused or "another_annotator"
                found.setdefault(named, []).append(row)
    except (ValueError, RecursionError, csv.Error) as broken:
        raise _unusable(
            f"it cannot be read as {form.upper()}: {broken}", "mend it, or convert it", file
        ) from broken
    missing = [name for name in names.wanted if name not in seen]
    if found and missing:
        raise _unusable(
            f"no row has {' and '.join(map(repr, missing))}",
            f"rows have {', '.join(sorted(clean_line(name, 40) for name in seen)[:20])}; "
            "set text, start, end or span to the right names",
            file,
        )
    return found


def _records(data: bytes, form: str, layout: Layout) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(video or "", record as names and values) of every record."""
    names = layout.names
    text = data.decode("utf-8-sig", errors="replace")
    if form == "txt":
        if layout.line is None:
            raise ValueError("lines of plain text are read by a layout that knows them")
        for line in text.split("\n"):
            if line.strip():
                found = layout.line.fullmatch(line.strip())
                yield "", found.groupdict() if found else {REFUSED: "no_row"}
    elif form in ("csv", "tsv"):
        delimiter = "," if form == "csv" else "\t"
        table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        header = next(table, [])
        for cells in table:
            if cells:
                yield "", dict(zip(header, cells, strict=False))
    elif form in ("jsonl", "ndjson"):
        for line in text.split("\n"):
            if line.strip():
                yield "", _named(json.loads(line), names)
    else:
        whole = json.loads(text)
        if names.root:
            if not isinstance(whole, dict) or names.root not in whole:
                raise ValueError(f"there is no {names.root!r} at its top")
            whole = whole[names.root]
        if isinstance(whole, dict) and {names.text, names.rows, names.question} & set(whole):
            for row in _rows_of(whole, names):
                yield "", row
        elif isinstance(whole, dict):
            for key, value in whole.items():
                for row in _rows_of(value, names):
                    yield (key, row) if names.keyed else ("", {**row, KEY: key})
        elif isinstance(whole, list):
            for value in whole:
                yield "", _named(value, names)
        else:
            raise ValueError("neither a list of rows nor an object of videos")


def _rows_of(value: object, names: Names) -> Iterator[Mapping[str, Any]]:
    """The rows below a video's name: a list, a list inside an object, or columns side by side."""
    if isinstance(value, list):
        for row in value:
            yield _named(row, names)
        return
    if not isinstance(value, dict):
        raise ValueError(f"a video holds {type(value).__name__}, neither rows nor columns")
    shared = (names.duration, *names.labels)
    whole = {name: value[name] for name in shared if name in value}
    if names.rows:
        rows = value.get(names.rows)
        for row in rows if isinstance(rows, list) else ():
            yield whole | dict(_named(row, names))
        return
    columns = {name: entry for name, entry in value.items() if isinstance(entry, list)}
    if names.text not in columns:
        yield value
        return
    for place in range(len(columns[names.text])):
        # A column that is shorter than the texts leaves the rest of them without its value.
        yield whole | {name: entry[place] for name, entry in columns.items() if place < len(entry)}


def _named(row: object, names: Names) -> Mapping[str, Any]:
    if isinstance(row, dict):
        return row
    if isinstance(row, list):
        return dict(zip(names.fields, row, strict=False))
    raise ValueError(f"a row is {type(row).__name__}, neither an object nor a list")


def _unusable(what: str, cure: str, file: str) -> InputError:
    return InputError(
        f"the annotations are of no use: {what}", cure=cure, input=file, stage="import_annotations"
    )
