"""Clipmill mills raw video into video-text training shards, on Ray.

    from clipmill import Part, Segment, Span, Stage, StageSettings, Video, run

Everything a stage's author needs is here; the folders behind it are `clipmill.schemas`,
`clipmill.stages` and `clipmill.pipeline`.
"""

from clipmill.schemas.clocks import MILLISECONDS, Clock, Span
from clipmill.schemas.errors import ClipmillError, MediaError
from clipmill.schemas.records import Author, Frame, Part, Sample, Segment, Text, Video
from clipmill.stages.stage import Resources, Stage, StageSettings

__all__ = [
    "MILLISECONDS",
    "Author",
    "ClipmillError",
    "Clock",
    "Frame",
    "MediaError",
    "Part",
    "Resources",
    "Sample",
    "Segment",
    "Span",
    "Stage",
    "StageSettings",
    "Text",
    "Video",
]

__version__ = "0.1.0"
