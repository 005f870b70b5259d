"""Compose frames for a teacher: a clock drawn into each, several put into one grid.

Models relate what they see to when it happens better if the time is in the picture than if a list
of seconds stands beside it (ARC-Hunyuan-Video draws HH:MM:SS into every frame), and a teacher that
takes one picture, or is paid by the picture, can be shown a whole clip as a grid that is read row
by row (IG-VLM). The price is what the clock covers and the size of a grid's cells. Everything
behind this stage gets the composed pictures, so encoders and the reading of screen text stand in
front of it. A grid bears the time of its first cell; with a clock every cell says its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from typing import ClassVar, Literal, Self

from PIL import Image, ImageDraw, ImageFont
from pydantic import Field, model_validator

from clipmill.schemas.records import Frame, Part
from clipmill.stages.models.frame_choice import spread
from clipmill.stages.stage import Stage, StageSettings

Corner = Literal["top_left", "top_right", "bottom_left", "bottom_right"]

CLOCK_SHARE = 12
"""A clock is a twelfth of its picture high."""
LEAST_PIXELS = 12
"""Smaller digits cannot be told apart once a model has cut the picture into patches."""


class Settings(StageSettings):
    layer: str = "shots"
    """Layer whose frames are composed."""
    clock: bool = False
    """Draw each frame's time in the video into it, as HH:MM:SS."""
    corner: Corner = "top_right"
    """Where the clock is drawn."""
    rows: int = Field(default=1, ge=1, le=16)
    """Rows of a grid."""
    columns: int = Field(default=1, ge=1, le=16)
    """Columns of a grid. One row and one column leave the pictures single."""
    grids: int | None = Field(default=None, ge=1)
    """At most so many grids a segment, with frames spread over it; empty: as many as all its
    frames fill. Cells that are left over at the end of the last one are black."""
    max_side: int = Field(default=1024, ge=16, le=8192)
    """Longer side of a composed picture in pixels; smaller ones are not enlarged."""
    quality: int = Field(default=90, ge=1, le=100)
    """JPEG quality."""

    @model_validator(mode="after")
    def _composes_something(self) -> Self:
        if self.rows * self.columns == 1 and not self.clock:
            raise ValueError("nothing to compose: set rows and columns, or clock")
        return self


class ComposeFrames(Stage[Settings]):
    """Draw a clock into frames, or put several into one grid."""

    settings: Settings
    needs: ClassVar = {"frames", "segments:{layer}"}
    provides: ClassVar = {"frames"}

    def process(self, part: Part) -> Part:
        cells = self.settings.rows * self.settings.columns
        for segment in part.video.layer(self.settings.layer):
            frames = part.frames.get(segment.id)
            if not frames:
                continue
            if self.settings.grids:
                frames = spread(frames, self.settings.grids * cells)
            part.frames[segment.id] = [
                self._composed(frames[start : start + cells])
                for start in range(0, len(frames), cells)
            ]
        return part

    def _composed(self, frames: Sequence[Frame]) -> Frame:
        """One picture of at most rows x columns frames."""
        settings = self.settings
        width = max(frame.width for frame in frames)
        height = max(frame.height for frame in frames)
        whole = max(settings.columns * width, settings.rows * height)
        scale = min(1.0, settings.max_side / whole)
        cell = max(1, int(width * scale)), max(1, int(height * scale))
        canvas = Image.new("RGB", (settings.columns * cell[0], settings.rows * cell[1]))
        for place, frame in enumerate(frames):
            row, column = divmod(place, settings.columns)
            picture = Image.open(BytesIO(frame.jpeg)).convert("RGB")
            if picture.size != cell:
                picture = picture.resize(cell, Image.Resampling.LANCZOS)
            if settings.clock:
                draw_clock(picture, clock_face(frame), settings.corner)
            canvas.paste(picture, (column * cell[0], row * cell[1]))
        sink = BytesIO()
        canvas.save(sink, "JPEG", quality=settings.quality)
        first = frames[0]
        return Frame(first.clock, first.tick, sink.getvalue(), *canvas.size)


def clock_face(frame: Frame) -> str:
    """A frame's presentation time as HH:MM:SS, the second that has begun."""
    seconds = int(frame.clock.exact(frame.tick))
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def draw_clock(picture: Image.Image, face: str, corner: Corner) -> None:
    """Draw white digits on a black plate into a corner, so that any background leaves them legible.

    Each digit has a cell of its own, because digits that touch are misread. A picture too narrow
    for them gets smaller digits, down to what fits.
    """
    draw = ImageDraw.Draw(picture)
    size = max(LEAST_PIXELS, picture.height // CLOCK_SHARE)
    size = max(1, min(size, picture.width // len(face)))
    font = ImageFont.load_default(size)
    pitch = math.ceil(max(font.getlength(letter) for letter in "0123456789") + size / 8)
    top, bottom = (draw.textbbox((0, 0), "0123456789", font)[side] for side in (1, 3))
    rim = size // 4
    wide, tall = math.ceil(pitch * len(face) + 2 * rim), math.ceil(bottom - top + 2 * rim)
    x = 0 if corner.endswith("left") else picture.width - wide
    y = 0 if corner.startswith("top") else picture.height - tall
    draw.rectangle((x, y, x + wide - 1, y + tall - 1), fill="black")
    for place, letter in enumerate(face):
        middle = x + rim + pitch * place + (pitch - font.getlength(letter)) / 2
        draw.text((round(middle), y + rim - top), letter, fill="white", font=font)
