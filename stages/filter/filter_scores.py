"""Keep what a profile allows, the best share of a score, or the K best of what is left.

The three are applied in that order and the first that refuses gives the reason. Shares are taken
over the whole table, not over what the profile left: then moving a profile's threshold does not
move a share's, and each cut can be reported alone. Ties at a share's edge are all kept, because
equal clips deserve equal treatment; `top_k` is an exact number, so there ties go by video and
segment name, which makes the choice the same whatever the order of the rows.
"""

from __future__ import annotations

from math import ceil
from typing import Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from clipmill.schemas.profiles import SECONDS, Profile
from clipmill.stages.decision import Decision
from clipmill.stages.filter.flat_rows import answer
from clipmill.stages.stage import StageSettings


class Share(BaseModel):
    """The part of the table that one score keeps, counted over the rows that have the score."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    top_percent: float | None = Field(default=None, gt=0, le=100)
    """Keep this share with the highest scores."""
    lowest_percent: float | None = Field(default=None, gt=0, le=100)
    """Keep this share with the lowest scores."""

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Share:
        if (self.top_percent is None) == (self.lowest_percent is None):
            raise ValueError("write either top_percent or lowest_percent")
        return self


class TopK(BaseModel):
    """The K best rows by one score."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    by: str
    """Name of the score that ranks."""
    count: int = Field(ge=1)
    """How many rows are kept."""
    order: Literal["highest", "lowest"] = "highest"
    """Which end of the score is best."""


class Settings(StageSettings):
    profile: Profile = Profile()
    """Rules over scores and labels; in a recipe, usually the name of one under `profiles`."""
    profile_name: str = ""
    """Name of the profile, for reports."""
    percentile: dict[str, Share] = Field(default_factory=dict)
    """By score: the share of the table that is kept, e.g. `{aesthetic: {top_percent: 30}}`."""
    top_k: TopK | None = None
    """Keep only the K best of what profile and shares leave."""


class FilterScores(Decision[Settings]):
    """Keep segments whose scores and labels satisfy a profile, a share or a top K."""

    settings: Settings

    def reads(self) -> frozenset[str]:
        scores = set(self.settings.percentile)
        if self.settings.top_k:
            scores.add(self.settings.top_k.by)
        return frozenset(
            self.settings.profile.names() | {f"scores:{name}" for name in scores - {SECONDS}}
        )

    def decide(self, segments: pa.Table) -> pa.Table:
        reasons: list[str | None] = [None] * segments.num_rows
        profile = self.settings.profile
        for name, rule in profile.rules.items():
            values = _column(segments, name, label=rule.of_label)
            for row, value in enumerate(values):
                if reasons[row] is None:
                    reasons[row] = rule.failure(name, value, profile.missing)
        for name, share in self.settings.percentile.items():
            _cut_share(reasons, name, _column(segments, name), share)
        if self.settings.top_k:
            ranks = _column(segments, self.settings.top_k.by)
            names = list(
                zip(
                    segments.column("video").to_pylist(),
                    segments.column("segment").to_pylist(),
                    strict=True,
                )
            )
            _cut_rest(reasons, names, ranks, self.settings.top_k)
        return answer(segments, reasons)


def _column(segments: pa.Table, name: str, *, label: bool = False) -> list[Any]:
    """Values by row; None where not computed, also where no row at all has the column."""
    column = f"{'label' if label else 'score'}_{name}"
    if column in segments.column_names:
        return [None if v != v else v for v in segments.column(column).to_pylist()]
    if name == SECONDS and not label:
        starts, ends = (segments.column(end).to_pylist() for end in ("start_s", "end_s"))
        return [
            None if start is None or end is None else end - start
            for start, end in zip(starts, ends, strict=True)
        ]
    return [None] * segments.num_rows


def _cut_share(
    reasons: list[str | None], name: str, values: list[float | None], share: Share
) -> None:
    """Write the reason at every row outside the share that has none yet."""
    top = share.top_percent is not None
    percent = share.top_percent or share.lowest_percent or 0.0
    known = sorted((v for v in values if v is not None), reverse=top)
    # Rounded first: 100 * 0.07 is 7.000000000000001 in binary, and would keep eight.
    edge = known[ceil(round(len(known) * percent / 100, 9)) - 1] if known else 0.0
    word = "top" if top else "lowest"
    for row, value in enumerate(values):
        if reasons[row] is not None:
            continue
        if value is None:
            reasons[row] = f"{name} not computed"
        elif value < edge if top else value > edge:
            reasons[row] = f"{name} not in {word} {percent:.12g}%"


def _cut_rest(
    reasons: list[str | None],
    names: list[tuple[str, str]],
    values: list[float | None],
    top_k: TopK,
) -> None:
    """Write the reason at every row without one that is not among the K best."""
    sign = -1.0 if top_k.order == "highest" else 1.0
    ranked: list[tuple[float, tuple[str, str], int]] = []
    for row, value in enumerate(values):
        if reasons[row] is None and value is None:
            reasons[row] = f"{top_k.by} not computed"
        elif reasons[row] is None and value is not None:
            ranked.append((sign * value, names[row], row))
    ranked.sort()
    for _, _, row in ranked[top_k.count :]:
        reasons[row] = f"not in the {top_k.count} {top_k.order} by {top_k.by}"
