"""Take the timed annotations that somebody published with the videos as events on the timeline.

What people marked is worth more than what a model guesses, if it is about the file at hand: times
count from the start of the video that was annotated, so a video whose declared duration differs is
refused row by row. Nothing is mended here. Rows go to a layer as published, `check_timeline` judges
them like any other events, and rows of no use leave their reason and their numbers behind.
"""

from __future__ import annotations

from collections import defaultdict
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from clipmill.schemas.clocks import Span
from clipmill.schemas.errors import InputError, MediaError, RecipeError
from clipmill.schemas.records import Part, Video
from clipmill.stages.convert.annotation_files import (
    FORMS,
    MAX_BYTES,
    Names,
    Row,
    read_annotations,
)
from clipmill.stages.media.probe import probed
from clipmill.stages.media.source import local, local_path
from clipmill.stages.stage import Stage, StageSettings

LISTED = 20  # numbers of refused rows that are written out, per reason


def _absolute(file: str) -> str:
    # Workers run in folders of their own.
    return str(Path(file).expanduser().absolute()) if file and "://" not in file else file


def _has_form(file: str) -> str:
    if file and _form(file) not in FORMS:
        raise ValueError(f"annotations are read from {', '.join(FORMS)}")
    return file


class Settings(StageSettings):
    file: Annotated[str, AfterValidator(_has_form), AfterValidator(_absolute)] = ""
    """One file for all videos (json, jsonl, csv, tsv); empty: a file beside each video."""
    beside: str = Field(default="annotations", pattern=r"^[\w.-]+$")
    """For files beside videos: FILM.annotations.json lies next to FILM.mp4."""
    layer: str = Field(default="events", pattern=r"^[a-z][a-z0-9_]*$")
    """Layer of the events."""
    role: str = Field(default="caption", pattern=r"^[a-z0-9_:]+$")
    """Role of their texts."""
    video: str = "video_id"
    """Name of the value that names the video: its id, or its file's name with or without ending.
    Not used where the file lists rows below the names of videos."""
    text: str = "text"
    """Name of the text."""
    start: str = "start"
    """Name of the time of the start, in seconds or as h:mm:ss."""
    end: str = "end"
    """Name of the time of the end; a row without one is a moment."""
    span: str = ""
    """Name of a pair (start, end), where the file has one in place of the two."""
    fields: tuple[str, ...] = ("text", "start", "end")
    """Names of the values of rows that are lists, in their order."""
    root: str = ""
    """For JSON: the name at the top below which the annotations lie."""
    rows: str = ""
    """For JSON by video: the name of the list of rows inside a video's object."""
    duration: str = "duration"
    """Name of the duration of the annotated video; empty: not compared."""
    max_drift_s: float = Field(default=2.0, ge=0)
    """Rows whose video was this much longer or shorter than the file at hand are refused."""
    labels: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], ...] = ()
    """Further values of a row, to be labels of its event."""
    language: str = ""
    """Language of the texts."""
    max_chars: int = Field(default=500, ge=1)
    """Longer texts are cut off."""
    max_rows: int = Field(default=5000, ge=1)
    """Rows of one video; those behind are refused."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len(set(self.fields)) < len(self.fields):
            raise ValueError("fields names two values alike")
        return self


class ImportAnnotations(Stage[Settings]):
    """Write published annotations, a text with its times, as events."""

    unit = "video"
    needs: ClassVar = {"probe"}
    provides: ClassVar = {"segments:{layer}", "texts:{role}", "texts:refused_{layer}"}

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._all: dict[str, list[Row]] = {}
        self._revision = ""

    def adds(self) -> frozenset[str]:
        return super().adds() | {f"labels:{name}" for name in self.settings.labels}

    def identity(self) -> dict[str, Any]:
        identity = super().identity()
        if self.settings.file:  # the same wherever it lies, another when it changes
            identity["settings"]["file"] = _digest(self._read(self.settings.file))
        return identity

    def setup(self) -> None:
        if self.settings.file:
            data = self._read(self.settings.file)
            self._revision = _digest(data)
            self._all = self._parse(data, self.settings.file)
            if set(self._all) == {""}:
                raise InputError(
                    f"no row has {self.settings.video!r}, which names its video",
                    cure="set video to the right name, or put a file beside each video",
                    input=self.settings.file,
                    stage=self.name(),
                )

    def process(self, part: Part) -> Part:
        video = part.video
        if self.settings.file:
            rows = self._of(video, self._all)
            self._write(video, rows, Path(self.settings.file).name, self._revision)
        else:
            for side in self._beside(video):
                data = self._read(str(side))
                by_video = self._parse(data, str(side))
                rows = by_video.get("", []) + self._of(video, by_video)
                self._write(video, rows, side.name, _digest(data))
        return part

    def _beside(self, video: Video) -> list[Path]:
        path = local_path(video.source)
        if path is None:
            return []
        named = [path.with_name(f"{path.stem}.{self.settings.beside}.{form}") for form in FORMS]
        return [side for side in named if side.is_file()][:1]

    def _read(self, file: str) -> bytes:
        try:
            with local(file) as path:
                if path.stat().st_size > MAX_BYTES:
                    raise InputError(
                        f"the annotations have {path.stat().st_size >> 20} MB",
                        cure=f"files up to {MAX_BYTES >> 20} MB are read; split it",
                        input=file,
                        stage=self.name(),
                    )
                return path.read_bytes()
        except MediaError as missing:
            raise RecipeError(
                f"there are no annotations at {file}",
                key="file",
                cure="give the path of the published file",
                stage=self.name(),
            ) from missing

    def _parse(self, data: bytes, file: str) -> dict[str, list[Row]]:
        settings = self.settings
        names = Names(
            settings.video,
            settings.text,
            settings.start,
            settings.end,
            settings.span,
            settings.duration,
            settings.labels,
            settings.fields,
            settings.root,
            settings.rows,
            settings.max_chars,
        )
        return read_annotations(data, _form(file), names, file)

    def _of(self, video: Video, by_video: dict[str, list[Row]]) -> list[Row]:
        """The rows of a video: under its id, else its file's name, else that without ending."""
        name = PurePosixPath(video.source).name
        for key in (video.id, name, PurePosixPath(video.id).stem, PurePosixPath(name).stem):
            if key and key in by_video:
                return by_video[key]
        return []

    def _write(self, video: Video, rows: list[Row], file: str, revision: str) -> None:
        settings = self.settings
        author = self.author(file, revision)
        refused: dict[str, list[int]] = defaultdict(list)
        kept = []
        for place, row in enumerate(rows):
            reason = "too_many" if place >= settings.max_rows else self._refusal(row, video)
            if reason:
                refused[reason].append(row.number)
            else:
                kept.append(row)
        kept.sort(key=lambda row: (row.start_s, row.end_s))
        before = len(video.layer(settings.layer))
        video.add_segments(settings.layer, [Span.of_seconds(r.start_s, r.end_s) for r in kept])
        for segment, row in zip(video.layer(settings.layer)[before:], kept, strict=True):
            segment.add_text(settings.role, row.text, author, language=settings.language or None)
            segment.labels.update({name: value for name, value in row.labels.items() if value})
        for reason, numbers in sorted(refused.items()):
            listed = ", ".join(map(str, numbers[:LISTED]))
            more = ", ..." if len(numbers) > LISTED else ""
            text = f"{reason}: {len(numbers)} rows ({listed}{more})"
            video.add_text(f"refused_{settings.layer}", text, author)

    def _refusal(self, row: Row, video: Video) -> str | None:
        """Why a row is of no use for the file at hand."""
        if row.refused:
            return row.refused
        probe = probed(video)
        lasts = probe.duration_s
        if row.duration_s is not None and abs(row.duration_s - lasts) > self.settings.max_drift_s:
            return "other_duration"
        return "outside" if row.start_s >= probe.span.end_s else None


def _form(file: str) -> str:
    return file.rpartition(".")[2].lower()


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()
