"""Take the caption that came with a video as a text of its clips, to be scored like any other.

Collected sets come with a caption or an alternative text per video, in a column of the manifest.
It may be of another video, or of one scene only, so it gets a role of its own and no trust: put
`score_alignment` behind it with the same role, and let a profile decide.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from clipmill.schemas.records import Part
from clipmill.stages.asr_text.untrusted import clean_line
from clipmill.stages.stage import Stage, StageSettings


class Settings(StageSettings):
    column: str = Field(default="given_caption", min_length=1)
    """Column of the manifest that holds the caption."""
    layer: str = "shots"
    """Segments that get it."""
    role: str = Field(default="given", pattern=r"^[a-z0-9_:]+$")
    """Role of the text."""
    max_chars: int = Field(default=1200, ge=1)
    """Longer captions are cut off."""


class GivenCaption(Stage[Settings]):
    """Write the caption that came with the video on each of its segments."""

    needs: ClassVar = {"segments:{layer}"}
    provides: ClassVar = {"texts:{role}"}

    def process(self, part: Part) -> Part:
        text = clean_line(part.video.meta.get(self.settings.column, ""), self.settings.max_chars)
        if text:
            for segment in part.video.layer(self.settings.layer):
                segment.add_text(self.settings.role, text, self.author())
        return part
