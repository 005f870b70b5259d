"""Published annotation files: rows of a text and its times, by video.

Every data set has a form of its own, but they differ in few ways: rows in CSV or JSON, a list of
rows under the name of each video, or the columns of a video as lists side by side. One reader with
a map of names takes them all, instead of an importer per data set. The files are strangers' work:
size and rows are bounded, a file that cannot be read names the place, and a row that cannot be used
is kept with the reason, so that what a data set loses on the way can be counted.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clipmill.schemas.errors import InputError
from clipmill.stages.asr_text.untrusted import clean_line

FORMS = ("json", "jsonl", "ndjson", "csv", "tsv")
MAX_BYTES = 100 << 20
MAX_ROWS = 2_000_000  # of a file
MAX_S = 1_000_000.0  # eleven days; later times are no seconds
MAX_LABEL = 100

_CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2}(?:[.,]\d{1,6})?)")


@dataclass(frozen=True, slots=True)
class Names:
    """What the parts of a row are called in a file; an empty name is not looked for."""

    video: str
    text: str
    start: str
    end: str
    span: str = ""  # a pair (start, end) in place of the two
    duration: str = ""
    labels: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()  # names of the values of a row that is a list
    root: str = ""
    rows: str = ""
    max_chars: int = 500


@dataclass(slots=True)
class Row:
    """One annotation as published; `refused` says why it is of no use."""

    number: int  # counted from 1 in its file
    text: str = ""
    start_s: float = 0.0
    end_s: float = 0.0
    duration_s: float | None = None  # of the video, as the file has it
    labels: dict[str, str] = field(default_factory=dict)
    refused: str | None = None


def read_annotations(data: bytes, form: str, names: Names, file: str) -> dict[str, list[Row]]:
    """The rows of every video, by its name in the file; "" holds rows that name no video.

    Raises InputError for a file that is not of its form or holds nothing of what `names` names.
    """
    found: dict[str, list[Row]] = {}
    seen: set[str] = set()
    try:
        for number, (video, values) in enumerate(_records(data, form, names), 1):
            if number > MAX_ROWS:
                raise _unusable(f"more than {MAX_ROWS:,} rows", "split it", file)
            seen.update(values if len(seen) < 64 else ())
            named = video or _line(values.get(names.video), 1024)
            found.setdefault(named, []).append(_row(number, values, names))
    except (ValueError, RecursionError, csv.Error) as broken:
        raise _unusable(
            f"it cannot be read as {form.upper()}: {broken}", "mend it, or convert it", file
        ) from broken
    wanted = [names.text, *([names.span] if names.span else [names.start])]
    missing = [name for name in wanted if name not in seen]
    if found and missing:
        raise _unusable(
            f"no row has {' and '.join(map(repr, missing))}",
            f"rows have {', '.join(sorted(clean_line(name, 40) for name in seen)[:20])}; "
            "set text, start, end or span to the right names",
            file,
        )
    return found


def _records(data: bytes, form: str, names: Names) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(video or "", row as names and values) of every row."""
    text = data.decode("utf-8-sig", errors="replace")
    if form in ("csv", "tsv"):
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
        if isinstance(whole, dict) and {names.text, names.rows} & set(whole):
            for row in _rows_of(whole, names):
                yield "", row
        elif isinstance(whole, dict):
            for video, value in whole.items():
                for row in _rows_of(value, names):
                    yield video, row
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
    whole = {name: value[name] for name in (names.duration,) if name in value}
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


def _row(number: int, values: Mapping[str, Any], names: Names) -> Row:
    row = Row(number, _line(values.get(names.text), names.max_chars))
    start, end = values.get(names.start), values.get(names.end)
    if names.span:
        pair = values.get(names.span)
        start, end = pair if isinstance(pair, Sequence) and len(pair) == 2 else (None, None)
    first = seconds(start)
    last = first if end in (None, "") else seconds(end)
    row.duration_s = seconds(values.get(names.duration)) if names.duration else None
    row.labels = {name: _line(values.get(name), MAX_LABEL) for name in names.labels}
    if not row.text:
        row.refused = "no_text"
    elif first is None or last is None:
        row.refused = "no_time"
    elif last < first:
        row.refused = "backwards"
    else:
        row.start_s, row.end_s = first, last
    return row


def seconds(value: object) -> float | None:
    """A time as a number of seconds or as h:mm:ss.fff; None if it is neither, or no time."""
    if isinstance(value, str):
        if clock := _CLOCK.fullmatch(value.strip()):
            hours, minutes, rest = clock.groups()
            value = int(hours or 0) * 3600 + int(minutes) * 60 + float(rest.replace(",", "."))
        else:
            try:
                value = float(value[:40])
            except ValueError:
                return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return float(value) if 0 <= value <= MAX_S else None


def _line(value: object, limit: int) -> str:
    if isinstance(value, bool | int | float):
        value = json.dumps(value)
    return clean_line(value, limit) if isinstance(value, str) else ""


def _unusable(what: str, cure: str, file: str) -> InputError:
    return InputError(
        f"the annotations are of no use: {what}", cure=cure, input=file, stage="import_annotations"
    )
