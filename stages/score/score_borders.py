"""Hold the borders of one layer against those of another: precision, recall and F1 within seconds.

For topics that a model found against chapters that the uploader wrote, wherever there are both: the
only yardstick that real footage brings along. A border is the start of a segment that is not the
first; each counts once, so two found near one true border are one hit and one miss. Pairs are made
from left to right, which pairs as many as can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import ClassVar

from pydantic import Field

from clipmill.schemas.records import Part, Segment
from clipmill.schemas.within import holder_of
from clipmill.stages.stage import Stage, StageSettings


class Settings(StageSettings):
    layer: str = "video"
    """Layer whose segments get the scores: borders within them are compared."""
    found: str = "topics"
    """Layer whose borders are judged."""
    truth: str = "chapters"
    """Layer of the borders that are right; where it has none there is no score."""
    tolerance_s: float = Field(default=5.0, ge=0)
    """Borders this far apart are the same."""
    name: str = Field(default="borders", pattern=r"^[a-z0-9_]+$")
    """Scores NAME_precision, NAME_recall and NAME_f1."""


class ScoreBorders(Stage[Settings]):
    """Score the borders of a layer against those of another one."""

    settings: Settings
    needs: ClassVar = {"segments:{layer}", "segments:{found}", "segments:{truth}"}
    provides: ClassVar = {"scores:{name}_precision", "scores:{name}_recall", "scores:{name}_f1"}

    def process(self, part: Part) -> Part:
        settings = self.settings
        for segment in part.video.layer(settings.layer):
            true = borders(part.video.layer(settings.truth), segment)
            if not true:
                continue
            found = borders(part.video.layer(settings.found), segment)
            hits = paired(found, true, Fraction(settings.tolerance_s))
            segment.scores[f"{settings.name}_precision"] = hits / len(found) if found else 0.0
            segment.scores[f"{settings.name}_recall"] = hits / len(true)
            segment.scores[f"{settings.name}_f1"] = 2 * hits / (len(found) + len(true))
        return part


def borders(segments: Sequence[Segment], within: Segment) -> list[Fraction]:
    """Seconds at which segments begin within another one, without the first of them."""
    inside = [segment for segment in segments if holder_of([segment.span], [within])]
    return sorted({segment.span.clock.exact(segment.span.start) for segment in inside})[1:]


def paired(found: Sequence[Fraction], true: Sequence[Fraction], tolerance: Fraction) -> int:
    """How many of two sorted lists can be paired one to one, at most so far apart."""
    hits = place = 0
    for border in true:
        while place < len(found) and found[place] < border - tolerance:
            place += 1
        if place < len(found) and found[place] <= border + tolerance:
            hits += 1
            place += 1
    return hits
