"""Does a text belong to its span and to no other? Three cheap doubts, as columns.

A text that fits half the video proves nothing about the span it was given. So it is held against
all other windows of the same length: `rank` is how many fit better, `margin` how much better its
own span fits than the best of the others, `shifted` how much the fit falls when the span is moved
by half its length. Where there are paraphrases of the text, each looks for its own best window and
`agreement` is their mean overlap with the span (the ensemble check of published moment sets).
Thresholds on these are a profile's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field

from clipmill.schemas.records import Part, Segment
from clipmill.stages.ground.watched import watched
from clipmill.stages.models.encoder import Vectors
from clipmill.stages.models.encoder_stage import EncoderStage, EncodeSettings

Times = npt.NDArray[np.float64]


class Settings(EncodeSettings):
    """The encoder is best not the one that chose the span."""

    layer: str = "grounded"
    """Layer whose spans are checked."""
    role: str = "caption"
    """Role of the text."""
    frames_layer: str = "windows"
    """Layer whose frames are the video to this check, all of them together."""
    paraphrases: tuple[str, ...] = ()
    """Roles of texts that say the same in other words."""
    apart: float = Field(default=0.5, ge=0, le=1)
    """Windows that share more of their length with the span than this do not count as others."""
    name: str = Field(default="span", pattern=r"^[a-z0-9_]+$")
    """Beginning of the scores' names: span_fit (cosine), span_rank (0 is best), span_margin,
    span_shifted and, with paraphrases, span_agreement (0 to 1)."""


class VerifySpan(EncoderStage[Settings]):
    """Check that a text fits its span better than the rest of the video."""

    needs = frozenset({"frames", "segments:{layer}", "segments:{frames_layer}", "texts:{role}"})
    provides = frozenset(
        {
            "scores:{name}_fit",
            "scores:{name}_rank",
            "scores:{name}_margin",
            "scores:{name}_shifted",
        }
    )

    def reads(self) -> frozenset[str]:
        return super().reads() | {f"texts:{role}" for role in self.settings.paraphrases}

    def adds(self) -> frozenset[str]:
        more = {f"scores:{self.settings.name}_agreement"} if self.settings.paraphrases else set()
        return super().adds() | more

    def process(self, part: Part) -> Part:
        settings = self.settings
        checked = [s for s in part.video.layer(settings.layer) if s.texts_of(settings.role)]
        times, pictures = watched(part, settings.frames_layer, self.encoder)
        if not checked or not len(times):
            return part
        words = self.encoder.texts([s.texts_of(settings.role)[-1].text for s in checked])
        for segment, word in zip(checked, words, strict=True):
            self._doubt(segment, times, pictures @ word)
            said = [t.text for role in settings.paraphrases for t in segment.texts_of(role)]
            if said:
                rows = self.encoder.texts(said) @ pictures.T
                span = (segment.span.start_s, segment.span.end_s)
                agreed = [agreement(times, row, span) for row in rows]
                segment.scores[f"{settings.name}_agreement"] = float(np.mean(agreed))
        return part

    def _doubt(self, segment: Segment, times: Times, row: Vectors) -> None:
        name, scores = self.settings.name, segment.scores
        start, end = segment.span.start_s, segment.span.end_s
        fit = fit_of(times, row, start, end)
        if fit is None:
            return  # no frame in the span: not computed
        scores[f"{name}_fit"] = fit
        length = end - start
        others = [
            other
            for at in times
            if min(at + length, end) - max(at, start) <= self.settings.apart * length
            and (other := fit_of(times, row, float(at), float(at) + length)) is not None
        ]
        scores[f"{name}_rank"] = float(sum(other >= fit for other in others))
        if others:
            scores[f"{name}_margin"] = fit - max(others)
        moved = [fit_of(times, row, start + by, end + by) for by in (-length / 2, length / 2)]
        known = [value for value in moved if value is not None]
        if known:
            scores[f"{name}_shifted"] = fit - sum(known) / len(known)


def fit_of(times: Times, row: Vectors, start: float, end: float) -> float | None:
    """Mean similarity of the frames in [start, end), None where there are none."""
    first, last = np.searchsorted(times, [start, end], "left")
    return float(row[first:last].mean()) if last > first else None


def agreement(times: Times, row: Vectors, span: tuple[float, float]) -> float:
    """Overlap (intersection over union) of a span with the best window of its length."""
    length = span[1] - span[0]
    starts = [span[0], *(float(at) - length / 2 for at in times)]
    fits = [fit_of(times, row, start, start + length) for start in starts]
    known = [(value, start) for value, start in zip(fits, starts, strict=True) if value is not None]
    if not known:
        return 0.0
    best = max(value for value, _ in known)
    # Of equal windows the one nearest the span: a paraphrase that fits it no worse agrees.
    start = min((s for v, s in known if v >= best - 1e-6), key=lambda s: abs(s - span[0]))
    shared = max(0.0, length - abs(start - span[0]))
    return shared / (2 * length - shared) if length > 0 else 0.0
