"""Select the frames that a question is about: as few as a model takes, where they show it.

Frames spread evenly miss what is short. For each question every frame is held against its words by
an image-text encoder and the best are taken, none nearer to another than `apart_s`, so that the
budget is not spent on one moment. Frames that fit hardly better than the usual one do not count as
found; the budget they leave is spread over the rest of the video (`fill`) or not spent. The choice
is a sample with one instant of evidence per frame, so frames are named and not stored.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Frame, Part, Sample
from clipmill.stages.ground.watched import frames_of
from clipmill.stages.models.encoder import Vectors
from clipmill.stages.models.encoder_stage import EncoderStage, EncodeSettings

Fits = npt.NDArray[np.float64]


class Settings(EncodeSettings):
    layer: str = "whole"
    """Layer whose segments hold the questions."""
    kind: str = "qa"
    """Kind of the samples that frames are chosen for."""
    with_answer: bool = True
    """Look for question and answer together: the frames are to prove the answer."""
    frames_layer: str = "windows"
    """Layer whose frames are chosen from."""
    within: Literal["segment", "evidence"] = "segment"
    """Which of them: all that lie within the question's segment, or within its evidence."""
    budget: int = Field(default=8, ge=1, le=512)
    """Most frames of a question."""
    apart_s: float = Field(default=1.0, ge=0)
    """Chosen frames are at least so far apart."""
    share: float = Field(default=0.5, ge=0, le=1)
    """How near to the best frame's likeness a frame must come, between that of the median frame
    (0) and the best one's (1)."""
    fill: bool = False
    """Spend what is left of the budget on frames spread over the segment."""
    into: str = Field(default="frames", pattern=r"^[a-z0-9_]+$")
    """Kind of the samples that are written."""


class SelectFrames(EncoderStage[Settings]):
    """Select the frames that show what a question asks about."""

    settings: Settings
    needs: ClassVar = {"frames", "segments:{layer}", "segments:{frames_layer}", "samples:{kind}"}
    provides: ClassVar = {"samples:{into}"}

    def process(self, part: Part) -> Part:
        settings = self.settings
        frames = frames_of(part, settings.frames_layer)
        asked = [
            (segment, sample)
            for segment in part.video.layer(settings.layer)
            for sample in segment.samples
            if sample.kind == settings.kind
        ]
        if not frames or not asked:
            return part
        pictures = self.encoder.images([frame.jpeg for frame in frames])
        words = self.encoder.texts([self._query(sample) for _, sample in asked])
        times = np.array([frame.clock.seconds(frame.tick) for frame in frames])
        for (segment, sample), word in zip(asked, words, strict=True):
            spans = sample.evidence if settings.within == "evidence" else [segment.span]
            own = [
                k for k, f in enumerate(frames) if any(s.contains(f.clock, f.tick) for s in spans)
            ]
            if not own:
                continue
            chosen = self._chosen(pictures[own], word, times[own])
            picked = [frames[own[k]] for k in chosen]
            segment.add_sample(
                settings.into,
                sample.question,
                ", ".join(f"{frame.clock.seconds(frame.tick):.2f}" for frame in picked),
                self.author(*self.encoder.identity),
                evidence=[instant(frame) for frame in picked],
                sources=[sample.id],
                labels={"type": "frames", "of": str(len(own))},
            )
        return part

    def _query(self, sample: Sample) -> str:
        return (
            f"{sample.question} {sample.answer}" if self.settings.with_answer else sample.question
        )

    def _chosen(self, pictures: Vectors, word: Vectors, times: Fits) -> list[int]:
        settings = self.settings
        fits = np.asarray(pictures @ word, np.float64)
        usual = float(np.median(fits))
        least = usual + settings.share * (float(fits.max()) - usual)
        order = [int(k) for k in np.argsort(-fits, kind="stable") if fits[k] >= least]
        chosen = apart(order, times, settings.apart_s, settings.budget)
        while settings.fill and len(chosen) < settings.budget:
            # Farthest first: whatever is least covered by now.
            gaps = np.abs(times[:, None] - times[chosen]).min(axis=1)
            farthest = int(np.argmax(gaps))
            if gaps[farthest] < max(settings.apart_s, 1e-9):
                break
            chosen.append(farthest)
        return sorted(chosen)


def apart(order: list[int], times: Fits, gap_s: float, most: int) -> list[int]:
    """The first of `order` that are `gap_s` from all before them, at most so many."""
    chosen: list[int] = []
    for place in order:
        if all(abs(times[place] - times[other]) >= gap_s for other in chosen):
            chosen.append(place)
        if len(chosen) == most:
            break
    return chosen


def instant(frame: Frame) -> Span:
    """A frame's presentation time, as a span of one tick."""
    return Span(frame.clock, frame.tick, frame.tick + 1)
