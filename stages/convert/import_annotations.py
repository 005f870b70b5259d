"""Take the annotations that somebody published with the videos as one canonical record.

What people marked is worth more than what a model guesses, if it is about the file at hand: times
count from the start of the video that was annotated, so a video whose declared duration differs is
refused row by row. Nothing is mended here. Events, rated stretches and questions go to layers of
their own as published, in an order that follows from time and text alone, so that two files that
tell the same give the same record; `check_timeline` judges them like any other events, and rows of
no use leave their reason and their numbers behind.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from clipmill.schemas.clocks import Span
from clipmill.schemas.errors import InputError, RecipeError, Unreadable
from clipmill.schemas.fingerprints import fingerprint
from clipmill.schemas.records import Author, Part, Segment, Video
from clipmill.stages.convert.annotation_files import FORMS
from clipmill.stages.convert.annotation_rows import Layout, Names, Row
from clipmill.stages.convert.layouts import LAYOUTS
from clipmill.stages.convert.open_annotations import Published, published, revision_of
from clipmill.stages.media.probe import probed
from clipmill.stages.media.source import local_path
from clipmill.stages.stage import Stage, StageSettings

T = TypeVar("T")

LISTED = 20  # numbers of refused rows that are written out, per reason


def _absolute(file: str) -> str:
    # Workers run in folders of their own.
    return str(Path(file).expanduser().absolute()) if file and "://" not in file else file


def _has_form(file: str) -> str:
    if file and file.rpartition(".")[2].lower() not in FORMS:
        raise ValueError(f"annotations are read from {', '.join(FORMS)}")
    return file


def _known(layout: str) -> str:
    if layout and layout not in LAYOUTS:
        raise ValueError(f"layouts are {', '.join(LAYOUTS)}")
    return layout


LayerName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Settings(StageSettings):
    file: Annotated[str, AfterValidator(_has_form), AfterValidator(_absolute)] = ""
    """One file for all videos (json, jsonl, csv, tsv, txt); empty: the one that the list of inputs
    names (column `annotations`), or one beside each video."""
    layout: Annotated[str, AfterValidator(_known)] = ""
    """A data set whose layout is known, e.g. charades_sta, qvhighlights or youcook2, in place of
    the names below; where the list of inputs names one (column `layout`), that is taken."""
    beside: str = Field(default="annotations", pattern=r"^[\w.-]+$")
    """For files beside videos: FILM.annotations.json lies next to FILM.mp4."""
    layer: LayerName = "events"
    """Layer of the events."""
    rated: str = Field(default="", pattern=r"^([a-z][a-z0-9_]*)?$")
    """Layer of rows that have a rating, kept as score `rating`; empty: they are refused."""
    questions: str = Field(default="", pattern=r"^([a-z][a-z0-9_]*)?$")
    """Layer of rows that have a question, each with a sample of kind `question`; empty: refused."""
    role: str = Field(default="caption", pattern=r"^[a-z0-9_:]+$")
    """Role of their texts."""
    video: str = "video_id"
    """Name of the value that names the video: its id, or its file's name with or without ending.
    Not used where the file lists rows below the names of videos."""
    text: str = "text"
    """Name of the text."""
    start: str = "start"
    """Name of the time of the start, in seconds or as h:mm:ss; empty, and no `span`: rows are about
    the whole video."""
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
    rating: str = ""
    """Name of a rating: a number, or a list of them, whose mean is meant."""
    question: str = ""
    """Name of a question. Without a time it is about the whole video."""
    answer: str = "answer"
    """Name of its answer: one of the options, its letter, or its place counted from 0."""
    options: tuple[str, ...] = ("options",)
    """Name of the list of options, or the names of all of them."""
    asked: str = ""
    """Name of the time at which a question is asked, where the file has one: its turn's start."""
    answered: str = ""
    """Name of the time at which it is answered. Empty: as soon as its span is over."""
    foreign: int = Field(default=0, ge=0, le=100)
    """So many texts of other videos of the file, unlike all of this one, to be texts of the video
    of role `foreign`: what certainly is not told of it."""
    held_out: Annotated[str, AfterValidator(_absolute)] = ""
    """A text file of names of videos, one a line, whose rows are refused: those of a test set."""
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
    """Write published annotations as events, rated stretches and questions."""

    unit = "video"
    needs: ClassVar = {"probe"}
    provides: ClassVar = {"segments:{layer}", "texts:{role}", "texts:refused_{layer}"}

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._all: Published | None = None
        self._held_out: frozenset[str] = frozenset()

    def adds(self) -> frozenset[str]:
        settings = self.settings
        more = {f"labels:{name}" for name in (*settings.labels, *_labels(settings.layout))}
        if settings.layout and LAYOUTS[settings.layout].names.boxes:
            more.add("labels:boxes")
        if settings.rated:
            more |= {f"segments:{settings.rated}", "scores:rating"}
        if settings.questions:
            more |= {f"segments:{settings.questions}", "samples:question"}
        if settings.foreign:
            more.add("texts:foreign")
        return super().adds() | more

    def identity(self) -> dict[str, Any]:
        identity = super().identity()
        for key in ("file", "held_out"):  # the same wherever it lies, another when it changes
            if name := identity["settings"][key]:
                identity["settings"][key] = self._read(key, partial(revision_of, name))
        return identity

    def setup(self) -> None:
        settings = self.settings
        if settings.file:
            layout = self._layout(settings.layout)
            self._all = self._read("file", lambda: published(settings.file, layout))
            if set(self._all.rows) == {""}:
                raise InputError(
                    f"no row has {layout.names.video!r}, which names its video",
                    cure="set video to the right name, or put a file beside each video",
                    input=settings.file,
                    stage=self.name(),
                )
        if settings.held_out:
            text = self._read("held_out", lambda: Path(settings.held_out).read_text("utf-8"))
            self._held_out = frozenset(line.strip() for line in text.split("\n") if line.strip())

    def process(self, part: Part) -> Part:
        video, settings = part.video, self.settings
        listed = video.side_files.get("annotations", "")
        if self._all is not None:
            self._write(video, _of(video, self._all), settings.file, self._all)
        elif listed:
            layout = self._layout(video.meta.get("layout") or settings.layout)
            found = published(listed, layout)
            named = video.meta.get("video_name")
            rows = _alone(video, found) if named is None else found.rows.get(named, [])
            self._write(video, rows, listed, found)
        else:
            for side in self._beside(video):
                found = published(str(side), self._layout(settings.layout))
                self._write(video, _alone(video, found), str(side), found)
        return part

    def _beside(self, video: Video) -> list[Path]:
        path = local_path(video.source)
        if path is None:
            return []
        named = [path.with_name(f"{path.stem}.{self.settings.beside}.{form}") for form in FORMS]
        return [side for side in named if side.is_file()][:1]

    def _read(self, key: str, read: Callable[[], T]) -> T:
        try:
            return read()
        except (Unreadable, OSError) as missing:
            raise RecipeError(
                f"there are no annotations at {getattr(self.settings, key)}",
                key=key,
                cure="give the path of the published file",
                stage=self.name(),
            ) from missing

    def _layout(self, name: str) -> Layout:
        settings = self.settings
        layout = LAYOUTS.get(name) or Layout(
            Names(
                video=settings.video,
                text=settings.text,
                start=settings.start,
                end=settings.end,
                span=settings.span,
                duration=settings.duration,
                fields=settings.fields,
                root=settings.root,
                rows=settings.rows,
                rating=settings.rating,
                question=settings.question,
                answer=settings.answer,
                options=settings.options,
                asked=settings.asked,
                answered=settings.answered,
            )
        )
        labels = tuple(dict.fromkeys((*layout.names.labels, *settings.labels)))
        names = replace(layout.names, labels=labels, max_chars=settings.max_chars)
        return replace(layout, names=names)

    def _write(self, video: Video, rows: Sequence[Row], file: str, found: Published) -> None:
        settings = self.settings
        author = self.author(PurePosixPath(file).name, found.revision)
        refused: dict[str, list[int]] = defaultdict(list)
        kept: dict[str, list[Row]] = defaultdict(list)
        for place, row in enumerate(rows):
            reason = "too_many" if place >= settings.max_rows else self._refusal(row, video)
            if reason:
                refused[reason].append(row.number)
            else:
                kept[self._layer(row)].append(row)
        for layer in filter(None, (settings.layer, settings.rated, settings.questions)):
            self._add(video, layer, kept[layer], author)
        for reason, numbers in sorted(refused.items()):
            listed = ", ".join(map(str, numbers[:LISTED]))
            more = ", ..." if len(numbers) > LISTED else ""
            text = f"{reason}: {len(numbers)} rows ({listed}{more})"
            video.add_text(f"refused_{settings.layer}", text, author)
        if settings.foreign:
            rng = random.Random(fingerprint(video.id, self.label))
            own = [row.text for row in rows if row.text]
            for text in foreign(found.texts, own, settings.foreign, rng):
                video.add_text("foreign", text, author, language=settings.language or None)

    def _layer(self, row: Row) -> str:
        if row.question:
            return self.settings.questions
        return self.settings.layer if row.rating is None else self.settings.rated

    def _add(self, video: Video, layer: str, rows: list[Row], author: Author) -> None:
        whole = probed(video).span.end_s
        ends = [(whole if row.end_s is None else row.end_s, row) for row in rows]
        ends.sort(key=lambda end: (end[1].start_s, end[0], end[1].text, end[1].question))
        before = len(video.layer(layer))
        video.add_segments(layer, [Span.of_seconds(row.start_s, end) for end, row in ends])
        for segment, (_, row) in zip(video.layer(layer)[before:], ends, strict=True):
            self._tell(segment, row, author)

    def _tell(self, segment: Segment, row: Row, author: Author) -> None:
        settings = self.settings
        labels = {name: value for name, value in row.labels.items() if value}
        if row.text:
            segment.add_text(settings.role, row.text, author, language=settings.language or None)
        if row.rating is not None:
            segment.scores["rating"] = row.rating
        if row.question:
            segment.add_sample(
                "question",
                row.question,
                row.answer,
                author,
                options=list(row.options),
                evidence=[segment.span],
                labels=labels,
                turn=_turn(row, segment.span),
            )
        segment.labels.update(labels)
        if row.boxes:
            segment.labels["boxes"] = json.dumps(row.boxes, separators=(",", ":"))

    def _refusal(self, row: Row, video: Video) -> str | None:
        """Why a row is of no use for the file at hand."""
        name = video.meta.get("video_name", PurePosixPath(video.id).stem)
        if not name:
            return "no_video"
        if {name, PurePosixPath(name).stem, video.id} & self._held_out:
            return "held_out"
        if row.refused:
            return row.refused
        if not self._layer(row):
            return "question" if row.question else "rating"
        probe = probed(video)
        lasts = probe.duration_s
        if row.duration_s is not None and abs(row.duration_s - lasts) > self.settings.max_drift_s:
            return "other_duration"
        latest = max(row.start_s, row.asked_s or 0.0)
        return "outside" if latest >= probe.span.end_s else None


