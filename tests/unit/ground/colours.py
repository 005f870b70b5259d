"""An encoder at the edge that sees one thing: which named colour fills a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Author, Frame, Part, Segment, Video
from clipmill.stages.models.encoder import Vectors
from clipmill.stages.models.identity import ModelIdentity

RGB = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220), "gray": (90, 90, 90)}
NAMES = list(RGB)


class Colours:
    """Pictures by their mean colour, texts by the colour words in them; 4 axes and 1 for no colour.

    The nearest colour counts 1, all others 0.1: real encoders never say 0.
    """

    identity = ModelIdentity("colours", "1")

    def setup(self) -> None: ...

    def close(self) -> None: ...

    def images(self, pictures: Sequence[bytes]) -> Vectors:
        rows = np.full((len(pictures), 5), 0.1, np.float32)
        for row, data in zip(rows, pictures, strict=True):
            mean = np.asarray(Image.open(io.BytesIO(data)), float).reshape(-1, 3).mean(0)
            row[np.argmin([np.abs(mean - RGB[name]).sum() for name in NAMES])] = 1
        return unit(rows)

    def texts(self, texts: Sequence[str]) -> Vectors:
        rows = np.zeros((len(texts), 5), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for name in NAMES:
                row[NAMES.index(name)] += text.split().count(name)
            row[4] = not row.any()
        return unit(rows)


def unit(rows: Vectors) -> Vectors:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-9), np.float32)


def picture(name: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (16, 16), RGB[name]).save(data, "JPEG", quality=90)
    return data.getvalue()


def film(colours: str, events: list[tuple[str, float, float]], windows: float = 8) -> Part:
    """A film of one colour per second (`rrrbbb`), a frame in the middle of each, and events."""
    long = {"r": "red", "g": "green", "b": "blue", ".": "gray"}
    video = Video("v", "v.mp4")
    starts = np.arange(0, len(colours), windows)
    video.add_segments(
        "windows", [Span.of_seconds(s, min(s + windows, len(colours))) for s in starts]
    )
    stills = {name: picture(name) for name in NAMES}
    frames: dict[str, list[Frame]] = {}
    for segment in video.segments:
        frames[segment.id] = [
            Frame(MILLISECONDS, second * 1000 + 500, stills[long[colours[second]]], 16, 16)
            for second in range(int(segment.span.start_s), int(segment.span.end_s))
        ]
    for number, (text, start, end) in enumerate(events):
        segment = Segment(f"events-{number:05d}", "events", Span.of_seconds(start, end))
        segment.add_text("caption", text, Author("write_events", "m", "1", "p"), language="en")
        video.segments.append(segment)
    return Part(video, frames=frames)
