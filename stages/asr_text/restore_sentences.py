"""Sentences out of cues: what was cut for the screen is put together as it was said.

Subtitles end where the line is full and recognisers end where a window was; captions need whole
sentences with their own times. Marks and pauses decide (`sentence_rules`), doubled runs are said
once, and words that only share a cue's time take the times of a second transcript, where there is
one that says the same. That second voice is also a check: `heard` is the share of a sentence's
words that it has at that time, near zero where a subtitle belongs to another film. No model is
used, so a text without marks and without pauses keeps the borders of its cues.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Part, Transcript, Video
from clipmill.stages.asr_text.sentence_rules import Rules, punctuated, sentences, without_repeats
from clipmill.stages.asr_text.timed_words import (
    Spoken,
    has_word_times,
    joined,
    matches,
    most_spoken,
    retimed,
    timed_words,
    transcript_of,
)
from clipmill.stages.stage import Stage, StageSettings

AGREE = 0.3  # share of words two transcripts must have in common to be about the same speech


class Settings(StageSettings):
    layer: str = Field(default="sentences", pattern=r"^[a-z][a-z0-9_]*$")
    """Name of the layer of segments, one per sentence."""
    track: int | None = None
    """Audio track whose transcript is used; empty: the first transcript there is."""
    by: str = ""
    """Use the transcript that this stage of the recipe wrote; empty: the first there is."""
    align: bool = True
    """Take word times from another transcript, where the chosen one times cues only."""
    window_s: float = Field(default=10.0, gt=0)
    """How far apart the same word may stand in two transcripts."""
    pause_s: float = Field(default=0.4, gt=0)
    """A pause that ends a sentence in a text without marks."""
    long_pause_s: float = Field(default=3.0, gt=0)
    """A pause that ends a sentence although no mark does."""
    max_words: int = Field(default=60, ge=2)
    """A longer sentence is cut at its longest pause. A text with fewer marks than one in so many
    words counts as one without marks."""
    repeat_words: int = Field(default=3, ge=0)
    """Shortest run of words that is removed where it is said twice in a row; 0 keeps all."""
    repeat_gap_s: float = Field(default=2.0, ge=0)
    """After a longer pause a repetition is meant and stays."""
    punctuate: bool = True
    """Write sentences without marks with a capital letter and a full stop or question mark."""


class RestoreSentences(Stage[Settings]):
    """Put subtitles or recognised words together to sentences with their own times."""

    unit = "video"
    needs: ClassVar = {"transcripts"}
    provides: ClassVar = {"segments:{layer}", "texts:asr", "scores:heard"}

    def process(self, part: Part) -> Part:
        settings, video = self.settings, part.video
        transcript = transcript_of(video, settings.track, settings.by)
        if transcript is None:
            return part
        words = timed_words(transcript)
        other = _second(video, transcript)
        heard: set[int] = set()
        if other is not None:
            others = timed_words(other)
            pairs = matches(words, others, round(settings.window_s * 1000))
            heard = {number for number, _ in pairs}
            same = len(pairs) >= AGREE * max(len(words), 1)
            if settings.align and same and not has_word_times(transcript):
                words = retimed(words, others, pairs)
        found = self._sentences(words)
        author = self.author(transcript.author.model, transcript.author.revision)
        start = len(video.layer(settings.layer))
        video.add_segments(settings.layer, [_span(sentence) for sentence in found])
        for segment, sentence in zip(video.layer(settings.layer)[start:], found, strict=True):
            text = joined(sentence)
            language = most_spoken(sentence)
            if settings.punctuate:
                text = punctuated(text, language)
            segment.add_text("asr", text, author, language=language)
            if other is not None:
                common = sum(word.place in heard for word in sentence)
                segment.scores["heard"] = common / len(sentence)
        return part

    def _sentences(self, words: list[Spoken]) -> list[list[Spoken]]:
        settings = self.settings
        rules = Rules(
            round(settings.pause_s * 1000),
            round(settings.long_pause_s * 1000),
            settings.max_words,
            settings.repeat_words,
            round(settings.repeat_gap_s * 1000),
        )
        found = sentences(without_repeats(words, rules), rules)
        return sorted(found, key=lambda sentence: (sentence[0].start, sentence[-1].end))


def _second(video: Video, chosen: Transcript) -> Transcript | None:
    """The first other transcript that times its words."""
    return next((t for t in video.transcripts if t is not chosen and has_word_times(t)), None)


def _span(words: list[Spoken]) -> Span:
    start = min(word.start for word in words)
    return Span(MILLISECONDS, start, max(start, *(word.end for word in words)))
