"""Put written words onto the sound: a time for each, and how sure it is that it is said there.

A caption file times cues and says nothing about single words; a recogniser times words and gets
some of them wrong. Given both the words and the sound, an aligner finds each word's place, which
needs a far smaller model than hearing them. A word that is not what the voice says fits its sound
badly: captions with one wrong word, or of another film, can be told without a recogniser. The
transcript that is read stays, the aligned one stands beside it; sentences can be made of either.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator, Field

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.records import Part, Probe, Transcript, Utterance, Video, Word
from clipmill.stages.asr_text.timed_words import (
    Spoken,
    joined,
    retimed,
    timed_words,
    transcript_of,
)
from clipmill.stages.asr_text.transcribe import CHUNK_TIMEOUT_S, anchored_or_empty
from clipmill.stages.media.probe import probed
from clipmill.stages.media.source import local
from clipmill.stages.models.aligner import Aligned, Aligner
from clipmill.stages.models.identity import identify
from clipmill.stages.models.vad import RATE, Pcm
from clipmill.stages.stage import Resources, Stage, StageSettings


class Settings(StageSettings):
    engine: Literal["pocketsphinx", "faster_whisper"] = "pocketsphinx"
    """What knows how words sound: pocketsphinx (English, no download) or a Whisper model."""
    model: Annotated[str, AfterValidator(anchored_or_empty)] = ""
    """Whisper model: a hub name such as large-v3, or a folder with a converted one."""
    revision: str = Field(default="main", min_length=1)
    """Revision of a hub model."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where a Whisper model runs."""
    compute_type: str = "default"
    """Number format of a Whisper model, e.g. int8, float16; default: as it was converted."""
    by: str = ""
    """Align the transcript that this stage of the recipe wrote; empty: the first there is."""
    track: int = Field(default=0, ge=0)
    """Audio track that holds the words, counted from 0."""
    pad_s: float = Field(default=0.3, ge=0, le=5)
    """How much earlier and later than its cue a word may be said."""


class AlignWords(Stage[Settings]):
    """Find where in the sound each written word is said, and doubt those that are not."""

    unit = "video"
    needs: ClassVar = {"probe", "transcripts"}
    provides: ClassVar = {"transcripts"}
    resources = Resources(cpus=1, timeout_s=3600.0)
    own_actor: ClassVar[bool] = True  # a loaded model

    def requires(self) -> dict[str, str]:
        return {self.settings.engine: "speech"}

    def identity(self) -> dict[str, Any]:
        identity = super().identity()
        settings = identity["settings"]
        del settings["device"]
        if self.settings.engine == "faster_whisper" and self.settings.model:
            named = identify(self.settings.model, self.settings.revision)
            settings["model"], settings["revision"] = named
        return identity

    def setup(self) -> None:
        self._aligner = self._open()

    def process(self, part: Part) -> Part:
        video, settings = part.video, self.settings
        transcript = transcript_of(video, by=settings.by)
        known = probed(video)
        if transcript is None or settings.track >= len(known.sound):
            return part
        if not self._aligner.begin(transcript.language):
            return part  # a language it does not know: not aligned, which is no doubt
        aligned = list(self._aligned(transcript, video, known))
        author = self.author(self._aligner.model, self._aligner.revision)
        kind, language = transcript.kind, transcript.language
        video.transcripts.append(
            Transcript(MILLISECONDS, author, kind, language, settings.track, aligned)
        )
        return part

    def _aligned(self, transcript: Transcript, video: Video, known: Probe) -> Iterator[Utterance]:
        from clipmill.stages.media import sandbox
        from clipmill.stages.media.audio import audio

        pad, longest = self.settings.pad_s, self._aligner.longest_s
        together = runs(timed_words(transcript), pad, longest)
        track = self.settings.track
        with (
            local(video.source) as path,
            closing(
                sandbox.stream(audio, path, known, track=track, timeout_s=CHUNK_TIMEOUT_S)
            ) as sound,
        ):
            for run, pcm, start in under(together, sound, pad, longest):
                places = self._aligner.align(pcm, [word.text for word in run])
                yield from _utterances(run, places, start)

    def _open(self) -> Aligner:
        settings = self.settings
        if settings.engine == "pocketsphinx":
            from clipmill.stages.models.aligners.pocketsphinx import PocketSphinxAligner

            return PocketSphinxAligner()
        from clipmill.stages.models.aligners.faster_whisper import WhisperAligner

        return WhisperAligner(
            settings.model,
            revision=settings.revision,
            device=settings.device,
            compute_type=settings.compute_type,
        )


def runs(words: Sequence[Spoken], pad_s: float, longest_s: float) -> list[list[Spoken]]:
    """The words of cues that touch, put together as far as an aligner takes them.

    A word at the border of a cue is often said under its neighbour: apart, each cue would have to
    make its own words of the other's sound.
    """
    pad, longest = round(pad_s * 1000), round(longest_s * 1000)
    cues = [list(cue) for _, cue in itertools.groupby(words, key=lambda word: word.cue)]
    found: list[list[Spoken]] = []
    until = 0
    for cue in sorted(cues, key=lambda cue: cue[0].start):
        end = max(word.end for word in cue)
        touches = bool(found) and cue[0].start - until <= 2 * pad
        if touches and max(end, until) - found[-1][0].start + 2 * pad <= longest:
            found[-1].extend(cue)
            until = max(until, end)
        else:
            found.append(cue)
            until = end
    return found


def under(
    together: Sequence[list[Spoken]], sound: Iterator[Pcm], pad_s: float, longest_s: float
) -> Iterator[tuple[list[Spoken], Pcm, int]]:
    """Every run of words with the sound under it and the millisecond that sound begins with.

    Runs are in the order of their starts, so the sound is read once, and of it no more is held than
    one of them needs. One that is longer than `longest_s` gets no sound.
    """
    pad = round(pad_s * 1000)
    held: Pcm = np.empty(0, np.int16)
    first = 0  # sample that `held` begins with
    for run in together:
        start = max(run[0].start - pad, 0)
        end = max(word.end for word in run) + pad
        if end - start > longest_s * 1000:
            yield run, held[:0], start
            continue
        begin, stop = (at * RATE // 1000 for at in (start, end))
        while first + len(held) < stop and (more := next(sound, None)) is not None:
            gone = min(max(begin - first, 0), len(held))
            held, first = np.concatenate([held[gone:], more]), first + gone
        yield run, held[max(begin - first, 0) : max(stop - first, 0)], start


def _utterances(
    run: list[Spoken], places: Sequence[Aligned | None], start: int
) -> Iterator[Utterance]:
    """The cues of a run at the times that were found.

    Words without a place share the time between those that have one.
    """
    found = [
        (number, replace(word, start=start + at.start, end=start + at.end))
        for number, (word, at) in enumerate(zip(run, places, strict=True))
        if at is not None
    ]
    pairs = [(number, n) for n, (number, _) in enumerate(found)]
    moved = retimed(run, [word for _, word in found], pairs)
    placed = zip(moved, places, strict=True)
    for _, cue in itertools.groupby(placed, key=lambda word: word[0].cue):
        own = list(cue)
        words = [
            Word(word.text, word.start, word.end, at.confidence if at else None) for word, at in own
        ]
        said = [word for word, _ in own]
        start_ms, end_ms = words[0].start, max(word.end for word in words)
        yield Utterance(joined(said), start_ms, end_ms, words, said[0].speaker, said[0].language)
