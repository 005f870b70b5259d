"""Clipmill mills raw video into video-text training shards, on Ray.

    from clipmill import Part, Segment, Span, Stage, StageSettings, Video  # to write a stage
    from clipmill import load_recipe, run  # run(load_recipe("core/footage"), "videos", "out")

Everything a stage's author needs is here; the folders behind it are `clipmill.schemas`,
`clipmill.stages` and `clipmill.pipeline`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    "load_recipe",
    "run",
]

__version__ = "0.1.0"

if TYPE_CHECKING:
    from clipmill.pipeline.recipe.recipe import load_recipe
    from clipmill.pipeline.engine.run import run


def __getattr__(name: str) -> Any:
    # A stage's module imports this package in every worker; the engine behind `run` is for drivers.
    if name == "run":
        from clipmill.pipeline.engine.run import run

        return run
    if name == "load_recipe":
        from clipmill.pipeline.recipe.recipe import load_recipe

        return load_recipe
    raise AttributeError(f"module 'clipmill' has no attribute {name!r}")
