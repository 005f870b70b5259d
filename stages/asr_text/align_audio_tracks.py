"""Put a narration onto the picture's time line where it was recorded over another cut of it.

Audio descriptions and volunteers' narrations come as a second track that holds the film's sound
with a voice on top, often seconds or minutes off. The offset is found by comparing the two tracks
themselves (`sound_offset`), and the narration's transcript is written again at the right times; the
old one stays. One offset serves the whole length: a track that drifts or skips scenes shows as a
low confidence and is left alone. The voice is not separated from the film's sound.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.records import Part, Transcript, Word
from clipmill.stages.asr_text.sound_offset import Offset, Onsets, offset_of, onsets
from clipmill.stages.asr_text.timed_words import transcript_of
from clipmill.stages.media.probe import probed
from clipmill.stages.media.source import local
from clipmill.stages.stage import Resources, Stage, StageSettings

CHUNK_TIMEOUT_S = 120.0  # for one piece of sound out of the decoder


class Settings(StageSettings):
    reference: int = Field(default=0, ge=0)
    """Audio track that belongs to the picture, counted from 0."""
    narration: int = Field(default=1, ge=0)
    """Audio track with the narration."""
    max_offset_s: float = Field(default=120.0, gt=0)
    """The narration may be so much early or late."""
    min_confidence: float = Field(default=2.0, ge=1)
    """Least ratio of the best offset's correlation to the next best one's. Measured: 1.0 to 1.5
    for unrelated tracks of 20 to 200 s, 9 and more for the same sound under a voice."""


class AlignAudioTracks(Stage[Settings]):
    """Move a narration track's words onto the picture's time line."""

    unit = "video"
    needs: ClassVar = {"probe", "transcripts"}
    provides: ClassVar = {"transcripts", "texts:audio_offset"}
    resources = Resources(cpus=1, timeout_s=4 * 3600.0)

    def process(self, part: Part) -> Part:
        settings, video = self.settings, part.video
        sound = probed(video).sound
        if max(settings.reference, settings.narration) >= len(sound):
            return part
        found = self._offset(part)
        if found is None or found.confidence < settings.min_confidence:
            return part
        author = self.author()
        video.add_text("audio_offset", f"{found.seconds:.2f}", author)
        spoken = transcript_of(video, settings.narration)
        if spoken is not None:
            author = self.author(spoken.author.model, spoken.author.revision)
            moved = _moved(spoken, round(-found.seconds * 1000))
            moved.author = author
            video.transcripts.append(moved)
        return part

    def _offset(self, part: Part) -> Offset | None:
        first = self._onsets(part, self.settings.reference)
        second = self._onsets(part, self.settings.narration)
        return offset_of(first, second, self.settings.max_offset_s)

    def _onsets(self, part: Part, track: int) -> Onsets:
        from clipmill.stages.media import sandbox
        from clipmill.stages.media.audio import audio

        with local(part.video.source) as path:
            probe = probed(part.video)
            # Each chunk has its own time limit: a long track is no hang.
            return onsets(
                sandbox.stream(audio, path, probe, track=track, timeout_s=CHUNK_TIMEOUT_S)
            )


def _moved(transcript: Transcript, by_ms: int) -> Transcript:
    """The transcript that much later, in milliseconds; what falls before zero is left out."""

    def at(tick: int) -> int:
        return MILLISECONDS.tick(transcript.clock.exact(tick)) + by_ms

    utterances = []
    for own in transcript.utterances:
        words = [
            Word(word.text, max(at(word.start), 0), at(word.end), word.confidence)
            for word in own.words
            if at(word.end) > 0
        ]
        if at(own.end) > 0:
            utterances.append(
                replace(own, start=max(at(own.start), 0), end=at(own.end), words=words)
            )
    return Transcript(
        MILLISECONDS,
        transcript.author,
        transcript.kind,
        transcript.language,
        transcript.track,
        utterances,
    )
