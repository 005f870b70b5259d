"""Move each caption to the moment that shows it: its best-fitting place near its first time.

Speech precedes or follows what it is about by seconds, so a caption's time is only a prior. All
frames of a part are encoded once, every caption is held against every window of frames within reach
of its time, and the best place wins (`search` has the three methods; the offset search is that of
HowToCaption, Shvetsova et al. 2024). The result is a layer of its own: events before and after
re-timing can be compared, and the score says how well the place fits, whatever a profile then
keeps. Needs frames of the whole stretch, such as one a second in 8 s windows.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Part, Segment
from clipmill.stages.ground.search import (
    Place,
    bounds,
    dtw,
    extent,
    joint,
    offset,
    reachable,
    smoothed,
    suppressed,
)
from clipmill.stages.ground.watched import watched
from clipmill.stages.models.encoder import Vectors
from clipmill.stages.models.encoder_stage import EncoderStage, EncodeSettings


class Settings(EncodeSettings):
    layer: str = "events"
    """Layer whose texts are grounded."""
    role: str = Field(default="caption", pattern=r"^[a-z0-9_:]+$")
    """Role of the text that is grounded, and of the text that is written."""
    frames_layer: str = "windows"
    """Layer whose frames are searched, all of them together."""
    into: str = Field(default="grounded", pattern=r"^[a-z][a-z0-9_]*$")
    """Layer of segments that is written, one per text that found a place."""
    method: Literal["offset", "dtw", "joint"] = "offset"
    """Every text alone; in the order written; or all texts competing for the frames."""
    search_s: float = Field(default=10.0, gt=0)
    """How far a place may lie from the middle of the text's first span."""
    prior: Literal["middle", "start"] = "middle"
    """Which moment of the first span the search is centred on."""
    window_s: float = Field(default=8.0, gt=0)
    """Length of the window of frames that a text is held against."""
    span: Literal["window", "grow"] = "window"
    """The new span: the window itself, or the run of frames around its middle that fits."""
    grow_share: float = Field(default=0.5, gt=0, le=1)
    """`grow`: how near to the best frame's similarity a frame must come, between that of the
    video's median frame (0) and the best one's (1)."""
    temperature: float = Field(default=0.05, gt=0)
    """`joint`: cosines differ by hundredths; lower makes the competition sharper."""
    nms_overlap: float = Field(default=0.5, ge=0, le=1)
    """Two events that say the same and share more of their union than this: the better counts,
    the other is labelled doubled."""
    nms_alike: float = Field(default=0.95, ge=-1, le=1)
    """Cosine of two texts from which on they say the same."""
    name: str = Field(default="grounding", pattern=r"^[a-z0-9_]+$")
    """Name of the score: the cosine at the new place. NAME_before is the one at the first time,
    NAME_shift_s how far the text has moved (later is positive), label NAME_nms kept or doubled."""


class GroundText(EncoderStage[Settings]):
    """Find the moment that shows a text, near the time it came with."""

    needs = frozenset({"frames", "segments:{layer}", "segments:{frames_layer}", "texts:{role}"})
    provides = frozenset(
        {
            "segments:{into}",
            "texts:{role}",
            "scores:{name}",
            "scores:{name}_before",
            "scores:{name}_shift_s",
            "labels:{name}_nms",
        }
    )

    def process(self, part: Part) -> Part:
        settings = self.settings
        events = [s for s in part.video.layer(settings.layer) if s.texts_of(settings.role)]
        times, pictures = watched(part, settings.frames_layer, self.encoder)
        if not events or not len(times):
            return part
        words = self.encoder.texts([e.texts_of(settings.role)[-1].text for e in events])
        table = np.asarray(words @ pictures.T, np.float64)
        smooth = smoothed(table, times, settings.window_s)
        wanted = [self._wanted(event) for event in events]
        places = self._search(reachable(smooth, times, wanted, settings.search_s))
        before = [int(np.argmin(np.abs(times - at))) for at in wanted]
        made: list[tuple[Segment, int]] = []
        for number, (event, place) in enumerate(zip(events, places, strict=True)):
            if place is None:
                continue  # no frame within reach: not grounded, which is no score of zero
            span = self._span(table[number], times, place)
            segment = self._grounded(event, span)
            segment.scores[settings.name] = place.score
            segment.scores[f"{settings.name}_before"] = float(smooth[number, before[number]])
            shift = span[0] - event.span.start_s
            segment.scores[f"{settings.name}_shift_s"] = shift
            made.append((segment, number))
        self._suppress(made, words)
        part.video.segments.extend(
            sorted((segment for segment, _ in made), key=lambda s: (s.span.start, s.id))
        )
        return part

    def _wanted(self, event: Segment) -> float:
        span = event.span
        if self.settings.prior == "start":
            return span.start_s
        return (span.start_s + span.end_s) / 2

    def _search(self, table: npt.NDArray[np.float64]) -> list[Place | None]:
        if self.settings.method == "dtw":
            return dtw(table)
        if self.settings.method == "joint":
            return joint(table, self.settings.temperature)
        return offset(table)

    def _span(
        self, row: npt.NDArray[np.float64], times: npt.NDArray[np.float64], place: Place
    ) -> tuple[float, float]:
        """Seconds of the new span; a frame stands for the time half-way to its neighbours."""
        borders = _borders(times)
        if self.settings.span == "grow":
            near = np.flatnonzero(np.abs(times - times[place.index]) <= self.settings.window_s / 2)
            peak = int(near[np.argmax(row[near])])
            first, last = extent(row, peak, self.settings.grow_share)
            return float(borders[first]), float(borders[last + 1])
        low, high = bounds(times, self.settings.window_s)
        return float(borders[low[place.index]]), float(borders[high[place.index]])

    def _grounded(self, event: Segment, span: tuple[float, float]) -> Segment:
        settings = self.settings
        made = Segment(
            event.id.replace(settings.layer, settings.into, 1),
            settings.into,
            Span.of_seconds(*span, MILLISECONDS),
            parent=event.parent,
        )
        written = event.texts_of(settings.role)[-1]
        made.add_text(
            settings.role,
            written.text,
            written.author,
            language=written.language,
            sources=[f"{event.id}/{written.id}"],
        )
        return made

    def _suppress(self, made: list[tuple[Segment, int]], words: Vectors) -> None:
        settings = self.settings
        own = words[[number for _, number in made]]
        doubled = suppressed(
            [(segment.span.start_s, segment.span.end_s) for segment, _ in made],
            [segment.scores[settings.name] for segment, _ in made],
            own @ own.T,
            settings.nms_overlap,
            settings.nms_alike,
        )
        for (segment, _), out in zip(made, doubled, strict=True):
            segment.labels[f"{settings.name}_nms"] = "doubled" if out else "kept"


def _borders(times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Half-way points between frames, and as much again at both ends, never below zero."""
    if len(times) == 1:
        return np.array([max(0.0, times[0] - 0.5), times[0] + 0.5])
    middle = (times[1:] + times[:-1]) / 2
    first = max(0.0, times[0] - (middle[0] - times[0]))
    return np.concatenate([[first], middle, [times[-1] + (times[-1] - middle[-1])]])
