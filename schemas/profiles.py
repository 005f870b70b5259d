"""Profiles: named rules over scores and labels that say what is kept, and why the rest is not.

A profile is written in a recipe and used twice: a stage's `when` spares work that is pointless, and
`filter_scores` decides over the finished tables. Both need the same answer, so the rules live here,
on plain numbers and words. The price of one scalar rule for both is that large tables are judged in
Python, column by column, at about two million values a second.

    keep: {motion: {min: 0.002}, brightness: {min: 0.04, max: 0.98}, camera: {not_in: [static]}}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from clipmill.schemas.records import Segment

SECONDS = "seconds"
"""A score every segment has: its length. No stage provides it, so no token asks for it."""

Missing = Literal["keep", "drop"]


class Rule(BaseModel):
    """Bounds on one score (`min`, `max`, both inclusive) or words one label may have."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
        use_attribute_docstrings=True,
    )

    min: float | None = None
    """Lowest score that is kept."""
    max: float | None = None
    """Highest score that is kept."""
    one_of: list[str] | None = Field(default=None, alias="in", min_length=1)
    """Labels that are kept; every other one is not. Written `in` in recipes."""
    not_in: list[str] | None = Field(default=None, min_length=1)
    """Labels that are not kept."""
    missing: Missing | None = None
    """What to do where this one is not computed, if other than the profile says."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> Rule:
        bounds = self.min is not None or self.max is not None
        if bounds == self.of_label:
            raise ValueError("write min and/or max for a score, or in and/or not_in for a label")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:.12g} is above max {self.max:.12g}: nothing passes")
        return self

    @property
    def of_label(self) -> bool:
        return self.one_of is not None or self.not_in is not None

    def score_failure(self, name: str, value: float) -> str | None:
        """Why a score fails, as a short countable phrase; None if it passes."""
        if self.min is not None and value < self.min:
            return f"{name} < {self.min:.12g}"
        if self.max is not None and value > self.max:
            return f"{name} > {self.max:.12g}"
        return None

    def label_failure(self, name: str, value: str) -> str | None:
        """Why a label fails; it names the refused word, so that the words can be counted."""
        refused = (self.one_of is not None and value not in self.one_of) or (
            self.not_in is not None and value in self.not_in
        )
        return f"{name} is {value}" if refused else None

    def failure(self, name: str, value: float | str | None, missing: Missing) -> str | None:
        """Why a value fails. None and NaN both mean *not computed*."""
        if value is None or value != value:
            return f"{name} not computed" if (self.missing or missing) == "drop" else None
        if isinstance(value, str):
            return self.label_failure(name, value)
        return self.score_failure(name, value)


class Profile(BaseModel):
    """Rules by the name of the score or label they judge; all must hold, the first failure counts.

    `seconds` is the length of a segment and needs no stage. What is not computed fails, unless
    `missing: keep` is written, here for all rules or at one rule.
    """

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)
    __pydantic_extra__: dict[str, Rule] = Field(init=False)

    missing: Missing = "drop"
    """What to do with a segment of which a named score or label is not computed."""

    @model_validator(mode="before")
    @classmethod
    def _resolved(cls, profile: Any) -> Any:
        if isinstance(profile, str):
            raise ValueError(f"profile {profile!r} is not defined; write it under `profiles`")
        return profile

    @property
    def rules(self) -> dict[str, Rule]:
        """The rules in the order written."""
        return self.__pydantic_extra__

    def names(self) -> set[str]:
        """Tokens it reads: `scores:<name>` and `labels:<name>`."""
        return {
            f"{'labels' if rule.of_label else 'scores'}:{name}"
            for name, rule in self.rules.items()
            if name != SECONDS
        }

    def reason(self, scores: Mapping[str, float], labels: Mapping[str, str]) -> str | None:
        """The first rule that fails, e.g. `motion < 0.002` or `camera is static`; None if kept."""
        for name, rule in self.rules.items():
            value = labels.get(name) if rule.of_label else scores.get(name)
            failure = rule.failure(name, value, self.missing)
            if failure is not None:
                return failure
        return None

    def reason_of(self, segment: Segment) -> str | None:
        """`reason` for a segment, whose length is known as the score `seconds`."""
        return self.reason(
            {SECONDS: segment.span.duration_s, **segment.scores},
            segment.labels,
        )
