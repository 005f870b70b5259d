"""What the uploader says about a video: title, description, hashtags, chapters.

All of it is a weak label, true of the video as a whole at best and advertising at worst; the author
of each text says so (`weak:`), so that no recipe mistakes it for a caption. Chapters are taken only
from a description that keeps the rules a chapter list keeps (below), all of them or none: half a
list of times gives wrong extents to the rest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from pydantic import Field, model_validator

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Part, Video
from clipmill.stages.asr_text.untrusted import clean, clean_line
from clipmill.stages.stage import Stage, StageSettings

TITLES = ("title",)
DESCRIPTIONS = ("description", "caption", "alt_text", "alt", "synopsis", "comment", "summary")
HASHTAGS = ("hashtags", "tags", "keywords")

MAX_TITLE, MAX_DESCRIPTION, MAX_LABEL = 300, 10_000, 100
MAX_HASHTAGS, MAX_CHAPTERS = 50, 500

_HASHTAG = re.compile(r"(?<![\w#&/])#(\w{2,50})\b")
_TIME = r"(?:(\d{1,2}):)?(\d{1,3}):([0-5]\d)(?![\d:])"
_LEADING = re.compile(
    rf"^[^\w:]{{0,10}}(?:\d{{1,3}}[.)]\s+)?[\[(]?{_TIME}"
    r"(?:\s*[-\u2013\u2014]\s*[\d:]{4,9})?[\])]?[\s\-\u2013\u2014:|.,]*(.*)$"
)
_TRAILING = re.compile(rf"^(.*?)[\s\-\u2013\u2014:|.,]*(?<![\w:/.?&=])[\[(]?{_TIME}[\])]?\s*$")
_NUMBERING = re.compile(r"^(?:part|chapter|section|track|scene|step|video|no)?[\s.#]*\d*$", re.I)


class Settings(StageSettings):
    chapters: bool = True
    """Make segments (layer `chapters`) of a list of times in the description."""
    labels: list[str] = Field(default=[], max_length=20)
    """Columns of the manifest, such as category or channel, to be labels of segments."""
    layer: str = ""
    """Segments that get the labels; needed where `labels` names any."""

    @model_validator(mode="after")
    def _labels_need_a_layer(self) -> Settings:
        if self.labels and not self.layer:
            raise ValueError(
                "labels are written on segments: set layer to the layer that gets them"
            )
        return self


class ParseMetadata(Stage[Settings]):
    """Write the uploader's title, description, hashtags and chapters onto the timeline."""

    version = 2
    unit = "video"
    needs: ClassVar = {"probe"}
    provides: ClassVar = {"texts:title", "texts:description", "texts:hashtags"}

    def reads(self) -> frozenset[str]:
        return super().reads() | (
            {f"segments:{self.settings.layer}"} if self.settings.layer else set()
        )

    def adds(self) -> frozenset[str]:
        chapters = {"segments:chapters"} if self.settings.chapters else set()
        return super().adds() | chapters | {f"labels:{name}" for name in self.settings.labels}

    def process(self, part: Part) -> Part:
        video = part.video
        titles = self._write(video, "title", TITLES, MAX_TITLE)
        descriptions = self._write(video, "description", DESCRIPTIONS, MAX_DESCRIPTION)
        self._write_hashtags(video, titles + descriptions)
        if self.settings.chapters and video.probe is not None:
            for description in descriptions:
                found = chapters(description, video.probe.duration_s)
                if found:
                    self._write_chapters(video, found)
                    break
        for segment in video.layer(self.settings.layer) if self.settings.labels else ():
            for name in self.settings.labels:
                if value := clean_line(video.meta.get(name, ""), MAX_LABEL):
                    segment.labels[name] = value
        return part

    def _write(self, video: Video, role: str, names: tuple[str, ...], limit: int) -> list[str]:
        """The distinct texts under `names`; the manifest's before the file's own tags."""
        written: list[str] = []
        tags = video.probe.tags if video.probe else {}
        for place, values in (("manifest", video.meta), ("file", tags)):
            by_name = {name.lower(): value for name, value in values.items()}
            for name in names:
                raw = by_name.get(name, "")
                text = clean_line(raw, limit) if role == "title" else clean(raw, limit)
                if text and text not in written:
                    written.append(text)
                    video.add_text(role, text, self.author(f"weak:{place}", prompt=name))
        return written

    def _write_hashtags(self, video: Video, texts: list[str]) -> None:
        found = [tag for text in texts for tag in _HASHTAG.findall(text)]
        for name in HASHTAGS:
            listed = clean_line(video.meta.get(name, ""), MAX_DESCRIPTION)
            found += [tag.strip("#[]\"' ") for tag in re.split(r"[,;|]|\s+(?=#)", listed)]
        distinct: dict[str, str] = {}
        for tag in filter(None, found):
            distinct.setdefault(tag.casefold(), tag)
        if distinct:
            listed = ", ".join(list(distinct.values())[:MAX_HASHTAGS])
            video.add_text("hashtags", listed, self.author("weak:manifest", prompt="hashtags"))

    def _write_chapters(self, video: Video, found: list[tuple[Span, str]]) -> None:
        before = len(video.layer("chapters"))
        video.add_segments("chapters", [span for span, _ in found])
        for segment, (_, title) in zip(video.layer("chapters")[before:], found, strict=True):
            segment.add_text("title", title, self.author("weak:manifest", prompt="chapters"))


