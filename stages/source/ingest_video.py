"""Reads the list of inputs: a folder, a file, a glob, a text list or a manifest, near or far.

A record of a manifest that names no media but a file of annotations stands for all videos that file
tells of (`annotated_sets.py`), whether they are there or not.

Not a stage on parts but what comes before them: one lazy, sorted stream of `Video` records, so that
two runs see the same inputs in the same order. Media is not opened here. A file that turns out to
be missing or broken is a counted failure of that input later, while a list that contradicts itself
(an id twice, no path column) stops the run before any work, because no count could then add up.

Manifests are written by strangers: text is stripped of control characters and capped, and a column
that nobody knows is kept as a string and never interpreted.
"""

from __future__ import annotations

import csv
import glob
import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

from pydantic import Field

from clipmill.schemas.errors import InputError
from clipmill.schemas.records import Video
from clipmill.stages.source.annotated_sets import AnnotatedSet, videos_of
from clipmill.stages.stage import StageSettings

MEDIA = "3gp asf avi flv gif m2ts m4v mkv mov mp4 mpeg mpg mts mxf ogv ts vob webm wmv y4m"
MANIFESTS = ("csv", "jsonl", "ndjson", "parquet", "tsv")

MAX_LINE = 1_000_000
"""Characters of one line of a list or manifest; a longer one is not a manifest."""

_ID_CAP = 1024
_KNOWN = ("title", "description", "licence", "license", "consent", "provenance")
_SIDE_FILES = ("subtitles", "annotations")


class Settings(StageSettings):
    pattern: str = "**/*"
    """Which files below an input folder are taken, as a glob; `**` crosses folders."""
    extensions: list[str] = Field(default_factory=lambda: MEDIA.split())
    """File name endings that count as video in folders and globs, without the dot."""
    all_files: bool = False
    """Take every file of a folder, whatever its ending; what is no video is counted as failed."""
    path_column: str = "path"
    """Manifest column with the path or URI of the media; `uri`, `url`, `video` serve if absent."""
    id_column: str = "id"
    """Manifest column with the video's id; without it the path is the id."""
    max_text: int = Field(default=100_000, ge=1)
    """Characters kept of one manifest value; the rest is cut off."""
    max_columns: int = Field(default=256, ge=1)
    """Columns a manifest may have."""


def ingest(source: str, settings: Settings) -> Iterator[Video]:
    """The inputs of a run, in an order that does not depend on the file system.

    `source` is a folder, a media file, a glob, a `.txt` list, or a Parquet, CSV, TSV or JSONL
    manifest, local or as a URI (`s3://...`). Raises InputError for a list that cannot be used.
    """
    seen: set[str] = set()
    for video in _videos(source, settings):
        if video.id in seen:
            raise InputError(
                f"the id {video.id!r} is given twice",
                input=source,
                cure="give every input an id of its own, or remove the repeated line",
            )
        seen.add(video.id)
        yield video


def _videos(source: str, settings: Settings) -> Iterator[Video]:
    if _is_uri(source):
        yield from _remote(source, settings)
        return
    path = Path(source)
    if path.is_dir():
        yield from _folder(path, settings.pattern, settings)
    elif path.is_file():
        ending = _ending(path.name)
        if ending == "txt" or ending in MANIFESTS:
            yield from _listed(source, str(path.parent), settings)
        else:
            yield Video(_id(path.name, source), str(path.absolute()))
    elif glob.has_magic(source):
        yield from _globbed(source, settings)
    else:
        raise InputError(
            "there is no such file or folder", input=source, cure="check the path of INPUT"
        )


def _folder(root: Path, pattern: str, settings: Settings) -> Iterator[Video]:
    found = sorted(
        (path.relative_to(root).as_posix(), path)
        for path in root.glob(pattern)
        if path.is_file() and _is_media(path.relative_to(root).as_posix(), settings)
    )
    if not found:
        raise _nothing(str(root), pattern)
    for name, path in found:
        yield Video(_id(name, str(root)), str(path.absolute()))


def _globbed(pattern: str, settings: Settings) -> Iterator[Video]:
    # Ids count from the last folder before the first wildcard, as they would for that folder.
    pieces = PurePosixPath(pattern).parts
    first = next(number for number, piece in enumerate(pieces) if glob.has_magic(piece))
    return _folder(Path(*pieces[:first]), str(PurePosixPath(*pieces[first:])), settings)


def _remote(source: str, settings: Settings) -> Iterator[Video]:
    import fsspec

    ending = _ending(source)
    if ending == "txt" or ending in MANIFESTS:
        yield from _listed(source, source.rsplit("/", 1)[0], settings)
        return
    system, root = fsspec.core.url_to_fs(source)
    if system.isfile(root):
        yield Video(_id(source.rsplit("/", 1)[-1], source), source)
        return
    base = root.rstrip("/") + "/"
    names = sorted(
        str(name)[len(base) :]
        for name in system.glob(base + settings.pattern)
        if str(name).startswith(base) and _is_media(str(name)[len(base) :], settings)
    )
    if not names:
        raise _nothing(source, settings.pattern)
    for name in names:
        yield Video(_id(name, source), system.unstrip_protocol(base + name))


def _listed(source: str, base: str, settings: Settings) -> Iterator[Video]:
    """Videos of a list or manifest; relative paths count from its own folder."""
    readers: dict[str, Callable[[str], Iterable[Mapping[str, Any]]]] = {
        "txt": lambda name: _text_rows(name, settings),
        "csv": lambda name: _csv_rows(name, ","),
        "tsv": lambda name: _csv_rows(name, "\t"),
        "jsonl": _json_rows,
        "ndjson": _json_rows,
        "parquet": _parquet_rows,
    }
    empty = True
    for number, row in enumerate(readers[_ending(source)](source), start=1):
        empty = False
        yield from _from_row(row, f"{source}, record {number}", base, settings)
    if empty:
        raise InputError("the list is empty", input=source, cure="list at least one input")


