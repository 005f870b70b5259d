"""Give a question wrong options: what is true at other times of the same video, and alike enough.

Options from nowhere are ruled out by reading alone. Those of the same video need watching, and are
wrong exactly because they happen elsewhere: nothing is taken whose time touches the evidence, nor
anything that says the same as what does. The similarity of an option to the answer stays inside a
band; below it an option is absurd, above it a paraphrase. The hardest are taken, and the answer
stands at each place equally often within a video, so that no position gives it away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from clipmill.schemas.clocks import Span
from clipmill.schemas.fingerprints import fingerprint
from clipmill.schemas.records import Part, Sample, Segment
from clipmill.stages.models.encoder import Vectors
from clipmill.stages.models.encoder_stage import EncoderStage, EncodeSettings


class Settings(EncodeSettings):
    layer: str = "events"
    """Layer whose segments hold the questions."""
    kind: str = "qa"
    """Kind of the samples that are given options."""
    types: tuple[str, ...] = ("open",)
    """Types of questions that are given options."""
    source: Literal["texts", "answers"] = "texts"
    """Where wrong options come from: the texts of other segments, or other questions' answers."""
    texts_layer: str = "events"
    """`texts`: layer of those segments."""
    role: str = "caption"
    """`texts`: role of their text; of several, the last written."""
    options: int = Field(default=4, ge=2, le=10)
    """Options of a question, the answer among them. Questions that get fewer are left open."""
    least_alike: float = Field(default=0.2, ge=-1, le=1)
    """Least cosine of a wrong option and the answer."""
    most_alike: float = Field(default=0.9, ge=-1, le=1)
    """From this cosine on two texts say the same: with the answer, with what is true within the
    evidence, or with another option."""
    into: str = Field(default="choice", pattern=r"^[a-z0-9_]+$")
    """Kind of the samples that are written; the open question stays."""

    @model_validator(mode="after")
    def _band_is_a_band(self) -> Self:
        if self.least_alike >= self.most_alike:
            raise ValueError("least_alike must be below most_alike")
        return self


@dataclass(frozen=True, slots=True)
class Told:
    """Something said about a stretch of the video."""

    text: str
    when: tuple[Span, ...]
    source: str


class BuildDistractors(EncoderStage[Settings]):
    """Give questions wrong options from other times of the same video."""

    settings: Settings
    needs: ClassVar = {"segments:{layer}", "samples:{kind}"}
    provides: ClassVar = {"samples:{into}", "labels:{into}_lacks"}

    def reads(self) -> frozenset[str]:
        settings = self.settings
        if settings.source == "answers":
            return super().reads()
        return super().reads() | {f"segments:{settings.texts_layer}", f"texts:{settings.role}"}

    def process(self, part: Part) -> Part:
        settings = self.settings
        asked = [
            (segment, sample)
            for segment in part.video.layer(settings.layer)
            for sample in segment.samples
            if sample.kind == settings.kind and sample.labels.get("type") in settings.types
        ]
        told = self._told(part, asked)
        if not asked or not told:
            return part
        words = self.encoder.texts([one.text for one in told])
        answers = self.encoder.texts([sample.answer for _, sample in asked])
        # Every place equally often: one after the other, from one that follows from the video.
        turn = int(fingerprint(part.video.id, part.index)[:8], 16)
        for (segment, sample), answer in zip(asked, answers, strict=True):
            chosen = self._chosen(sample, answer, told, words)
            if len(chosen) < settings.options - 1:
                segment.labels[f"{settings.into}_lacks"] = "options"
                continue
            self._write(segment, sample, [told[k] for k in chosen], turn % settings.options)
            turn += 1
        return part

    def _told(self, part: Part, asked: Sequence[tuple[Segment, Sample]]) -> list[Told]:
        settings = self.settings
        if settings.source == "answers":
            return [
                Told(sample.answer, tuple(sample.evidence), f"{segment.id}/{sample.id}")
                for segment, sample in asked
            ]
        return [
            Told(texts[-1].text, (segment.span,), f"{segment.id}/{texts[-1].id}")
            for segment in part.video.layer(settings.texts_layer)
            if (texts := segment.texts_of(settings.role))
        ]

    def _chosen(
        self, sample: Sample, answer: Vectors, told: Sequence[Told], words: Vectors
    ) -> list[int]:
        """Places in `told` of the hardest wrong options, at most as many as are wanted."""
        settings = self.settings
        true = np.array([_touches(one.when, sample.evidence) for one in told])
        likeness = words @ answer
        within = words @ words[true].T if true.any() else np.full((len(told), 1), -1.0)
        right = ~true & (likeness >= settings.least_alike) & (likeness < settings.most_alike)
        right &= within.max(axis=1) < settings.most_alike
        chosen: list[int] = []
        for place in sorted(np.flatnonzero(right), key=lambda k: (-likeness[k], k)):
            if all(words[place] @ words[other] < settings.most_alike for other in chosen):
                chosen.append(int(place))
            if len(chosen) == settings.options - 1:
                break
        return chosen

    def _write(self, segment: Segment, sample: Sample, wrong: Sequence[Told], place: int) -> None:
        options = [one.text for one in wrong]
        options.insert(place, sample.answer)
        segment.add_sample(
            self.settings.into,
            sample.question,
            sample.answer,
            self.author(*_model(sample)),
            options=options,
            evidence=list(sample.evidence),
            sources=[sample.id, *(one.source for one in wrong)],
            labels={**sample.labels, "type": "choice", "options": self.settings.source},
        )


def _model(sample: Sample) -> tuple[str, str, str]:
    by = sample.author
    return by.model, by.revision, by.prompt


def _touches(when: Sequence[Span], evidence: Sequence[Span]) -> bool:
    return any(one.overlap_s(other) > 0 for one in when for other in evidence)
