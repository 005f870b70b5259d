"""Recognition: real speech against its words, and engines under one roof."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from heard import errors, heard_words, sound, words_of

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.errors import RecipeError
from clipmill.schemas.records import Author, Part, Transcript, Utterance, Video, Word
from clipmill.stages.asr_text.assign_speech import AssignSpeech
from clipmill.stages.asr_text.assign_speech import Settings as AssignSettings
from clipmill.stages.asr_text.restore_sentences import RestoreSentences
from clipmill.stages.asr_text.restore_sentences import Settings as Sentences
from clipmill.stages.compose.speech import say
from clipmill.stages.models.recognizer import SpeechRecognizer, utterances_of
from clipmill.stages.models.recognizers.faster_whisper import FasterWhisper
from clipmill.stages.models.vad import RATE, Pcm, SpeechRules, VoiceActivity

CLEAN = (
    "speech/sense_0880.wav",
    "speech/sense_0890.wav",
    "speech/goforward_16k_s16le.raw",
    "speech/new_home_in_the_stars.wav",
    "speech/pico_en.wav",
    "speech/sb_spk1_snt5.wav",
)


class Counting:
    """An engine at the edge: each stretch is one utterance that names its own first sample."""

    model, revision = "counting", "1"
    rules = SpeechRules(max_length=3.0)

    def __init__(self, batch: int = 1) -> None:
        self.batch = batch

    def begin(self, language: str | None) -> None:
        self.heard = 0
        self.most = 0

    def hear(self, stretches: Sequence[Pcm]) -> list[tuple[str, list[Utterance]]]:
        self.most = max(self.most, len(stretches))
        return [self._hear(pcm) for pcm in stretches]

    def _hear(self, pcm: Pcm) -> tuple[str, list[Utterance]]:
        self.heard += len(pcm)
        length = len(pcm) * 1000 // RATE
        words = [Word("first", -40, 200), Word("last", length - 200, length + 5000)]
        return "en", [Utterance("first last", -40, length + 5000, words)]


def test_pocketsphinx_gets_most_words_of_clear_speech_right(
    pocketsphinx: SpeechRecognizer, real_media: Path, truth: dict[str, Any]
) -> None:
    wrong = total = 0
    offsets: list[float] = []
    for name in CLEAN:
        recognition = pocketsphinx.recognize([sound(real_media / name)], "en")
        wanted = words_of(truth[name]["text"])
        wrong, total = wrong + errors(wanted, heard_words(recognition)), total + len(wanted)
        known = word_times(real_media, truth[name])
        heard = [word for utterance in recognition.utterances for word in utterance.words]
        same = SequenceMatcher(None, [w for w, *_ in known], [w.text for w in heard], False)
        for block in same.get_matching_blocks():
            for (_, start, end), word in zip(
                known[block.a : block.a + block.size], heard[block.b :], strict=False
            ):
                offsets += [abs(word.start - start), abs(word.end - end)]
    assert wrong / total < 0.25  # measured: 0.15
    assert len(offsets) > 40
    assert np.median(offsets) <= 40  # milliseconds; a frame of the recogniser is 10
    assert np.quantile(offsets, 0.95) <= 200


def word_times(media: Path, truth: dict[str, Any]) -> list[tuple[str, float, float]]:
    """(word, start, end) in milliseconds where a file of word times exists."""
    if "words_file" not in truth:
        return []
    known = json.loads((media / truth["words_file"]).read_text())
    if "w" in known:
        return [
            (re.sub(r"\(\d\)", "", w["t"]), w["b"] * 1000, (w["b"] + w["d"]) * 1000)
            for w in known["w"]
            if w["t"][0] not in "<["
        ]
    [english] = [t for t in known["tests"]["language_tests"] if t["language"] == "en"]
    return [
        (w["word"].lower(), w["start_sec"] * 1000, w["end_sec"] * 1000) for w in english["words"]
    ]


@pytest.mark.parametrize("name", ["rain", "guitar", "trex_roar"])
def test_no_words_are_heard_where_nobody_speaks(
    name: str, pocketsphinx: SpeechRecognizer, real_media: Path
) -> None:
    heard = pocketsphinx.recognize([sound(real_media / "speech" / f"nonspeech_{name}.mp3")])
    assert heard.utterances == []
    assert heard.language is None


def test_what_was_heard_before_changes_nothing(
    pocketsphinx: SpeechRecognizer, real_media: Path
) -> None:
    first = sound(real_media / "speech" / "goforward_16k_s16le.raw")
    other = sound(real_media / "speech" / "sb_spk1_snt5.wav")
    alone = pocketsphinx.recognize([first])
    pocketsphinx.recognize([other])
    assert pocketsphinx.recognize([first]) == alone


def test_speech_after_a_minute_of_silence_is_heard_at_its_place(
    pocketsphinx: SpeechRecognizer, real_media: Path
) -> None:
    speech = sound(real_media / "speech" / "goforward_16k_s16le.raw")

    def stream() -> Iterator[Pcm]:
        yield speech
        for _ in range(6):
            yield np.zeros(10 * RATE, np.int16)
        yield speech

    once = pocketsphinx.recognize([speech]).utterances
    twice = pocketsphinx.recognize(stream()).utterances
    assert [u.text for u in twice] == [once[0].text] * 2
    late = round(len(speech) * 1000 / RATE) + 60_000
    for word, again in zip(once[0].words, twice[1].words, strict=True):
        assert abs(again.start - word.start - late) <= 60


def test_pocketsphinx_refuses_a_language_it_does_not_know(
    pocketsphinx: SpeechRecognizer,
) -> None:
    with pytest.raises(RecipeError, match="English only") as refused:
        pocketsphinx.recognize([], "de")
    assert "Whisper model" in str(refused.value)
    assert pocketsphinx.recognize([], "en-US").utterances == []


def test_times_are_put_on_the_time_line_and_kept_inside_their_stretch(
    activity: VoiceActivity, real_media: Path
) -> None:
    speech = sound(real_media / "speech" / "sense_0870.wav")
    late = np.concatenate([np.zeros(5 * RATE, np.int16), speech])
    heard = SpeechRecognizer(Counting(), activity).recognize([late]).utterances
    assert len(heard) >= 3  # 7 s of speech in pieces of 3 s at most
    assert heard[0].start >= 5000 - 200
    assert heard[-1].end <= len(late) * 1000 / RATE + 32
    for utterance, following in itertools.pairwise(heard):
        assert utterance.start == utterance.words[0].start
        assert utterance.end == utterance.words[-1].end <= following.start


class Lost(Counting):
    """A recogniser at the edge that falls into a loop, and thanks somebody in every pause."""

    rules = SpeechRules(min_silence=2.0, max_length=29.5)

    def _hear(self, pcm: Pcm) -> tuple[str, list[Utterance]]:
        told = "the red circle " + "moves to the left " * 9
        words = [Word(word, 100 * n, 100 * n + 90) for n, word in enumerate(told.split())]
        first = Utterance(told.strip(), 0, words[-1].end, words)
        # The stretch is speech of some length, a second and a half of silence, the same speech.
        pause = len(pcm) * 1000 // RATE // 2 - 300
        return "en", [first, Utterance("Thank you.", pause, pause + 600)]


def test_what_a_recogniser_makes_up_is_kept_apart_from_what_is_said(
    activity: VoiceActivity,
) -> None:
    voice = say(["the red circle", "moves to the left", "over the grass"]).pcm
    stream = np.concatenate([voice, np.zeros(3 * RATE // 2, np.int16), voice])
    heard = SpeechRecognizer(Lost(), activity).recognize([stream])
    assert [(u.text, u.doubt) for u in heard.utterances] == [
        ("the red circle moves to the left", None),
        (("moves to the left " * 8).strip(), "loop"),
        ("Thank you.", "unvoiced"),
    ]
    transcript = Transcript(MILLISECONDS, Author("lost"), utterances=heard.utterances)
    video = Video("v", "v.mp4", transcripts=[transcript])
    video.add_segments("shots", [Span.of_seconds(0, 60)])
    AssignSpeech(AssignSettings()).process(Part(video))
    RestoreSentences(Sentences(punctuate=False)).process(Part(video))
    for layer in ("shots", "sentences"):
        [segment] = video.layer(layer)
        assert segment.texts_of("asr")[0].text == "the red circle moves to the left"


class Polyglot(Counting):
    """A recogniser at the edge that takes the first stretch for German, the others for English."""

    rules = SpeechRules(min_silence=0.5)

    def _hear(self, pcm: Pcm) -> tuple[str, list[Utterance]]:
        tongue = "en" if self.heard else "de"
        self.heard += len(pcm)
        return tongue, [Utterance(tongue, 200, 900, [Word(tongue, 200, 900)])]


def test_every_stretch_keeps_its_language_and_the_transcript_that_of_most(
    activity: VoiceActivity,
) -> None:
    voice = say(["the red circle", "moves to the left", "over the grass"]).pcm
    quiet = np.zeros(2 * RATE, np.int16)
    heard = SpeechRecognizer(Polyglot(), activity).recognize([voice, quiet, voice, quiet, voice])
    assert heard.language == "en"
    assert [u.language for u in heard.utterances] == ["de", "en", "en"]
    video = Video("v", "v.mp4")
    video.transcripts = [
        Transcript(MILLISECONDS, Author("p"), language="en", utterances=heard.utterances)
    ]
    RestoreSentences(Sentences()).process(Part(video))
    texts = [segment.texts_of("asr")[0] for segment in video.layer("sentences")]
    assert [text.language for text in texts] == ["de", "en", "en"]


def test_an_engine_that_hears_several_stretches_at_once_puts_each_at_its_place(
    activity: VoiceActivity, real_media: Path
) -> None:
    speech = sound(real_media / "speech" / "sense_0890.wav")
    one, two = Counting(), Counting(batch=2)
    alone = SpeechRecognizer(one, activity).recognize([speech])
    together = SpeechRecognizer(two, activity).recognize([speech])
    assert together == alone and len(alone.utterances) >= 3
    assert (one.most, two.most) == (1, 2)


def test_pieces_of_a_long_stretch_hold_every_sample_once(
    activity: VoiceActivity, real_media: Path
) -> None:
    speech = sound(real_media / "speech" / "sense_0890.wav")
    engine = Counting()
    heard = SpeechRecognizer(engine, activity).recognize([speech]).utterances
    covered = heard[-1].end - heard[0].start
    assert engine.heard * 1000 / RATE == pytest.approx(covered, abs=2)


def test_words_are_parted_into_utterances_at_pauses() -> None:
    words = [Word("a", 0, 100), Word("b", 150, 300), Word("c", 900, 1000)]
    assert [(u.text, u.start, u.end) for u in utterances_of(words, pause_ms=600)] == [
        ("a b", 0, 300),
        ("c", 900, 1000),
    ]


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> FasterWhisper:
    pytest.importorskip("faster_whisper", reason="the [speech] extra is not installed")
    from tiny_whisper import write_tiny_whisper

    folder = write_tiny_whisper(tmp_path_factory.mktemp("whisper"))
    return FasterWhisper(str(folder), device="cpu", beam_size=1)


def test_a_whisper_model_in_a_folder_gives_words_with_times_and_confidence(
    whisper: FasterWhisper, activity: VoiceActivity, real_media: Path
) -> None:
    speech = sound(real_media / "speech" / "goforward_16k_s16le.raw")
    late = np.concatenate([np.zeros(4 * RATE, np.int16), speech])
    heard = SpeechRecognizer(whisper, activity).recognize([late])
    words = [word for utterance in heard.utterances for word in utterance.words]
    assert words  # random weights: what they say is noise, when they say it is not
    assert heard.language in whisper._model.supported_languages
    assert all(3800 <= word.start <= word.end <= 4000 + 2900 for word in words)
    assert all(word.confidence is not None and 0 <= word.confidence <= 1 for word in words)


def test_a_whisper_model_hears_the_language_it_is_told(
    whisper: FasterWhisper, activity: VoiceActivity, real_media: Path
) -> None:
    speech = sound(real_media / "speech" / "goforward_16k_s16le.raw")
    assert SpeechRecognizer(whisper, activity).recognize([speech], "de-AT").language == "de-AT"
    with pytest.raises(RecipeError, match="does not know the language 'tlh'"):
        SpeechRecognizer(whisper, activity).recognize([speech], "tlh")


def test_a_whisper_model_keeps_the_language_it_is_sure_of_unless_each_stretch_has_its_own(
    tmp_path: Path,
) -> None:
    pytest.importorskip("faster_whisper", reason="the [speech] extra is not installed")
    from tiny_whisper import write_tiny_whisper

    folder = str(write_tiny_whisper(tmp_path / "whisper", says="Hello."))
    voice = say(["the red circle", "moves to the left", "over the grass"]).pcm
    for each, kept in ((False, "en"), (True, None)):
        engine = FasterWhisper(folder, device="cpu", beam_size=1, each=each)
        engine.begin(None)
        assert engine.hear([voice])[0][0] == "en"
        assert engine._language == kept, "what the next stretch is taken for before it is heard"


def test_a_whisper_engine_without_a_model_says_what_to_name() -> None:
    with pytest.raises(RecipeError, match="needs a model"):
        FasterWhisper("")