def foreign(pool: Sequence[str], own: Sequence[str], count: int, rng: random.Random) -> list[str]:
    """Texts of a pool that have less than half of their words in common with each of a video's own.

    Words in common are counted among those of both texts: a rule on the words of one would let long
    texts pass more easily, and length would tell them. 20 are looked at for each wanted.
    """
    known = [set(text.casefold().split()) for text in own]
    found: list[str] = []
    for text in rng.sample(pool, min(len(pool), 20 * count)):
        words = set(text.casefold().split())
        alike = any(2 * len(words & told) >= len(words | told) for told in known)
        if not alike and len(found) < count:
            found.append(text)
    return found


def _turn(row: Row, span: Span) -> Span | None:
    """From asking to answering; nobody is answered before asking."""
    if row.asked_s is None:
        return None
    answered_s = span.end_s if row.answered_s is None else row.answered_s
    return Span.of_seconds(row.asked_s, max(row.asked_s, answered_s))


def _labels(layout: str) -> tuple[str, ...]:
    return LAYOUTS[layout].names.labels if layout else ()


def _alone(video: Video, found: Published) -> list[Row]:
    """The rows of a file that is this video's alone, or names it."""
    return found.rows.get("", []) + _of(video, found)


def _of(video: Video, found: Published) -> list[Row]:
    """The rows of a video: under its id, else its file's name, else that without ending."""
    name = PurePosixPath(video.source).name
    for key in (video.id, name, PurePosixPath(video.id).stem, PurePosixPath(name).stem):
        if key and key in found.rows:
            return found.rows[key]
    return []
