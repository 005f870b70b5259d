"""Pictures for model tests, small and different from one another."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Frame, Part, Video

COLOURS = ("red", "blue", "green", "black", "orange")


def picture(colour: str, mark: int = 0, size: tuple[int, int] = (64, 48)) -> bytes:
    """A JPEG of one colour with a bar whose place is `mark`."""
    image = Image.new("RGB", size, colour)
    ImageDraw.Draw(image).rectangle((mark * 7 % 50, 5, mark * 7 % 50 + 10, 40), fill="white")
    data = io.BytesIO()
    image.save(data, "JPEG", quality=90)
    return data.getvalue()


def part_of(video_id: str, clips: int, frames: int = 2) -> Part:
    """A part of one-second clips, each of its own colour."""
    video = Video(video_id, f"{video_id}.mp4")
    video.add_segments(
        "shots", [Span(MILLISECONDS, n * 1000, (n + 1) * 1000) for n in range(clips)]
    )
    return Part(
        video,
        frames={
            segment.id: [
                Frame(
                    MILLISECONDS,
                    segment.span.start + number * 1000 // frames,
                    picture(COLOURS[place % len(COLOURS)], place + number),
                    64,
                    48,
                )
                for number in range(frames)
            ]
            for place, segment in enumerate(video.segments)
        },
    )
