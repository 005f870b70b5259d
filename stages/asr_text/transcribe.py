"""Words and sentences with their times, from subtitles or from the sound.

A caption somebody wrote beats what a recogniser hears, and costs nothing; so `auto` looks for a
side file, then for a text track in the container, and listens only where there is neither. The
whole video is heard as one stream, in constant memory. No speech, no sound and no such track are
results, an empty list of transcripts, and never errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.errors import OverLimit, RecipeError
from clipmill.schemas.records import Author, Part, Probe, Transcript, Utterance, Video
from clipmill.stages.asr_text.languages import short_language
from clipmill.stages.asr_text.side_files import Side, beside, read_side
from clipmill.stages.asr_text.subtitle_files import cue_utterances, is_sound, parse
from clipmill.stages.media.source import local
from clipmill.stages.models.identity import anchored, identify
from clipmill.stages.models.recognizer import Engine, Recognizer, SpeechRecognizer
from clipmill.stages.stage import Resources, Stage, StageSettings

CHUNK_TIMEOUT_S = 120.0  # for one piece of sound out of the decoder


def anchored_or_empty(model: str) -> str:
    return anchored(model) if model else ""  # the empty path is a folder too


class Settings(StageSettings):
    engine: Literal["auto", "subtitles", "pocketsphinx", "faster_whisper", "whisperx"] = "auto"
    """Where words come from. `auto`: a subtitle file, else a text track in the container, else a
    recogniser: faster_whisper where `model` names one, pocketsphinx (English) otherwise. whisperx
    times words best and runs in an environment of its own, which the entry names as its `env`."""
    model: Annotated[str, AfterValidator(anchored_or_empty)] = ""
    """Whisper model: a hub name such as large-v3, or a folder with a converted one."""
    revision: str = Field(default="main", min_length=1)
    """Revision of a hub model, so that a later upload under the same name changes nothing."""
    language: str = ""
    """Language of the speech, e.g. en; empty: whatever the recogniser or the file says. Subtitles
    known to be in another language are passed over."""
    languages: Literal["one", "each"] = "one"
    """Without `language`, what a Whisper model takes a stretch for: the language of the first one
    it is sure of, or its own, which suits videos in several languages and errs more on short
    stretches. `each` is faster_whisper's."""
    track: int | Literal["all"] = Field(default=0, union_mode="left_to_right")
    """Audio track to listen to, counted from 0, or all: one transcript each."""
    vad_threshold: float = Field(default=0.5, gt=0, lt=1)
    """Probability above which sound counts as speech. Raise it where noise turns into words."""
    keep_sounds: bool = False
    """Keep subtitle cues that describe a sound, such as [music], and quote nobody."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where a Whisper model runs."""
    compute_type: str = "default"
    """Number format of a Whisper model, e.g. int8, float16; default: as it was converted."""
    beam_size: int = Field(default=5, ge=1, le=20)
    """Beams of a Whisper model; 1 is quicker and a little worse."""
    align_model: Annotated[str, AfterValidator(anchored_or_empty)] = ""
    """Alignment model of whisperx, a hub name or a folder; empty: its own choice per language."""
    batch_size: int = Field(default=16, ge=1, le=256)
    """Stretches of up to 30 s that whisperx hears at once."""

    @model_validator(mode="after")
    def _one_language_but_for_faster_whisper(self) -> Self:
        if self.languages == "each" and (
            self.language or self.engine in ("pocketsphinx", "whisperx")
        ):
            raise ValueError("languages: each needs faster_whisper and no fixed language")
        return self


