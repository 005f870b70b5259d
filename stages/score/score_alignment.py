"""Score how well a text fits its clip: cosine of the text's vector and the picture's.

From a stored embedding the clip side costs nothing, and many texts can be scored later. From
frames the text can also be held against its best frame (`max`), which is kinder to a clip where
the thing named is seen only briefly; published sets use both. Scores of two encoders are not
comparable: thresholds belong to one model.
"""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from clipmill.schemas.records import Part, Segment
from clipmill.stages.models.encoder import Vectors, pool
from clipmill.stages.models.encoder_stage import EncoderStage, EncodeSettings


class Settings(EncodeSettings):
    layer: str = "shots"
    """Layer whose segments are scored."""
    role: str = "caption"
    """Role of the text that is scored; of several, the last written."""
    name: str = Field(default="alignment", pattern=r"^[a-z0-9_]+$")
    """Name of the score, a cosine between -1 and 1."""
    embedding: str | None = None
    """Score against this stored embedding; none encodes frames."""
    rivals: tuple[str, ...] = ()
    """Roles of texts that ought to fit less, e.g. of `perturb_text`: score NAME_margin is how far
    the best of them lies behind, below zero where one of them fits better."""
    pooling: Literal["mean", "max"] = "mean"
    """Of frames: the text against the mean frame, or the best of its frames' scores."""
    frames: int = Field(default=8, ge=1)
    """At most so many frames a clip, spread over it."""

    @model_validator(mode="after")
    def _one_vector_has_no_best_frame(self) -> Self:
        if self.embedding is not None and self.pooling == "max":
            raise ValueError("pooling: max needs frames; leave out `embedding`")
        return self


class ScoreAlignment(EncoderStage[Settings]):
    """Score how well a clip's text fits its picture, by an image-text encoder."""

    needs = frozenset({"segments:{layer}", "texts:{role}"})
    provides = frozenset({"scores:{name}"})

    def reads(self) -> frozenset[str]:
        stored = self.settings.embedding
        rivals = {f"texts:{role}" for role in self.settings.rivals}
        return super().reads() | {f"embeddings:{stored}" if stored else "frames"} | rivals

    def adds(self) -> frozenset[str]:
        margin = {f"scores:{self.settings.name}_margin"} if self.settings.rivals else set()
        return super().adds() | margin

    def process(self, part: Part) -> Part:
        scored = [
            (segment, texts[-1].text)
            for segment in part.video.layer(self.settings.layer)
            if (texts := segment.texts_of(self.settings.role))
        ]
        words = self.encoder.texts([text for _, text in scored])
        pictures = self._pictures(part, [segment for segment, _ in scored])
        for (segment, _), word, rows in zip(scored, words, pictures, strict=True):
            if len(rows):  # nothing to compare with: not computed, which is not a zero
                segment.scores[self.settings.name] = float(np.max(rows @ word))
        if self.settings.rivals:
            self._margins([segment for segment, _ in scored], pictures)
        return part

    def _margins(self, segments: list[Segment], pictures: list[Vectors]) -> None:
        """How far each segment's text lies before the best of its rivals; none without both."""
        rivals = [
            [text.text for role in self.settings.rivals for text in segment.texts_of(role)[-1:]]
            for segment in segments
        ]
        words = self.encoder.texts([text for texts in rivals for text in texts])
        start, name = 0, self.settings.name
        for segment, texts, rows in zip(segments, rivals, pictures, strict=True):
            own = words[start : start + len(texts)]
            start += len(texts)
            if len(rows) and len(own):
                best = float(np.max(rows @ own.T))
                segment.scores[f"{name}_margin"] = segment.scores[name] - best

    def _pictures(self, part: Part, segments: list[Segment]) -> list[Vectors]:
        """Per segment the vectors [k, d] whose best match counts; k is 0 or 1 unless `max`."""
        if self.settings.embedding:
            return [self.stored(part, segment, self.settings.embedding) for segment in segments]
        rows = self.pictures(part, segments, self.settings.frames)
        if self.settings.pooling == "max":
            return rows
        means = [pool(own) for own in rows]
        return [
            own[:0] if mean is None else mean[None] for own, mean in zip(rows, means, strict=True)
        ]
