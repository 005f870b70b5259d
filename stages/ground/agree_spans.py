"""Hold the places that several localisers gave one event against each other.

Two localisers that err for different reasons rarely err alike, so where they agree the place is
probably right: the ensemble check of moment sets that were annotated by machines, as InternVid-TG
is. An event that every localiser placed is written to a layer of its own with the median of their
spans, and the score is the mean overlap (intersection over union) of all pairs. Events that one of
them did not place stay out. What each localiser said stays in its own layer, named in `sources`.
"""

from __future__ import annotations

from itertools import combinations
from statistics import median
from typing import ClassVar

from pydantic import Field

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Part, Segment
from clipmill.stages.stage import Stage, StageSettings


class Settings(StageSettings):
    layers: tuple[str, ...] = Field(default=("grounded", "grounded_b"), min_length=2)
    """Layers of the same events, one per localiser; what `ground_text` wrote from one layer."""
    into: str = Field(default="agreed", pattern=r"^[a-z][a-z0-9_]*$")
    """Layer that is written."""
    role: str = Field(default="caption", pattern=r"^[a-z0-9_:]+$")
    """Role of the events' text; its source says which event it is."""
    name: str = Field(default="agreement", pattern=r"^[a-z0-9_]+$")
    """Name of the score, 0 to 1."""


class AgreeSpans(Stage[Settings]):
    """Keep the events that all localisers placed, with how far their places agree."""

    settings: Settings
    needs: ClassVar = {"texts:{role}"}
    provides: ClassVar = {"segments:{into}", "texts:{role}", "scores:{name}"}

    def reads(self) -> frozenset[str]:
        return super().reads() | {f"segments:{layer}" for layer in self.settings.layers}

    def process(self, part: Part) -> Part:
        settings = self.settings
        placed = [self._placed(part, layer) for layer in settings.layers]
        made: list[Segment] = []
        for event, first in placed[0].items():
            found = [layer[event] for layer in placed if event in layer]
            if len(found) < len(placed):
                continue
            spans = [segment.span.on(MILLISECONDS) for segment in found]
            start = round(median(span.start for span in spans))
            span = Span(MILLISECONDS, start, max(start, round(median(s.end for s in spans))))
            name = first.id.replace(settings.layers[0], settings.into, 1)
            segment = Segment(name, settings.into, span, parent=first.parent)
            written = first.texts_of(settings.role)[-1]
            segment.add_text(
                settings.role,
                written.text,
                written.author,
                language=written.language,
                sources=[f"{s.id}/{s.texts_of(settings.role)[-1].id}" for s in found],
            )
            overlaps = [a.iou(b) for a, b in combinations(spans, 2)]
            segment.scores[settings.name] = sum(overlaps) / len(overlaps)
            made.append(segment)
        part.video.segments.extend(sorted(made, key=lambda s: (s.span.start, s.id)))
        return part

    def _placed(self, part: Part, layer: str) -> dict[str, Segment]:
        """A layer's segments by the event that they are a place of."""
        found: dict[str, Segment] = {}
        for segment in part.video.layer(layer):
            for text in segment.texts_of(self.settings.role)[-1:]:
                found[text.sources[0] if text.sources else f"{segment.id}/{text.id}"] = segment
        return found
