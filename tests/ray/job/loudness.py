"""A user's own stage, written beside the recipe that names it."""

from __future__ import annotations

from clipmill import Part, Stage, StageSettings


class Settings(StageSettings):
    value: float = 0.5


class Loudness(Stage[Settings]):
    """Write a score that only this file knows."""

    needs = frozenset({"segments:windows"})
    provides = frozenset({"scores:loudness"})

    def process(self, part: Part) -> Part:
        for segment in part.video.layer("windows"):
            segment.scores["loudness"] = self.settings.value
        return part
