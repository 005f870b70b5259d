"""Recognisers: sound in, timed words out.

Every engine is a file in `recognizers/` that turns stretches of speech into utterances; this
module feeds it such stretches from a stream of any length and puts their times back on the time
line. Finding the speech first costs 1% of the work and is what keeps silence, rain and music from
turning into words, which every recogniser would otherwise invent.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from clipmill.schemas.records import Utterance, Word
from clipmill.stages.models.hallucination import doubted
from clipmill.stages.models.vad import RATE, Pcm, Speech, SpeechRules, VoiceActivity


@dataclass(slots=True)
class Recognition:
    """What was heard; times in milliseconds from presentation zero, in time order.

    `language` is the one asked for, or the one most was taken to be in, or None if nothing was
    heard. What was heard although nobody may have said it has its `doubt` (`hallucination`).
    """

    language: str | None
    utterances: list[Utterance] = field(default_factory=list)


class Recognizer(Protocol):
    """A speech recogniser with its model loaded."""

    model: str  # for authors and fingerprints
    revision: str

    def recognize(self, pcm: Iterable[Pcm], language: str | None = None) -> Recognition:
        """Words of a stream of 16 kHz mono int16 blocks that begins at presentation zero."""
        ...


class Engine(Protocol):
    """What a file in `recognizers/` provides: words of stretches of speech."""

    model: str
    revision: str
    batch: int  # stretches it hears at once; so many are held in memory
    rules: SpeechRules  # how long a stretch it takes, and which pauses it wants kept together

    def begin(self, language: str | None) -> None:
        """Forget the last stream; refuse a language the model does not know."""
        ...

    def hear(self, stretches: Sequence[Pcm]) -> list[tuple[str, list[Utterance]]]:
        """Language and utterances of each stretch, milliseconds from its own beginning."""
        ...


class SpeechRecognizer:
    """A `Recognizer` out of voice activity and an engine."""

    def __init__(self, engine: Engine, activity: VoiceActivity | None = None) -> None:
        self.engine = engine
        self.model = engine.model
        self.revision = engine.revision
        self._activity = activity or VoiceActivity()

    def recognize(self, pcm: Iterable[Pcm], language: str | None = None) -> Recognition:
        self.engine.begin(language)
        heard = Recognition(language)
        spoken: Counter[str] = Counter()  # samples heard in each language
        for batch in _batches(self._activity.speech(pcm, self.engine.rules), self.engine.batch):
            found = self.engine.hear([speech.pcm for speech in batch])
            for speech, (tongue, utterances) in zip(batch, found, strict=True):
                start = round(speech.start_ms)
                end = start + round(len(speech.pcm) * 1000 / RATE)
                spoken[tongue] += len(speech.pcm) if utterances else 0
                for utterance in utterances:
                    utterance.language = tongue
                    for own in doubted(utterance, speech.voiced):
                        # A stretch answers for its own time only: words may reach past its end.
                        heard.utterances.append(_placed(own, start, end))
        if heard.language is None and spoken:
            heard.language = max(spoken, key=lambda tongue: spoken[tongue])
        return heard


def _batches(speech: Iterator[Speech], size: int) -> Iterator[list[Speech]]:
    while batch := list(itertools.islice(speech, size)):
        yield batch


def _placed(utterance: Utterance, offset: int, end: int) -> Utterance:
    def at(time: int) -> int:
        return min(max(time + offset, offset), end)

    words = [
        Word(word.text, at(word.start), at(word.end), word.confidence) for word in utterance.words
    ]
    return replace(utterance, start=at(utterance.start), end=at(utterance.end), words=words)


def utterances_of(words: Iterable[Word], pause_ms: int = 600) -> list[Utterance]:
    """Words cut into utterances where nobody speaks for `pause_ms`."""
    found: list[Utterance] = []
    for word in words:
        if found and word.start - found[-1].end < pause_ms:
            last = found[-1]
            last.words.append(word)
            last.text += f" {word.text}"
            last.end = word.end
        else:
            found.append(Utterance(word.text, word.start, word.end, [word]))
    return found
