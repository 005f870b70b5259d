"""Write a video as one document of pictures and texts in the order of time, for training on both.

`build_document` sets words against evenly spaced frames; this is for videos that teach: the key
frames that are left of each clip, what is written on them and what is said, clip after clip. Two
lists of one length hold either a picture or a text at each place and null at the other, the form of
OBELICS that the Multimodal Textbook is published in. Pictures are named by clip and number and have
their second beside them; they are not copied, because the video is in the shard. A clip that the
recipe leaves out (`when`) leaves its pictures and texts out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.records import Part, Segment
from clipmill.stages.models.teacher_stage import one_line
from clipmill.stages.stage import Stage, StageSettings


class Settings(StageSettings):
    layer: str = "whole"
    """Layer whose segments become documents."""
    clips: str = "speech"
    """Layer of the clips that a document is made of, those that lie within it."""
    roles: tuple[str, ...] = ("ocr", "asr")
    """Roles of their texts, in the order in which they follow a clip's first picture."""
    role: str = Field(default="document", pattern=r"^[a-z0-9_:]+$")
    """Role of the text that is written: one JSON object. Scores ROLE_images, ROLE_texts and
    ROLE_words count what is in it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A place in a document: a picture's name, or a text."""

    ms: int
    image: str | None = None
    text: str | None = None


class InterleaveDocument(Stage[Settings]):
    """Interleave the key frames and texts of a video's clips, as one JSON document."""

    settings: Settings
    needs: ClassVar = {"frames", "segments:{layer}", "segments:{clips}"}
    provides: ClassVar = {
        "texts:{role}", "scores:{role}_images", "scores:{role}_texts", "scores:{role}_words",
    }  # fmt: skip

    def reads(self) -> frozenset[str]:
        return super().reads() | {f"texts:{role}" for role in self.settings.roles}

    def process(self, part: Part) -> Part:
        settings = self.settings
        for segment in part.video.layer(settings.layer):
            whole = segment.span.on(MILLISECONDS)
            entries: list[Entry] = []
            sources: list[str] = []
            for clip in part.video.layer(settings.clips):
                span = clip.span.on(MILLISECONDS)
                if whole.start <= span.start and span.end <= whole.end + 1:
                    entries += self._entries(part, clip)
                    sources += [f"{clip.id}/{text.id}" for text in self._texts(clip)]
            if not entries:
                continue
            document = written(entries)
            text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
            segment.add_text(settings.role, text, self.author(), sources=sources)
            said = [text for text in document["texts"] if text]
            segment.scores |= {
                f"{settings.role}_images": float(len(entries) - len(said)),
                f"{settings.role}_texts": float(len(said)),
                f"{settings.role}_words": float(sum(len(text.split()) for text in said)),
            }
        return part

    def _entries(self, part: Part, clip: Segment) -> Iterator[Entry]:
        """A clip's first picture, its texts, its further pictures."""
        span = clip.span.on(MILLISECONDS)
        pictures = [
            Entry(
                round(frame.clock.exact(frame.tick) * 1000),
                image=f"{part.video.id}@{span.start / 1000:.3f}_{span.end / 1000:.3f}#{number}",
            )
            for number, frame in enumerate(part.frames.get(clip.id, ()))
        ]
        at = pictures[0].ms if pictures else span.start
        texts = [Entry(at, text=one_line(text.text)) for text in self._texts(clip)]
        yield from pictures[:1]
        yield from (entry for entry in texts if entry.text)
        yield from pictures[1:]

    def _texts(self, clip: Segment) -> list[Any]:
        return [text for role in self.settings.roles for text in clip.texts_of(role)[-1:]]


def written(entries: list[Entry]) -> dict[str, list[Any]]:
    """Three lists of one length: images and texts with null where the other is, and seconds."""
    return {
        "images": [entry.image for entry in entries],
        "texts": [entry.text for entry in entries],
        "seconds": [entry.ms / 1000 for entry in entries],
    }