def _from_row(row: Mapping[str, Any], place: str, base: str, settings: Settings) -> Iterator[Video]:
    if len(row) > settings.max_columns:
        raise InputError(
            f"{len(row)} columns", input=place, cure="raise input.max_columns if they are meant"
        )
    columns = {str(key): _clean(value, settings.max_text) for key, value in row.items()}
    paths = [settings.path_column, "uri", "url", "video"]
    path_column = next((name for name in paths if columns.get(name)), None)
    if path_column is None and not columns.get("annotations"):
        raise InputError(
            f"no path: none of the columns {', '.join(paths)} holds one, and none of annotations",
            input=place,
            cure=f"its columns are {', '.join(sorted(columns)[:20])}; set input.path_column",
        )
    path = columns.pop(path_column) if path_column else ""
    given_id = columns.pop(settings.id_column, "")
    known = {name: columns.pop(name, "") for name in _KNOWN}
    side_files = {
        name: _located(file, base) for name in _SIDE_FILES if (file := columns.pop(name, ""))
    }
    found = AnnotatedSet.of(columns, base, side_files, place) if not path else None
    meta = {name: value for name, value in sorted(columns.items()) if value}
    meta |= {name: known[name] for name in ("title", "description") if known[name]}
    video = Video(
        id=_id(given_id or path, place) if path else "",
        source=_located(path, base),
        licence=known["licence"] or known["license"] or None,
        consent=known["consent"] or None,
        provenance=known["provenance"] or None,
        meta=meta,
        side_files=side_files,
    )
    if found is None:
        yield video
    else:
        for one in videos_of(found, video, settings.extensions):
            one.id = _id(one.id, place)
            yield one


def _text_rows(source: str, settings: Settings) -> Iterator[dict[str, str]]:
    for line in _lines(source):
        text = line.strip()
        if text and not text.startswith("#"):
            yield {settings.path_column: text}


def _csv_rows(source: str, delimiter: str) -> Iterator[dict[str, Any]]:
    rows = csv.reader(_lines(source), delimiter=delimiter, strict=True)
    try:
        header = next(rows, None)
        if header is None:
            return
        if len(set(header)) != len(header):
            raise InputError("a column name is used twice", input=source, cure="rename one")
        for number, row in enumerate(rows, start=2):
            if not row:
                continue
            if len(row) != len(header):
                raise InputError(
                    f"{len(row)} fields where the header has {len(header)}",
                    input=f"{source}, row {number}",
                    cure='quote fields that hold a delimiter: "a, b"',
                )
            yield dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise InputError(
            f"not CSV: {error}", input=f"{source}, line {rows.line_num}", cure="mend that line"
        ) from error


def _json_rows(source: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(_lines(source), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"not JSON: {error}", input=f"{source}, line {number}", cure="mend that line"
            ) from error
        if not isinstance(row, dict):
            raise InputError(
                "not a JSON object", input=f"{source}, line {number}", cure="write one {...} a line"
            )
        yield row


def _parquet_rows(source: str) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with _open(source) as file:
            for batch in pq.ParquetFile(file).iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise InputError(
            f"not Parquet: {error}", input=source, cure="write the manifest again"
        ) from error


def _lines(source: str) -> Iterator[str]:
    """Lines with their ends, so that CSV can tell a line break inside quotes."""
    with _open(source) as file:
        number = 0
        while raw := file.readline(MAX_LINE + 1):
            number += 1
            if len(raw) > MAX_LINE:
                raise InputError(
                    f"a line longer than {MAX_LINE} bytes",
                    input=f"{source}, line {number}",
                    cure="is it a manifest?",
                )
            try:
                # utf-8-sig: spreadsheets begin their CSV with a byte order mark.
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InputError(
                    "not UTF-8", input=f"{source}, line {number}", cure="save it as UTF-8"
                ) from error


def _open(source: str) -> IO[bytes]:
    if not _is_uri(source):
        return Path(source).open("rb")
    import fsspec

    file: IO[bytes] = fsspec.open(source, "rb").open()
    return file


def _clean(value: Any, cap: int) -> str:
    """A manifest value as text without control characters; absent and NaN are empty."""
    if value is None or value != value:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, default=str, sort_keys=True)
    kept = (c for c in text[:cap] if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))
    return "".join(kept).strip()


def _id(text: str, place: str) -> str:
    cleaned = _clean(text, len(text)).replace("\n", " ").replace("\t", " ")
    if not cleaned or len(cleaned) > _ID_CAP:
        raise InputError(
            f"an id of {len(cleaned)} characters",
            input=place,
            cure=f"give every input an id of 1 to {_ID_CAP} characters",
        )
    return cleaned


def _located(path: str, base: str) -> str:
    if _is_uri(path):
        return path
    if _is_uri(base):
        return f"{base.rstrip('/')}/{path}"
    return str((Path(base) / path).absolute())


def _nothing(source: str, pattern: str) -> InputError:
    return InputError(
        f"no video matches {pattern!r} with a known ending",
        input=source,
        cure="check the folder, or set input.pattern, input.extensions or input.all_files",
    )


def _is_media(name: str, settings: Settings) -> bool:
    # Hidden files include what some systems leave beside a video under the same ending.
    if any(piece.startswith(".") for piece in PurePosixPath(name).parts):
        return False
    return settings.all_files or _ending(name) in {e.lower() for e in settings.extensions}


def _ending(name: str) -> str:
    return PurePosixPath(name).suffix.lstrip(".").lower()


def _is_uri(text: str) -> bool:
    return "://" in text
