"""Score a text by itself: length, rate, silences, repetition, language, doubts of a recogniser.

Cheap columns that published funnels judge first, for speech, titles and captions alike; none says
whether the text is true of the picture. The rate counts words over the segment's whole length, so
a clip in which little is said counts as slow. Repetition is the share of word triples that have
been there before: loops of recognisers and models reach 0.5, prose stays under 0.05. The language
is a small detector's (`languages_seen`); the model's loss is computed only where it is asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, ClassVar, Literal

from pydantic import Field

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.records import Part, Segment, Video
from clipmill.stages.asr_text.timed_words import Spoken, timed_words, transcript_of
from clipmill.stages.models.language_model import LanguageModelSettings, open_language_model
from clipmill.stages.score.languages_seen import language_of
from clipmill.stages.stage import Stage, StageSettings

Measure = Literal["length", "rate", "gap", "repetition", "language", "confidence", "loss"]
_SCORES = {
    "length": ("words", "chars"),
    "rate": ("rate",),
    "gap": ("gap_s",),
    "repetition": ("repetition",),
    "confidence": ("confidence", "confidence_least"),
    "loss": ("loss",),
}


class Settings(StageSettings):
    layer: str = "shots"
    """Layer whose segments are scored."""
    role: str = "asr"
    """Role of the text that is scored; of several, the last written."""
    name: str = Field(default="text", pattern=r"^[a-z0-9_]+$")
    """Beginning of the scores' names: text_words, text_chars, text_rate (words per second),
    text_gap_s (longest silence), text_repetition (0 to 1), text_confidence and
    text_confidence_least (mean and least of its words, 0 to 1), text_loss; and the label
    text_language."""
    measures: tuple[Measure, ...] = ("length", "rate", "repetition", "language")
    """What is measured. `gap` and `confidence` read the transcript's words, `loss` loads
    `language_model`."""
    track: int | None = None
    """Audio track whose transcript is read; empty: the first transcript there is."""
    by: str = ""
    """Read the transcript that this stage of the recipe wrote; empty: the first."""
    language_model: LanguageModelSettings = LanguageModelSettings()
    """Model of `loss`, the mean loss in nats per token of the text behind the video's title."""


class ScoreText(Stage[Settings]):
    """Score texts by themselves: length, rate, silences, repetition, language, model loss."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        if "loss" in settings.measures:
            vars(self).update(own_actor=True)

    needs: ClassVar = {"segments:{layer}", "texts:{role}"}

    def reads(self) -> frozenset[str]:
        return super().reads() | ({"transcripts"} if self._reads_words() else set())

    def _reads_words(self) -> bool:
        return bool({"gap", "confidence"} & set(self.settings.measures))

    def adds(self) -> frozenset[str]:
        name, measures = self.settings.name, self.settings.measures
        made = {f"scores:{name}_{s}" for measure in measures for s in _SCORES.get(measure, ())}
        return frozenset(made | ({f"labels:{name}_language"} if "language" in measures else set()))

    def requires(self) -> dict[str, str]:
        models = {"torch": "models", "transformers": "models"}
        return models if "loss" in self.settings.measures else {}

    def identity(self) -> dict[str, Any]:
        own = super().identity()
        if "loss" in self.settings.measures:
            own["settings"]["language_model"] = self.settings.language_model.identity()
        else:
            del own["settings"]["language_model"]
        return own

    def setup(self) -> None:
        self.model = None
        if "loss" in self.settings.measures:
            self.model = open_language_model(self.settings.language_model)
            self.model.setup()

    def process(self, part: Part) -> Part:
        settings = self.settings
        scored = [
            (segment, texts[-1].text)
            for segment in part.video.layer(settings.layer)
            if (texts := segment.texts_of(settings.role))
        ]
        said = self._said(part.video) if self._reads_words() else []
        for segment, text in scored:
            self._measure(segment, text, said)
        if self.model is not None:
            title = title_of(part.video)
            losses = self.model.losses([(title, text) for _, text in scored])
            for (segment, _), loss in zip(scored, losses, strict=True):
                if loss is not None:
                    segment.scores[f"{settings.name}_loss"] = loss
        return part

    def close(self) -> None:
        if self.model is not None:
            self.model.close()

    def _measure(self, segment: Segment, text: str, said: list[Spoken]) -> None:
        name, measures, scores = self.settings.name, self.settings.measures, segment.scores
        words = text.split()
        seconds = segment.span.duration_s
        if "length" in measures:
            scores[f"{name}_words"] = float(len(words))
            scores[f"{name}_chars"] = float(len(text))
        if "rate" in measures and seconds > 0:
            scores[f"{name}_rate"] = len(words) / seconds
        if "gap" in measures:
            scores[f"{name}_gap_s"] = longest_gap(segment, said)
        if "confidence" in measures and (sure := confidences(segment, said)):
            scores[f"{name}_confidence"] = sum(sure) / len(sure)
            scores[f"{name}_confidence_least"] = min(sure)
        if "repetition" in measures:
            scores[f"{name}_repetition"] = repetition(words)
        if "language" in measures:
            segment.labels[f"{name}_language"] = language_of(text) or "unknown"

    def _said(self, video: Video) -> list[Spoken]:
        transcript = transcript_of(video, self.settings.track, self.settings.by)
        words = timed_words(transcript) if transcript else []
        return sorted(words, key=lambda word: word.start)


def longest_gap(segment: Segment, said: list[Spoken]) -> float:
    """The longest stretch of a segment in which no word of `said` (by start) is spoken, seconds."""
    span = segment.span.on(MILLISECONDS)
    first = bisect_left(said, span.start, key=lambda word: word.start)
    while first and said[first - 1].end > span.start:
        first -= 1
    silent_from, longest = span.start, 0
    for word in said[first:]:
        if word.start >= span.end:
            break
        longest = max(longest, word.start - silent_from)
        silent_from = max(silent_from, word.end)
    return max(longest, span.end - silent_from) / 1000


def confidences(segment: Segment, said: list[Spoken]) -> list[float]:
    """Of the words that begin in a segment, by start, those that somebody was sure of or not."""
    span = segment.span.on(MILLISECONDS)
    first, last = (
        bisect_left(said, at, key=lambda word: word.start) for at in (span.start, span.end)
    )
    return [word.confidence for word in said[first:last] if word.confidence is not None]


def repetition(words: list[str]) -> float:
    """Share of word triples that stand in the text before, 0.0 where there are none."""
    keys = [word.casefold().strip(".,;:!?\"'") for word in words]
    triples = list(zip(keys, keys[1:], keys[2:], strict=False))
    return 1 - len(set(triples)) / len(triples) if triples else 0.0


def title_of(video: Video) -> str:
    """The video's title as parsed, as its manifest says, or as its file says."""
    for text in video.texts:
        if text.role == "title":
            return text.text
    return video.meta.get("title") or (video.probe.tags.get("title", "") if video.probe else "")