def chapters(description: str, duration_s: float) -> list[tuple[Span, str]]:
    """Chapters that a description lists, or none of them.

    The rule of VidChapters-7M: more than one time, strictly increasing, titles that say something;
    and, because descriptions are copied to cuts of other lengths, every time within the video. A
    line counts where a time opens or closes it, as in most lines of the list or next to one of
    them: "live on Friday at 18:00" further below is no chapter. The last ends with the video.
    """
    entries = [_entry(line[:400].strip()) for line in description.splitlines()]
    opens = [entry is not None and entry.opens for entry in entries]
    closes = [entry is not None and not entry.opens for entry in entries]
    usual = opens if sum(opens) >= sum(closes) else closes
    listed = [
        (entry.start, entry.title)
        for place, entry in enumerate(entries)
        if entry is not None and any(usual[max(0, place - 1) : place + 2])
    ]
    starts = [start for start, _ in listed]
    end = MILLISECONDS.tick(duration_s, "floor")
    rising = all(a < b for a, b in pairwise([*starts, end]))
    if not 1 < len(listed) <= MAX_CHAPTERS or not rising:
        return []
    titles = [title for _, title in listed]
    if any(_trivial(title) for title in titles) or len(set(titles)) == 1:
        return []
    spans = [Span(MILLISECONDS, a, b) for a, b in pairwise([*starts, end])]
    return list(zip(spans, titles, strict=True))


@dataclass(frozen=True, slots=True)
class _Entry:
    start: int  # milliseconds
    title: str
    opens: bool  # the time stands before the title


def _entry(line: str) -> _Entry | None:
    """What a line with a time at its beginning or end lists."""
    opening = _LEADING.match(line)
    if match := opening:
        *time, title = match.groups()
    elif match := _TRAILING.match(line):
        title, *time = match.groups()
    else:
        return None
    hours, minutes, seconds = (int(part or 0) for part in time)
    if time[0] and minutes > 59:
        return None
    start = ((hours * 60 + minutes) * 60 + seconds) * 1000
    return _Entry(start, clean_line(title, MAX_TITLE), opening is not None)


def _trivial(title: str) -> bool:
    """Whether a title says nothing: empty, one letter, or a number with or without `Part`."""
    return sum(letter.isalpha() for letter in title) < 2 or bool(_NUMBERING.match(title))
