"""Text on the screen, by RapidOCR: PP-OCR detection and recognition through onnxruntime.

The wheel carries small models of Chinese and Latin script, so nothing is downloaded. One thread per
model: actors are what scales, and onnxruntime would otherwise take every core of the machine.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import Any

from clipmill.schemas.errors import MissingExtra


@dataclass(frozen=True, slots=True)
class ScreenLine:
    """A line of text with its confidence (0 to 1) and the corners of its box in pixels."""

    text: str
    confidence: float
    corners: tuple[tuple[float, float], ...]


class ScreenText:
    """A loaded reader. Pictures whose shorter side is less than `enlarge_to` pixels are enlarged to
    it before text is looked for; 736 is the library's own.
    """

    def __init__(self, enlarge_to: int = 736) -> None:
        try:
            from rapidocr import RapidOCR
        except ImportError as missing:
            raise MissingExtra(
                "the reader of screen text is not installed",
                cure="pip install 'clipmill[ocr]'",
                stage="read_ocr",
            ) from missing
        self.model = "rapidocr"
        self.revision = importlib.metadata.version("rapidocr")
        self._reader: Any = RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.text_score": 0.0,  # the caller draws the line
                "Det.limit_type": "min",
                "Det.limit_side_len": enlarge_to,
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )

    def read(self, jpeg: bytes) -> list[ScreenLine]:
        """The lines of a picture, top to bottom; an empty list where there is no text."""
        found = self._reader(jpeg)
        if found.boxes is None or not found.txts:
            return []
        return [
            ScreenLine(text, float(score), tuple((float(x), float(y)) for x, y in box))
            for text, score, box in zip(found.txts, found.scores, found.boxes, strict=True)
        ]
