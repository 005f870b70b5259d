"""Say who speaks: the words of a transcript parted by the voices in the sound.

Interviews and panels read as one text are nobody's; with speakers a sentence ends where another
voice begins. Every word goes to the voice that has most of it, a word between two voices to that of
its neighbour, and an utterance in which the voice changes is parted there. An utterance that times
no words goes whole to the voice that has most of it. The transcript that is read stays, the one
with speakers stands beside it.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator, Field

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.records import Part, Probe, Transcript, Utterance, Video, Word
from clipmill.stages.asr_text.timed_words import Spoken, joined, timed_words, transcript_of
from clipmill.stages.asr_text.transcribe import CHUNK_TIMEOUT_S
from clipmill.stages.media.probe import probed
from clipmill.stages.media.source import local
from clipmill.stages.models.diarizer import Diarizer, Pyannote, Turn
from clipmill.stages.models.identity import anchored, identify
from clipmill.stages.models.vad import RATE, Pcm
from clipmill.stages.stage import Resources, Stage, StageSettings


class Settings(StageSettings):
    model: Annotated[str, AfterValidator(anchored)] = "pyannote/speaker-diarization-community-1"
    """A pyannote pipeline: a hub name, whose terms must have been accepted, or a folder."""
    revision: str = Field(default="main", min_length=1)
    """Revision of a hub model."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the pipeline runs."""
    least: int | None = Field(default=None, ge=1)
    """Fewest speakers there can be; empty: as many as are found."""
    most: int | None = Field(default=None, ge=1)
    """Most speakers there can be."""
    by: str = ""
    """Part the transcript that this stage of the recipe wrote; empty: the first there is."""
    track: int = Field(default=0, ge=0)
    """Audio track that holds the voices, counted from 0."""
    longest_s: float = Field(default=3 * 3600.0, gt=0)
    """Longer sound gets no speakers: all of it is held at once, 230 MB an hour."""


class AssignSpeakers(Stage[Settings]):
    """Tell voices apart, and give every word its speaker."""

    unit = "video"
    needs: ClassVar = {"probe", "transcripts"}
    provides: ClassVar = {"transcripts"}
    packages: ClassVar = {"pyannote": "whisperx"}
    resources = Resources(cpus=1, timeout_s=4 * 3600.0)
    own_actor: ClassVar[bool] = True  # a loaded model

    def identity(self) -> dict[str, Any]:
        identity = super().identity()
        settings = identity["settings"]
        del settings["device"]
        settings["model"], settings["revision"] = identify(
            self.settings.model, self.settings.revision
        )
        return identity

    def setup(self) -> None:
        settings = self.settings
        self._diarizer: Diarizer = Pyannote(
            settings.model, revision=settings.revision, device=settings.device
        )

    def process(self, part: Part) -> Part:
        video, settings = part.video, self.settings
        transcript = transcript_of(video, by=settings.by)
        known = probed(video)
        if transcript is None or settings.track >= len(known.sound):
            return part
        sound = self._sound(video, known)
        if sound is None:
            return part
        turns = self._diarizer.turns(sound, settings.least, settings.most)
        author = self.author(self._diarizer.model, self._diarizer.revision)
        kind, language = transcript.kind, transcript.language
        said = list(parted(transcript, turns))
        video.transcripts.append(
            Transcript(MILLISECONDS, author, kind, language, settings.track, said)
        )
        return part

    def _sound(self, video: Video, known: Probe) -> Pcm | None:
        """All sound of the track at once, None where it is too long."""
        from clipmill.stages.media import sandbox
        from clipmill.stages.media.audio import audio

        most = round(self.settings.longest_s * RATE)
        track = self.settings.track
        pieces: list[Pcm] = [np.empty(0, np.int16)]
        with (
            local(video.source) as path,
            closing(
                sandbox.stream(audio, path, known, track=track, timeout_s=CHUNK_TIMEOUT_S)
            ) as sound,
        ):
            for piece in sound:
                pieces.append(piece)
                most -= len(piece)
                if most < 0:
                    return None
        return np.concatenate(pieces)


def parted(transcript: Transcript, turns: Sequence[Turn]) -> Iterator[Utterance]:
    """The utterances of a transcript with their speakers, parted where the speaker changes.

    `turns` are in order and do not overlap. Where nobody speaks at all, speakers stay as they were.
    """
    words = timed_words(transcript)
    cues = {number: list(own) for number, own in itertools.groupby(words, key=lambda w: w.cue)}
    for number, utterance in enumerate(transcript.said):
        own = cues.get(number, [])
        if not own:
            continue
        voices = [speaker_of(turns, word.start, word.end) for word in own]
        if not utterance.words:
            voices = [speaker_of(turns, own[0].start, own[-1].end)] * len(own)
        told = zip(own, beside(voices, utterance.speaker), strict=True)
        for speaker, run in itertools.groupby(told, key=lambda pair: pair[1]):
            yield _utterance([word for word, _ in run], speaker, bool(utterance.words))


def speaker_of(turns: Sequence[Turn], start: int, end: int) -> str | None:
    """Who has most of the time from `start` to `end`, None where nobody has any."""
    shares: Counter[str] = Counter()
    first = bisect_left(turns, start, key=lambda turn: turn.end)
    for turn in itertools.islice(turns, first, None):
        if turn.start >= max(end, start + 1):
            break
        if (shared := min(turn.end, max(end, start + 1)) - max(turn.start, start)) > 0:
            shares[turn.speaker] += shared
    return max(shares, key=lambda speaker: (shares[speaker], speaker), default=None)


def beside(voices: Sequence[str | None], otherwise: str | None) -> list[str | None]:
    """Voices with the gaps filled: by the one before, at the beginning by the one behind."""
    found: list[str | None] = []
    last = next((voice for voice in voices if voice is not None), otherwise)
    for voice in voices:
        last = voice if voice is not None else last
        found.append(last)
    return found


def _utterance(run: Sequence[Spoken], speaker: str | None, timed: bool) -> Utterance:
    words = [Word(word.text, word.start, word.end, word.confidence) for word in run]
    start, end = run[0].start, max(word.end for word in run)
    return Utterance(joined(run), start, end, words if timed else [], speaker, run[0].language)
