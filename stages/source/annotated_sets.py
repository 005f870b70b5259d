"""Inputs that are known by their annotations: one record for a data set, one input for each video.

A published set names thousands of videos, of which few may be at hand, and tasks made of times and
texts need none of them. So a record of a list may give the set's file in place of a path:

    annotations             layout         set       videos     durations
    charades_sta_train.txt  charades_sta   charades  videos/    Charades_v1_train.csv

The video's media is looked for below `videos`. Where it is not, the file of annotations itself is
the input: it is what the result depends on, so a change of it is noticed as one of media would be.
The length comes from the file, else from the table `durations`, else the last annotated time stands
for it, and the column `duration_from` says which. What the set calls the video is `video_name`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Self

from clipmill.schemas.errors import InputError, MediaError
from clipmill.schemas.records import Video
from clipmill.stages.convert.annotation_rows import Layout, Names, Row, seconds
from clipmill.stages.convert.layouts import LAYOUTS
from clipmill.stages.convert.open_annotations import bounded, published
from clipmill.stages.media.source import local, local_path

UNNAMED = "rows-without-a-video"
"""Stands for the rows that name no video, so that they are counted like all others."""

_PLAIN = Layout(Names("video_id", "", "start", "end", "", "duration"))
"""Files whose names the recipe knows: here only their videos and lengths are looked for."""
_NAMES = ("id", "video_id", "video", "name", "vid")
_LENGTHS = ("duration", "length", "seconds")


@dataclass(frozen=True, slots=True)
class AnnotatedSet:
    """A data set as a list names it. Files are paths or URIs."""

    name: str
    file: str
    layout: str
    videos: str = ""
    durations: str = ""
    place: str = ""  # in the list, for messages

    @classmethod
    def of(
        cls, columns: dict[str, str], base: str, side_files: Mapping[str, str], place: str
    ) -> Self:
        """The set of a record; takes what it uses out of `columns`, but its name and layout."""
        folder, table = columns.pop("videos", ""), columns.pop("durations", "")
        file = side_files["annotations"]
        name = columns.setdefault("set", PurePosixPath(file).stem)
        layout = columns.get("layout", "")
        if layout and layout not in LAYOUTS:
            raise InputError(
                f"there is no layout {layout!r}",
                cure=f"name one of {', '.join(LAYOUTS)}; or none, and set the names in the recipe",
                input=place,
            )

        def at(path: str) -> str:
            joined = path if "://" in path or not path else str(PurePosixPath(base) / path)
            return joined if "://" in joined or not path else str(Path(joined).absolute())

        return cls(name, file, layout, at(folder), at(table), place)


def videos_of(found: AnnotatedSet, like: Video, extensions: Iterable[str]) -> Iterator[Video]:
    """An input for every video of the set, with the columns of `like`, in order of their names."""
    media = _media(found, extensions)
    lengths = _durations(found.durations) if found.durations else {}
    try:
        rows = published(found.file, LAYOUTS.get(found.layout, _PLAIN)).rows
    except MediaError as missing:
        raise InputError(
            f"there are no annotations at {found.file}",
            cure="paths count from the list's own folder",
            input=found.place,
        ) from missing
    if set(rows) == {""}:
        raise InputError(
            "no row of the annotations names a video",
            cure="name the layout of the file, or convert it to one with a column video_id",
            input=found.file,
        )
    for name in sorted(rows):
        length, source = _length(name, rows[name], lengths)
        yield replace(
            like,
            id=f"{found.name}/{name or UNNAMED}",
            source=media.get(PurePosixPath(name).stem, found.file) if name else found.file,
            meta=like.meta
            | {"video_name": name, "duration": f"{length:.3f}", "duration_from": source},
            side_files=dict(like.side_files),
        )


def _length(name: str, rows: list[Row], lengths: Mapping[str, float]) -> tuple[float, str]:
    """Seconds, and where they come from."""
    told = [row.duration_s for row in rows if row.duration_s]
    if told:
        return told[0], "file"
    for key in (name, PurePosixPath(name).stem):
        if key in lengths:
            return lengths[key], "table"
    ends = [row.end_s or row.start_s for row in rows if row.refused in (None, "no_text")]
    return max(ends, default=0.0), "last_end"


def _media(found: AnnotatedSet, extensions: Iterable[str]) -> dict[str, str]:
    """Name without ending -> path, of the media below the set's folder."""
    if not found.videos:
        return {}
    folder = local_path(found.videos)
    if folder is None or not folder.is_dir():
        raise InputError(
            f"there is no local folder {found.videos}",
            cure="give the folder of the set's media, or leave `videos` empty",
            input=found.place,
        )
    endings = {f".{ending.lower()}" for ending in extensions}
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in endings)
    return {path.stem: str(path.absolute()) for path in reversed(files)}


def _durations(file: str) -> dict[str, float]:
    """Name -> seconds, from an object of numbers, or rows with a name and a length."""
    with local(file) as path:
        text = bounded(path, file).decode("utf-8-sig", errors="replace")
    rows: Iterable[Mapping[str, Any]]
    try:
        if file.lower().endswith((".csv", ".tsv")):
            tab = file.lower().endswith(".tsv")
            rows = list(
                csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if tab else ",")
            )
        else:
            whole = json.loads(text)
            if isinstance(whole, dict):
                rows = [{"id": name, "duration": value} for name, value in whole.items()]
            else:
                rows = [row for row in whole if isinstance(row, dict)]
    except (ValueError, RecursionError, csv.Error) as broken:
        raise InputError(
            f"the table of durations cannot be read: {broken}",
            cure="give CSV, TSV or JSON with a name and a duration per video",
            input=file,
        ) from broken
    found = {}
    for row in rows:
        name = next((str(row[key]) for key in _NAMES if row.get(key)), "")
        length = next((seconds(row[key]) for key in _LENGTHS if row.get(key)), None)
        if name and length:
            found[name] = length
    if not found:
        raise InputError(
            "the table of durations names none",
            cure=f"it needs a column {' or '.join(_NAMES)} and one {' or '.join(_LENGTHS)}",
            input=file,
        )
    return found
