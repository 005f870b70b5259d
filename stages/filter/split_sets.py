"""Assign clips to training, validation and test sets, so that no source is in two of them.

A clip's set follows from its source alone, by a hash: videos that are added later change no
assignment, every worker comes to the same answer, and nothing has to be counted first. The shares
are met as closely as a draw of the sources meets them. A source is a video, or all videos that
agree in a column of the manifest (a channel, a film, a person): clips of one channel look alike,
and a test set that shares channels with training measures memory. A video composed of others
belongs where all of these belong, or nowhere (`mixed`). The rank is a second draw for nested
subsets: the clips below 0.01 are among those below 0.1, whatever else is in the set.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, StringConstraints, model_validator

from clipmill.schemas.fingerprints import fingerprint
from clipmill.schemas.records import Part, Video
from clipmill.stages.stage import Stage, StageSettings

MIXED = "mixed"

SetName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]


class Settings(StageSettings):
    layer: str = "shots"
    """Layer whose segments are assigned."""
    source: str = ""
    """Column of the manifest that says what videos come from, e.g. channel. Empty, or a video
    without a value: each video is a source of its own."""
    shares: dict[SetName, float] = Field(
        default_factory=lambda: {"train": 0.9, "val": 0.05, "test": 0.05}
    )
    """Each set's share of the sources; together 1."""
    name: str = Field(default="set", pattern=r"^[a-z0-9_]+$")
    """Label with the set; score NAME_rank is a draw between 0 and 1 for nested subsets, alike for
    all clips of a video."""
    seed: int = 0
    """Another seed draws other sets."""

    @model_validator(mode="after")
    def _shares_are_shares(self) -> Self:
        if not self.shares or min(self.shares.values()) < 0 or MIXED in self.shares:
            raise ValueError(f"shares must name sets other than {MIXED!r}, each with 0 or more")
        if abs(sum(self.shares.values()) - 1) > 1e-6:
            raise ValueError(f"shares add up to {sum(self.shares.values()):g}, not to 1")
        return self


class SplitSets(Stage[Settings]):
    """Assign clips to train, val and test by their source."""

    settings: Settings
    needs: ClassVar = {"segments:{layer}"}
    provides: ClassVar = {"labels:{name}", "scores:{name}_rank"}

    def process(self, part: Part) -> Part:
        chosen = self._set(part.video)
        rank = draw(part.video.id, "rank", self.settings.seed)
        for segment in part.video.layer(self.settings.layer):
            segment.labels[self.settings.name] = chosen
            segment.scores[f"{self.settings.name}_rank"] = rank
        return part

    def _set(self, video: Video) -> str:
        settings = self.settings
        if settings.source and (source := video.meta.get(settings.source, "").strip()):
            return self._drawn("source", source)
        if not video.parents:
            return self._drawn("video", video.id)
        if settings.source:
            return MIXED  # what its pieces came from is not known here
        sets = {self._drawn("video", parent) for parent in video.parents}
        return sets.pop() if len(sets) == 1 else MIXED

    def _drawn(self, kind: str, source: str) -> str:
        value = draw(kind, source, self.settings.seed)
        reached, chosen = 0.0, ""
        for name, share in sorted(
            self.settings.shares.items()
        ):  # the order they are named in is free
            if share and (value >= reached or not chosen):
                chosen = name
            reached += share
        return chosen


def draw(*what: str | int) -> float:
    """A number in [0, 1) that follows from names alone."""
    return int(fingerprint(*what)[:13], 16) / 16**13
