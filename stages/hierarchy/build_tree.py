"""Set the layers of a video into one tree: every segment under the shortest one that holds it.

Layers come from different cutters (shots, merged shots, sentences), so a segment may straddle a
border of the level above. It is then set under the next level that holds it wholly, at last under
the whole video: a child is always inside its parent, which is what training on several lengths
takes for granted. Works on whole videos and before their division, because a family stays together
in one part. What is given up is that a level may be skipped; `tree_level` says where each stands.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from clipmill.schemas.clocks import compare
from clipmill.schemas.records import Part, Segment
from clipmill.stages.media.probe import probed
from clipmill.stages.stage import Stage, StageSettings

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]


class Settings(StageSettings):
    levels: tuple[Name, ...] = Field(default=("shots",), min_length=1)
    """Layers, shortest segments first; those of one level are not to overlap."""
    root: Name = "video"
    """Layer that is written: one segment, the whole video, above all levels."""


class BuildTree(Stage[Settings]):
    """Set segments of several lengths into one tree under the whole video."""

    unit = "video"
    needs: ClassVar = {"probe"}
    provides: ClassVar = {
        "segments:{root}",
        "scores:tree_level",  # 0 is the finest
        "scores:tree_children",
        "scores:tree_coverage",  # share of its time that lies under its children
    }

    def reads(self) -> frozenset[str]:
        return super().reads() | {f"segments:{layer}" for layer in self.settings.levels}

    def process(self, part: Part) -> Part:
        video, settings = part.video, self.settings
        video.add_segments(settings.root, [probed(video).span])
        [root] = video.layer(settings.root)
        above: list[list[Segment]] = [[root]]
        for layer in reversed(settings.levels):
            segments = sorted(video.layer(layer), key=lambda s: s.span.clock.exact(s.span.start))
            for segment in segments:
                parent = next((p for level in above if (p := holder(level, segment))), None)
                segment.parent = parent.id if parent else None
            above.insert(0, segments)
        for height, level in enumerate(above):
            for segment in level:
                segment.scores["tree_level"] = float(height)
        known = {segment.id: segment for level in above for segment in level}
        below: dict[str, list[Segment]] = {}
        for segment in known.values():
            if segment.parent:
                below.setdefault(segment.parent, []).append(segment)
        for name, children in below.items():
            known[name].scores["tree_children"] = float(len(children))
            known[name].scores["tree_coverage"] = coverage(known[name], children)
        return part


def holder(level: Sequence[Segment], child: Segment) -> Segment | None:
    """The segment of a level (in time order, apart from one another) that wholly holds a child."""
    start = child.span.clock.exact(child.span.start)
    place = bisect_right(level, start, key=lambda s: s.span.clock.exact(s.span.start)) - 1
    if place < 0:
        return None
    span = level[place].span
    inside = compare(child.span.clock, child.span.end, span.clock, span.end) <= 0
    return level[place] if inside else None


def coverage(parent: Segment, children: Sequence[Segment]) -> float:
    """Share of a segment's time that lies under its children, each moment counted once."""
    covered, reached = 0.0, parent.span.start_s
    for span in sorted((c.span for c in children), key=lambda s: s.start_s):
        start, end = max(span.start_s, reached), min(span.end_s, parent.span.end_s)
        covered += max(0.0, end - start)
        reached = max(reached, end)
    length = parent.span.duration_s
    return covered / length if length > 0 else 1.0