class Transcribe(Stage[Settings]):
    """Write what is said, with times: from subtitles, or by speech recognition."""

    unit = "video"
    needs: ClassVar = {"probe"}
    provides: ClassVar = {"transcripts"}
    resources = Resources(cpus=1, timeout_s=4 * 3600.0)
    own_actor: ClassVar[bool] = True  # a loaded model; decoding goes on beside it
    version = 2

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._loaded: Recognizer | None = None

    @property
    def recognizer(self) -> Literal["pocketsphinx", "faster_whisper", "whisperx"] | None:
        """The recogniser that these settings lead to, None where only subtitles are read."""
        engine = self.settings.engine
        if engine == "subtitles":
            return None
        if engine == "auto":
            return "faster_whisper" if self.settings.model else "pocketsphinx"
        return engine

    def requires(self) -> dict[str, str]:
        if self.recognizer is None:
            return {}
        return {
            self.recognizer: "whisperx" if self.recognizer == "whisperx" else "speech",
            "faster_whisper": "speech",  # carries the voice activity network
            "onnxruntime": "speech",
        }

    def identity(self) -> dict[str, Any]:
        identity = super().identity()
        settings = identity["settings"]
        aligner, batch = settings.pop("align_model"), settings.pop("batch_size")
        del settings["device"]
        if self.recognizer != "faster_whisper":
            del settings["languages"]
        if self.recognizer in ("faster_whisper", "whisperx") and self.settings.model:
            settings["model"], settings["revision"] = identify(
                self.settings.model, self.settings.revision
            )
        if self.recognizer == "whisperx":
            settings["align_model"] = identify(aligner) if aligner else None
            settings["batch_size"] = batch  # the first batch decides the language
        return identity

    def setup(self) -> None:
        if self.recognizer is not None:
            engine = self._engine()
            engine.begin(self.settings.language or None)  # a language it lacks fails here, at once
            self._loaded = SpeechRecognizer(engine)

    def process(self, part: Part) -> Part:
        video = part.video
        if video.probe is None:
            raise RecipeError(
                "there is no probe to take the tracks from",
                key="transcribe",
                cure="put probe_media before it",
                stage=self.name(),
            )
        written = None
        if self.settings.engine in ("auto", "subtitles"):
            written = self._side_file(video) or self._text_track(video, video.probe)
        if written is not None:
            video.transcripts.append(written)
        elif self._loaded is not None:
            video.transcripts.extend(self._heard(video, video.probe, self._loaded))
        return part

    def _side_file(self, video: Video) -> Transcript | None:
        wanted = short_language(self.settings.language)
        given = video.side_files.get("subtitles")
        sides = [Side(given, None)] if given else beside(video.source, wanted)
        for side in sides:
            try:
                subtitles = parse(read_side(side, video.id))
            except OverLimit:
                if self.settings.engine == "subtitles" or given:
                    raise
                continue  # a stray file beside the video, not something the input names
            language = short_language(side.language or subtitles.language)
            if wanted and language and language != wanted:
                continue
            author = self.author("subtitles", "", side.form)
            found = self._written(subtitles.utterances, video, author, language or wanted)
            if found is not None:
                return found
        return None

    def _text_track(self, video: Video, probe: Probe) -> Transcript | None:
        from clipmill.stages.media.subtitle_tracks import text_streams, text_track

        wanted = short_language(self.settings.language)
        for stream in text_streams(probe):
            language = short_language(stream.language)
            if wanted and language and language != wanted:
                continue
            with local(video.source) as path:
                cues = text_track(path, probe, stream.index)
            author = self.author("subtitles", "", stream.codec)
            found = self._written(cue_utterances(cues), video, author, language or wanted)
            if found is not None:
                return found
        return None

    def _written(
        self, cues: list[Utterance], video: Video, author: Author, language: str | None
    ) -> Transcript | None:
        """A transcript of the cues that fall into the picture; None if nothing is left."""
        end = _end_ms(video.probe) if video.probe else 0
        kept = [
            cue
            for cue in cues
            if cue.start < end and (self.settings.keep_sounds or not is_sound(cue.text))
        ]
        for cue in kept:
            cue.end = min(cue.end, end)
            cue.words = [word for word in cue.words if word.start < end]
            for word in cue.words:
                word.end = min(word.end, end)
        if not kept:
            return None
        return Transcript(MILLISECONDS, author, "subtitle", language, None, kept)

    def _heard(self, video: Video, probe: Probe, recognizer: Recognizer) -> Iterator[Transcript]:
        from clipmill.stages.media import sandbox
        from clipmill.stages.media.audio import audio

        there = range(len(probe.sound))
        tracks = there if self.settings.track == "all" else [self.settings.track]
        for track in tracks:
            if track not in there:
                continue
            with local(video.source) as path:
                # Each chunk has its own time limit: a long track is no hang.
                sound = sandbox.stream(audio, path, probe, track=track, timeout_s=CHUNK_TIMEOUT_S)
                heard = recognizer.recognize(sound, self.settings.language or None)
            if heard.utterances:
                author = self.author(recognizer.model, recognizer.revision)
                yield Transcript(
                    MILLISECONDS,
                    author,
                    "speech",
                    short_language(heard.language),
                    track,
                    heard.utterances,
                )

    def _engine(self) -> Engine:
        settings = self.settings
        if self.recognizer == "pocketsphinx":
            from clipmill.stages.models.recognizers.pocketsphinx import PocketSphinx

            return PocketSphinx(settings.vad_threshold)
        if self.recognizer == "whisperx":
            from clipmill.stages.models.recognizers.whisperx import WhisperX

            return WhisperX(
                settings.model,
                revision=settings.revision,
                align_model=settings.align_model,
                device=settings.device,
                compute_type=settings.compute_type,
                beam_size=settings.beam_size,
                batch=settings.batch_size,
                threshold=settings.vad_threshold,
            )
        from clipmill.stages.models.recognizers.faster_whisper import FasterWhisper

        return FasterWhisper(
            settings.model,
            revision=settings.revision,
            device=settings.device,
            compute_type=settings.compute_type,
            beam_size=settings.beam_size,
            threshold=settings.vad_threshold,
            each=settings.languages == "each",
        )


def _end_ms(probe: Probe) -> int:
    # The picture may begin after presentation zero, behind the sound.
    return MILLISECONDS.tick(max(probe.span.end_s, probe.duration_s), "ceil")
