"""Written words on the sound: their times against the truth, and words nobody says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from heard import sound, words_of
from hypothesis import given
from hypothesis import strategies as st
from narrated import LAGGING, part_of, rendered

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.records import Author, Part, Segment, Transcript, Utterance, Video
from clipmill.stages.asr_text.align_words import AlignWords, Settings, runs, under
from clipmill.stages.asr_text.restore_sentences import RestoreSentences
from clipmill.stages.asr_text.restore_sentences import Settings as Sentences
from clipmill.stages.asr_text.subtitle_files import parse
from clipmill.stages.asr_text.timed_words import Spoken
from clipmill.stages.compose.render_synthetic import RenderedVideo
from clipmill.stages.compose.speech import say
from clipmill.stages.compose.world import SHAPES
from clipmill.stages.media.probe import probe
from clipmill.stages.models.aligners.faster_whisper import WhisperAligner
from clipmill.stages.models.aligners.pocketsphinx import PocketSphinxAligner
from clipmill.stages.models.vad import RATE, Pcm
from clipmill.stages.score.score_text import ScoreText
from clipmill.stages.score.score_text import Settings as Scores

pytest.importorskip("pocketsphinx", reason="the [speech] extra is not installed")


@pytest.fixture(scope="module")
def aligner() -> AlignWords:
    stage = AlignWords(Settings())
    stage.setup()
    return stage


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> RenderedVideo:
    plan = LAGGING.model_copy(
        update={"count": 1, "seed": 9, "width": 64, "height": 48, "min_lag": 0, "max_lag": 0,
                "min_scenes": 6, "max_scenes": 6}
    )  # fmt: skip
    [made] = rendered(plan, tmp_path_factory.mktemp("aligned") / "v")
    return made


def cues_of(video: RenderedVideo, wrong: bool = False) -> list[Utterance]:
    """What is said as people caption it: cue times only. Wrong: every shape is another one."""
    other = dict(zip(SHAPES, [*SHAPES[1:], SHAPES[0]], strict=True))
    return [
        Utterance(
            " ".join(other.get(w.text, w.text) if wrong else w.text for w in line.words),
            round(line.start_s * 1000) - 150,
            round(line.end_s * 1000) + 250,
        )
        for line in video.truth.narration
    ]


def aligned(aligner: AlignWords, part: Part, cues: list[Utterance], language: str = "en") -> Part:
    part.video.transcripts = [
        Transcript(MILLISECONDS, Author("written"), "subtitle", language, None, cues)
    ]
    return aligner.process(part)


def test_words_of_cues_get_the_times_at_which_they_are_said(
    aligner: AlignWords, video: RenderedVideo
) -> None:
    cues = cues_of(video)
    found = aligned(aligner, part_of(video), cues).video.transcripts[1]
    told = [word for line in video.truth.narration for word in line.words]
    words = [word for utterance in found.utterances for word in utterance.words]
    assert [word.text for word in words] == [word.text for word in told]
    shared = [w for u in found.utterances for w in u.words]
    away = [abs(w.start / 1000 - t.start_s) for w, t in zip(shared, told, strict=True)]
    print(f"{len(away)} words, median {1000 * np.median(away):.0f} ms, "
          f"95 % {1000 * np.quantile(away, 0.95):.0f} ms")  # fmt: skip
    assert len(away) >= 40 and np.median(away) <= 0.03 and np.quantile(away, 0.95) <= 0.1
    assert [(u.text, u.language) for u in found.utterances] == [(c.text, "en") for c in cues]


def test_a_word_that_nobody_says_is_doubted_and_only_that(
    aligner: AlignWords, video: RenderedVideo
) -> None:
    right = aligned(aligner, part_of(video), cues_of(video)).video.transcripts[1]
    wrong = aligned(aligner, part_of(video), cues_of(video, wrong=True)).video.transcripts[1]
    said: list[float] = []
    unsaid: list[float] = []
    for one, other in zip(right.utterances, wrong.utterances, strict=True):
        for a, b in zip(one.words, other.words, strict=True):
            assert a.confidence is not None and b.confidence is not None
            said.append(a.confidence)
            if a.text != b.text:
                unsaid.append(b.confidence)
    pairs = [(a, b) for a in said for b in unsaid]
    area = np.mean([a > b for a, b in pairs])
    print(f"{len(unsaid)} of {len(said)} words changed, area under the curve {area:.3f}")
    assert len(unsaid) >= 4 and area >= 0.97


READ = ("sense_0880.wav", "sense_0890.wav", "pico_en.wav", "sb_spk1_snt1.wav", "ldc93s1.wav")
OTHERS = ("summer", "rabbit", "kitchen", "yellow", "finger", "garden", "paper", "doctor")


def test_changed_words_are_told_from_said_ones_in_real_speech(
    real_media: Path, truth: dict[str, Any]
) -> None:
    """Every word of five letters and more, each alone, replaced by another one."""
    engine = PocketSphinxAligner()
    said: list[float] = []
    unsaid: list[float] = []
    for name in READ:
        pcm = sound(real_media / "speech" / name)
        words = words_of(truth[f"speech/{name}"]["text"])
        said += [place.confidence for place in engine.align(pcm, words) if place]
        for number, word in enumerate(words):
            if len(word) >= 5:
                other = OTHERS[number % len(OTHERS)]
                [place] = engine.align(pcm, [*words[:number], other, *words[number + 1 :]])[
                    number : number + 1
                ]
                unsaid += [place.confidence] if place else []
    area = np.mean([a > b for a in said for b in unsaid])
    print(f"{len(unsaid)} of {len(said)} words changed, area under the curve {area:.3f}")
    assert len(unsaid) >= 12 and area >= 0.9


def sentences(aligner: AlignWords, part: Part, cues: list[Utterance]) -> list[Segment]:
    """Sentences made of the aligned words, with how sure each one is."""
    found = aligned(aligner, part, cues)
    RestoreSentences(Sentences(by="align_words")).process(found)
    scorer = ScoreText(Scores(layer="sentences", measures=("confidence",), by="align_words"))
    scorer.setup()
    scorer.process(found)
    return found.video.layer("sentences")


def test_a_real_voice_that_says_dog_under_captions_that_say_rabbit_is_flagged(
    real_media: Path, aligner: AlignWords
) -> None:
    """The same picture and the same captions, twice: read as written, and with one word changed."""
    sure: dict[tuple[str, str], dict[str, float]] = {}
    for voice in ("w3c_rabbit_voiceover", "w3c_rabbit_wrong_voiceover"):
        path = real_media / "videos" / f"{voice}.mp4"
        known = probe(path, count_frames=False)
        for text in ("w3c_rabbit_descriptions", "w3c_rabbit_descriptions.WRONG"):
            cues = parse((real_media / "subtitles" / f"{text}.vtt").read_bytes()).utterances
            part = Part(Video("v", str(path), probe=known))
            first = sentences(aligner, part, cues)[0]
            words = part.video.transcripts[1].utterances[0].words
            sure[voice, text] = {w.text: w.confidence for w in words if w.confidence is not None}
            least = first.scores["text_confidence_least"]
            assert least == min(sure[voice, text].values())
    right, _, flagged, instead = sure.values()
    assert min(flagged, key=lambda word: flagged[word]) == "rabbit"
    others = [confidence for word, confidence in flagged.items() if word != "rabbit"]
    assert 10 * flagged["rabbit"] < min(others), "one word stands out"
    assert 30 * flagged["rabbit"] < right["rabbit"], "where it is said it does not"
    assert 30 * flagged["rabbit"] < instead["dog"], "and what is said there is found"


def test_what_cannot_be_aligned_keeps_its_times_and_has_no_confidence(
    aligner: AlignWords, video: RenderedVideo
) -> None:
    late = 3_600_000
    cues = [
        Utterance("42 xyzzy", 1000, 2000),  # no such words
        Utterance("the red circle", 5000, 40_000),  # longer than an aligner takes
        Utterance("the blue star", late, late + 1000),  # behind the sound
    ]
    found = aligned(aligner, part_of(video), cues).video.transcripts[1]
    assert [(u.text, u.start, u.end) for u in found.utterances] == [
        (cue.text, cue.start, cue.end) for cue in sorted(cues, key=lambda cue: cue.start)
    ]
    assert all(word.confidence is None for u in found.utterances for word in u.words)


def test_a_language_the_aligner_does_not_know_and_a_missing_track_are_left_alone(
    aligner: AlignWords, video: RenderedVideo
) -> None:
    assert len(aligned(aligner, part_of(video), cues_of(video), "de").video.transcripts) == 1
    elsewhere = AlignWords(Settings(track=3))
    elsewhere.setup()
    assert len(aligned(elsewhere, part_of(video), cues_of(video)).video.transcripts) == 1


def test_cues_that_touch_are_aligned_together_and_come_out_apart(
    aligner: AlignWords, video: RenderedVideo
) -> None:
    """Cues cut anywhere, as rolling captions are: every second one in the middle of a sentence."""
    whole = cues_of(video)
    cut: list[Utterance] = []
    for cue in whole:
        words = cue.text.split()
        half = len(words) // 2
        # The border is put half a second too early: words of the first are said under the second.
        border = (cue.start + cue.end) // 2 - 500
        cut.append(Utterance(" ".join(words[:half]), cue.start, border))
        cut.append(Utterance(" ".join(words[half:]), border, cue.end))
    one = aligned(aligner, part_of(video), whole).video.transcripts[1]
    two = aligned(aligner, part_of(video), cut).video.transcripts[1]
    assert [u.text for u in two.utterances] == [cue.text for cue in cut]
    times = [[(w.start, w.end) for u in t.utterances for w in u.words] for t in (one, two)]
    assert np.median(np.abs(np.subtract(*times))) == 0


spans = st.lists(st.tuples(st.integers(0, 9000), st.integers(1, 3000)), max_size=6)


@given(spans, st.lists(st.integers(1, 40_000), min_size=1, max_size=8), st.floats(0, 1))
def test_every_cue_gets_the_sound_under_it_whatever_the_blocks(
    spans: list[tuple[int, int]], blocks: list[int], pad_s: float
) -> None:
    sound = np.arange(sum(blocks)) % 30_011

    def stream() -> Iterator[Pcm]:
        yield from np.split(sound.astype(np.int16), np.cumsum(blocks)[:-1])

    cues = [
        [Spoken("a", start, start + length, n)] for n, (start, length) in enumerate(sorted(spans))
    ]
    pad = round(pad_s * 1000)
    assert [w for run in runs([w for c in cues for w in c], pad_s, 30.0) for w in run] == [
        w for cue in cues for w in cue
    ]
    for cue, pcm, start in under(cues, stream(), pad_s, longest_s=30.0):
        assert start == max(cue[0].start - pad, 0)
        end = cue[0].end + pad
        wanted = sound[start * RATE // 1000 : end * RATE // 1000]
        assert pcm.tolist() == wanted.tolist()


def test_a_whisper_model_places_the_words_it_is_given(tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper", reason="the [speech] extra is not installed")
    from tiny_whisper import write_tiny_whisper

    # Random weights: what it makes of the sound is noise, but every word has a place in order.
    folder = write_tiny_whisper(tmp_path / "whisper")
    engine = WhisperAligner(str(folder), revision="main", device="cpu", compute_type="default")
    voice = say(["the red circle", "moves to the left", "over the grass"]).pcm
    words = ["The", "red", "circle,", "moves", "to", "the", "left."]
    assert engine.begin("en-US") and not engine.begin("tlh") and engine.begin(None)
    found = engine.align(voice, words)
    assert len(found) == len(words) and all(place is not None for place in found)
    starts = [place.start for place in found if place]
    assert starts == sorted(starts)
    length = len(voice) * 1000 // RATE
    assert all(0 <= p.start <= p.end <= length and 0 <= p.confidence <= 1 for p in found if p)
    assert engine.align(np.empty(0, np.int16), words) == [None] * len(words)
