"""Reads what a media file is: container, streams, clocks, true length, damage.

Everything later relies on it: clocks map each stream to presentation zero, and the picture's exact
extent is what shots tile. Counting frames decodes the file once; without it a run starts faster
and damage inside the picture goes unseen until a later stage meets it.
"""

from __future__ import annotations

from clipmill.schemas.errors import Damaged
from clipmill.schemas.records import Part
from clipmill.stages.media import sandbox
from clipmill.stages.media.limits import Limits
from clipmill.stages.media.probe import probe
from clipmill.stages.media.source import local
from clipmill.stages.stage import Stage, StageSettings


class Settings(StageSettings):
    strict: bool = False
    """Refuse files that decode only in part, instead of noting what is wrong with them."""
    count_frames: bool = True
    """Decode the whole picture once: exact frame count, and all damage found."""
    limits: Limits = Limits()
    """Caps on size, length, pixels, rate, streams, time and memory."""


class ProbeMedia(Stage[Settings]):
    """Read container facts, exact clocks and damage by reading the file itself."""

    unit = "video"
    provides = frozenset({"probe"})

    def process(self, part: Part) -> Part:
        settings = self.settings
        with local(part.video.source) as path:
            found = sandbox.call(
                probe,
                path,
                settings.limits,
                settings.count_frames,
                timeout_s=settings.limits.timeout_s,
                memory_gb=settings.limits.memory_gb,
            )
        if settings.strict and found.damaged:
            raise Damaged(
                f"the file decodes in part: {'; '.join(found.damage)}",
                cure="set strict: false to use what decodes",
                input=part.video.id,
            )
        part.video.probe = found
        return part
