"""Text on the screen: slides, titles, burned-in subtitles, signs.

A few frames of a segment are read, spread evenly, because reading costs a quarter of a second a
frame and text stands still for longer than a frame. The same line in the next frame is never
spelled quite alike, so near-equal lines of different frames count as one, the surer reading being
kept, unless their digits differ: a clock or a price that changes is new text.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import ClassVar

from PIL import Image, ImageDraw
from pydantic import Field

from clipmill.schemas.records import Frame, Part, Segment
from clipmill.stages.asr_text.untrusted import clean_line
from clipmill.stages.models.frame_choice import spread
from clipmill.stages.models.screen_text import ScreenLine, ScreenText
from clipmill.stages.stage import Stage, StageSettings

GRID = 256  # the share of text is counted on a grid this fine
MAX_LINE, MAX_LINES = 500, 200
SAME = 0.8  # share of equal letters that makes two readings one line


class Settings(StageSettings):
    max_frames: int = Field(default=4, ge=1, le=64)
    """Frames read per segment, spread evenly over those that were sampled."""
    enlarge_to: int = Field(default=736, ge=32, le=4096)
    """Pictures with a shorter side of fewer pixels are enlarged to it before text is looked for: so
    finer text is found, at a price that grows with the square. How much of a clip is under text
    shows at its own size, for a tenth of the price."""
    min_confidence: float = Field(default=0.6, ge=0, le=1)
    """Lines read with less are dropped; texture and foliage read as words at about 0.5."""
    min_letters: int = Field(default=2, ge=1)
    """Lines with fewer letters and digits are dropped: a ring is read as an o, with confidence."""


class ReadOcr(Stage[Settings]):
    """Read the text on the screen, and how much of the picture it covers."""

    needs: ClassVar = {"frames"}
    provides: ClassVar = {"texts:ocr", "scores:text_area"}
    packages: ClassVar[dict[str, str]] = {"rapidocr": "ocr", "onnxruntime": "ocr"}
    own_actor: ClassVar[bool] = True

    def setup(self) -> None:
        self._reader = ScreenText(self.settings.enlarge_to)

    def process(self, part: Part) -> Part:
        for segment in part.video.segments:
            frames = part.frames.get(segment.id)
            if frames:
                self._read(segment, spread(frames, self.settings.max_frames))
        return part

    def _read(self, segment: Segment, frames: list[Frame]) -> None:
        """Without text the share is 0.0 and no text is written; unread segments have neither."""
        screens = []
        shares = []
        for frame in frames:
            lines = [line for line in self._reader.read(frame.jpeg) if self._counts(line)]
            screens.append(lines)
            shares.append(text_share(lines, frame.width, frame.height))
        segment.scores["text_area"] = sum(shares) / len(shares)
        text = "\n".join(distinct(screens))
        if text:
            author = self.author(self._reader.model, self._reader.revision)
            segment.add_text("ocr", text, author)

    def _counts(self, line: ScreenLine) -> bool:
        letters = sum(letter.isalnum() for letter in line.text)
        enough = letters >= self.settings.min_letters
        return enough and line.confidence >= self.settings.min_confidence


def text_share(lines: Iterable[ScreenLine], width: int, height: int) -> float:
    """Share of the picture inside any line's box, 0 to 1; boxes that overlap count once."""
    mask = Image.new("L", (GRID, GRID))
    draw = ImageDraw.Draw(mask)
    for line in lines:
        draw.polygon([(x * GRID / width, y * GRID / height) for x, y in line.corners], fill=255)
    return mask.histogram()[255] / GRID**2


def distinct(screens: Iterable[list[ScreenLine]]) -> list[str]:
    """The lines of successive frames, each once, in the order they appeared."""
    kept: list[ScreenLine] = []
    for lines in screens:
        earlier = len(kept)  # lines of one frame are different lines, however alike
        for line in lines:
            same = next((n for n in range(earlier) if _alike(kept[n].text, line.text)), None)
            if same is not None:
                if line.confidence > kept[same].confidence:
                    kept[same] = line
            elif len(kept) < MAX_LINES and all(line.text != k.text for k in kept):
                kept.append(line)
    return [text for line in kept if (text := clean_line(line.text, MAX_LINE))]


def _alike(a: str, b: str) -> bool:
    a, b = ("".join(text.casefold().split())[:MAX_LINE] for text in (a, b))
    if a == b:
        return True
    if [letter for letter in a if letter.isdigit()] != [letter for letter in b if letter.isdigit()]:
        return False
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    return matcher.real_quick_ratio() >= SAME and matcher.ratio() >= SAME
