"""What is measured, and against what: a figure, its misses, and a video beside its truth.

A figure's ceiling is what a perfect operator could have reached behind the stages before it: a clip
whose shot was never found cannot be captioned right. Without it one bad splitter looks like six bad
stages. Figures are shares of everything that is true, not of what was attempted, so leaving out the
hard ones does not help.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from clipmill.schemas.records import Segment, Video
from clipmill.stages.compose.truth import SceneTruth, Truth

HARD_FRAMES, GRADUAL_FRAMES = 1, 2
"""A cut is right within one frame, a gradual one is found by a border within two of its extent."""
SPARED_S = 0.25
"""What a shot may lose beside a gradual transition: nobody minds a quarter of a second less."""
_ROUNDING = 1e-3
"""Containers keep times in their own ticks; a thousandth of a second is no frame."""


@dataclass(frozen=True, slots=True)
class Miss:
    """Something that is not as the truth says: where to look, and what is wrong."""

    video: str
    seconds: float
    what: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the report.

    `value`, `ceiling` and `bar` are shares of 1, or seconds where `unit` says so; `value` is None
    where there was nothing to measure, and `note` says why. `count` is how many things were judged.
    """

    stage: str
    name: str
    value: float | None
    count: int = 0
    ceiling: float = 1.0
    bar: float | None = None
    lower: bool = False  # less is better
    unit: str = "share"
    note: str = ""
    misses: list[Miss] = field(default_factory=list)

    @property
    def met(self) -> bool | None:
        """Whether the bar is reached; None where there is no bar or no value."""
        if self.value is None or self.bar is None:
            return None
        return self.value <= self.bar if self.lower else self.value >= self.bar


def share(
    stage: str,
    name: str,
    right: int,
    count: int,
    reachable: int | None = None,
    bar: float | None = None,
    misses: list[Miss] | None = None,
    note: str = "",
) -> Figure:
    """`right` of `count` things, of which `reachable` could have been right."""
    if not count:
        return Figure(
            stage, name, None, bar=bar, note=note or "nothing of the kind in these videos"
        )
    ceiling = (count if reachable is None else reachable) / count
    return Figure(
        stage, name, right / count, count, ceiling, bar=bar, misses=misses or [], note=note
    )


@dataclass(frozen=True, slots=True)
class Case:
    """A video as the run left it, and the truth about it."""

    video: Video
    truth: Truth
    layer: str = "shots"

    @property
    def shots(self) -> list[Segment]:
        return sorted(self.video.layer(self.layer), key=lambda segment: segment.span.start)

    @property
    def frame_s(self) -> float:
        return 1 / self.truth.fps

    def miss(self, seconds: float, what: str) -> Miss:
        return Miss(self.video.id, round(seconds, 2), what)

    def scenes(self) -> Iterator[tuple[SceneTruth, Segment | None]]:
        """Every true scene with the shot that is this scene and nothing else, or None.

        A shot is the scene when both its ends are the scene's to the frame, or lie in the gradual
        transition that leads there or within `SPARED_S` of it.
        """
        borders = [self.border(scene.start_s) for scene in self.truth.scenes]
        borders.append(self.border(self.truth.seconds))
        shots = self.shots
        for scene in self.truth.scenes:
            (low, high), (low2, high2) = borders[scene.index], borders[scene.index + 1]
            yield (
                scene,
                next(
                    (
                        shot
                        for shot in shots
                        if low <= shot.span.start_s <= high and low2 <= shot.span.end_s <= high2
                    ),
                    None,
                ),
            )

    def border(self, seconds: float) -> tuple[float, float]:
        """Earliest and latest time that is right for the border of two scenes."""
        for moment in self.truth.transitions:
            if moment.start_s <= seconds <= moment.end_s:
                return moment.start_s - SPARED_S, moment.end_s + SPARED_S
        room = HARD_FRAMES * self.frame_s + _ROUNDING
        return seconds - room, seconds + room
