"""Reads what a media file is: container, streams, clocks, true length, damage.

Everything later relies on it: clocks map each stream to presentation zero, and the picture's exact
extent is what shots tile. Counting frames decodes the file once; without it a run starts faster
and damage inside the picture goes unseen until a later stage meets it. An input that is known by
its annotations alone has no file to read: where a recipe allows that, the length it is declared to
have stands for the facts, in milliseconds from its start.
"""

from __future__ import annotations

from typing import Literal

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.errors import Damaged, Unreadable
from clipmill.schemas.records import Part, Probe, Stream, Video
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
    declared: Literal["never", "missing", "always"] = "never"
    """Take the length in the column `duration` for true and open no file: where an input has only
    annotations (`missing`), or for all of them (`always`). Nothing can then be decoded or cut."""
    limits: Limits = Limits()
    """Caps on size, length, pixels, rate, streams, time and memory."""


class ProbeMedia(Stage[Settings]):
    """Read container facts, exact clocks and damage by reading the file itself."""

    unit = "video"
    provides = frozenset({"probe"})

    def process(self, part: Part) -> Part:
        settings = self.settings
        bare = part.video.source == part.video.side_files.get("annotations")
        if settings.declared == "always" or (settings.declared == "missing" and bare):
            part.video.probe = declared(part.video)
            return part
        if bare:
            raise Unreadable(
                "there are annotations of this video, and no media",
                cure="give the folder `videos` of the set, or set declared: missing",
                input=part.video.id,
            )
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


def declared(video: Video) -> Probe:
    """What is known of a video that is not read: how long it is said to be."""
    try:
        seconds = float(video.meta.get("duration", ""))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e6:
        raise Unreadable(
            "the column `duration` gives no length in seconds",
            cure="add it to the list of inputs, or let probe_media read the media",
            input=video.id,
        )
    picture = Stream(0, "video", "", MILLISECONDS, first=0, end=round(seconds * 1000))
    return Probe("declared", 0, seconds, 0, [picture])
