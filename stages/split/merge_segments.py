"""Join neighbouring shots: those that show the same event, or up to wished-for lengths.

`stitch` joins shots whose borders look alike, because one event is often filmed in several shots
and a detector also cuts within one: the last picture of a shot is held against the first of the
next. Before that, a shot whose own first and last pictures lie far apart is a transition and left
out. Source: the splitter of Panda-70M (Chen et al. 2024), whose distances under ImageBind are 0.6
and 1.0; other encoders have other scales, so measure before trusting them.

`lengths` makes several layers from one cut list, each longer one out of whole pieces of the one
before it, as VidLA (Rizve et al. 2024) does for its short, medium and long clips: they nest by
construction, and no border lies where there is no cut. It needs no model and works on whole videos;
`stitch` sees frames, and so joins nothing across the border of a part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, StringConstraints, model_validator

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Part, Segment
from clipmill.stages.models.encoder_stage import EncoderStage, EncodeSettings

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Seconds = Annotated[float, Field(gt=0)]
Distances = npt.NDArray[np.float64]


class Settings(EncodeSettings):
    layer: str = "shots"
    """Layer whose segments are joined."""
    by: Literal["stitch", "lengths"] = "stitch"
    """By what their borders show, or to lengths."""
    into: Name = "merged"
    """`stitch`: layer that is written."""
    stitch: float = Field(default=0.6, ge=0, le=2)
    """`stitch`: neighbours are joined up to this distance between the last picture of one and the
    first of the other (Euclidean, of unit vectors)."""
    transition: float = Field(default=1.0, ge=0, le=2)
    """`stitch`: a shot is left out whose first and last pictures are further apart."""
    gap_s: float = Field(default=1.0, ge=0)
    """`stitch`: shots are not joined over a longer pause, such as a dissolve that was left out."""
    max_s: float = Field(default=60.0, gt=0)
    """`stitch`: nothing is joined to more than this length."""
    lengths: dict[Name, Seconds] = Field(default_factory=dict)
    """`lengths`: layer to write and its wished-for seconds, shortest first."""

    @model_validator(mode="after")
    def _has_lengths_in_order(self) -> Self:
        wished = list(self.lengths.values())
        if self.by == "lengths" and (not wished or wished != sorted(set(wished))):
            raise ValueError("by: lengths needs `lengths`, growing: {short: 5, long: 60}")
        return self


class MergeSegments(EncoderStage[Settings]):
    """Join neighbouring segments by what they show, or to several lengths from one cut list."""

    settings: Settings
    needs = frozenset({"segments:{layer}"})

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        if settings.by == "lengths":  # no model, and families are formed before videos are parted
            vars(self).update(unit="video", own_actor=False, packages={})

    def identity(self) -> dict[str, Any]:
        own = super().identity()
        if self.settings.by == "lengths":
            del own["settings"]["encoder"]
        return own

    def reads(self) -> frozenset[str]:
        return super().reads() | ({"frames"} if self.settings.by == "stitch" else frozenset())

    def adds(self) -> frozenset[str]:
        settings = self.settings
        if settings.by == "lengths":
            return frozenset(f"segments:{layer}" for layer in settings.lengths)
        return frozenset({f"segments:{settings.into}"})

    def setup(self) -> None:
        if self.settings.by == "stitch":
            super().setup()

    def close(self) -> None:
        if self.settings.by == "stitch":
            super().close()

    def process(self, part: Part) -> Part:
        settings = self.settings
        segments = part.video.layer(settings.layer)
        if settings.by == "lengths":
            pieces = [segment.span for segment in segments]
            for layer, seconds in settings.lengths.items():
                pieces = [hull(run) for run in runs_of_length(pieces, seconds)]
                part.video.add_segments(layer, pieces)
            return part
        for run in self._stitched(part, segments):
            # Named after its first segment: parts of a video count apart.
            name = f"{settings.into}-{run[0].id.rsplit('-', 1)[-1]}"
            span = hull([segment.span for segment in run])
            parents = {segment.parent for segment in run}
            parent = parents.pop() if len(parents) == 1 else None
            part.video.segments.append(Segment(name, settings.into, span, parent))
        return part

    def _stitched(self, part: Part, segments: Sequence[Segment]) -> Iterator[list[Segment]]:
        settings = self.settings
        seen = [segment for segment in segments if part.frames.get(segment.id)]
        ends = [part.frames[segment.id][place].jpeg for segment in seen for place in (0, -1)]
        vectors = np.asarray(self.encoder.images(ends), np.float64)
        first, last = vectors[0::2], vectors[1::2]
        steady = np.linalg.norm(last - first, axis=1) <= settings.transition
        run: list[Segment] = []
        end = 0  # number of the run's last segment
        for number, segment in enumerate(seen):
            if not steady[number]:
                continue
            if run and (
                np.linalg.norm(first[number] - last[end]) > settings.stitch
                or segment.span.start_s - run[-1].span.end_s > settings.gap_s
                or segment.span.end_s - run[0].span.start_s > settings.max_s
            ):
                yield run
                run = []
            run.append(segment)
            end = number
        if run:
            yield run


def hull(spans: Sequence[Span]) -> Span:
    """From the first span's start to the last one's end, on the first one's clock."""
    clock = spans[0].clock
    return Span(clock, spans[0].start, max(spans[0].start, *(s.on(clock).end for s in spans)))


def runs_of_length(spans: Sequence[Span], seconds: float) -> list[list[Span]]:
    """Runs of consecutive spans, each as near to `seconds` as whole spans allow, none left out.

    A last run below half the length joins the one before it.
    """
    runs: list[list[Span]] = []
    for span in spans:
        if runs:
            have = runs[-1][-1].end_s - runs[-1][0].start_s
            with_it = span.end_s - runs[-1][0].start_s
            if with_it <= seconds or with_it - seconds < seconds - have:
                runs[-1].append(span)
                continue
        runs.append([span])
    if len(runs) > 1 and runs[-1][-1].end_s - runs[-1][0].start_s < seconds / 2:
        short = runs.pop()
        runs[-1] += short
    return runs
