"""Words go where their midpoint lies, once each, across any two clocks."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from clipmill.schemas.clocks import MILLISECONDS, Clock, Span
from clipmill.schemas.records import Author, Part, Transcript, Utterance, Video, Word
from clipmill.stages.asr_text.assign_speech import AssignSpeech, Settings

FRAMES = Clock("v0", 1001, 30000, zero=7)  # NTSC frames, the first one shown being tick 7


def assigned(
    utterances: list[Utterance], spans: list[Span], clock: Clock = MILLISECONDS, **settings: object
) -> Video:
    video = Video("v", "v.mp4")
    if utterances:
        author = Author("transcribe", "pocketsphinx/en-us", "5")
        video.transcripts = [Transcript(clock, author, "speech", "en", 0, utterances)]
    video.add_segments("shots", spans)
    return AssignSpeech(Settings(**settings)).process(Part(video)).video  # type: ignore[union-attr]


def sentence(*words: tuple[str, int, int]) -> Utterance:
    made = [Word(*word) for word in words]
    return Utterance(" ".join(w.text for w in made), made[0].start, made[-1].end, made)


def heard(video: Video) -> list[str]:
    return [" ".join(t.text for t in s.texts_of("asr")) for s in video.layer("shots")]


def test_a_word_across_a_cut_goes_to_the_side_of_its_midpoint() -> None:
    words = sentence(("left", 0, 900), ("mostly", 800, 1300), ("right", 1300, 1900))
    cut = [Span(MILLISECONDS, 0, 1000), Span(MILLISECONDS, 1000, 2000)]
    assert heard(assigned([words], cut)) == ["left", "mostly right"]


def test_a_midpoint_on_the_cut_itself_opens_the_next_segment() -> None:
    cut = [Span(MILLISECONDS, 0, 1000), Span(MILLISECONDS, 1000, 2000)]
    assert heard(assigned([sentence(("now", 900, 1100))], cut)) == ["", "now"]
    # A midpoint of 999.5 ms has no whole tick, and still lies before the cut.
    assert heard(assigned([sentence(("now", 900, 1099))], cut)) == ["now", ""]


def test_frames_and_milliseconds_are_compared_without_rounding() -> None:
    # Frame 30 of NTSC begins at 1001 ms exactly.
    cut = [Span(FRAMES, 7, 37), Span(FRAMES, 37, 67)]
    assert heard(assigned([sentence(("before", 1000, 1001), ("at", 1000, 1002))], cut)) == [
        "before",
        "at",
    ]


@given(
    st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 900)), max_size=40),
    st.lists(st.integers(1, 600), max_size=8, unique=True),
)
def test_segments_that_tile_a_video_hold_every_word_once(
    times: list[tuple[int, int]], cuts: list[int]
) -> None:
    utterances = [
        sentence((f"w{i}", start, start + length)) for i, (start, length) in enumerate(times)
    ]
    borders = [0, *sorted(cuts), 100_000]
    spans = [Span(FRAMES, 7 + a, 7 + b) for a, b in itertools.pairwise(borders) if b > a]
    words = " ".join(heard(assigned(utterances, spans))).split()
    assert sorted(words) == sorted(f"w{i}" for i in range(len(times)))


def test_a_cue_without_word_times_is_shared_out_by_its_letters() -> None:
    cue = Utterance("aaaa bbbb cccc dddd", 0, 4000)
    halves = [Span(MILLISECONDS, 0, 2000), Span(MILLISECONDS, 2000, 4000)]
    assert heard(assigned([cue], halves)) == ["aaaa bbbb", "cccc dddd"]


def test_scripts_without_spaces_are_shared_out_too_and_get_none() -> None:
    cue = Utterance("客観的実在の判断", 0, 4000)
    halves = [Span(MILLISECONDS, 0, 2000), Span(MILLISECONDS, 2000, 4000)]
    assert heard(assigned([cue], halves)) == ["客観的実", "在の判断"]
    words = Utterance("客観的", 0, 900, [Word("客観", 0, 600), Word("的", 600, 900)])
    assert heard(assigned([words], halves[:1])) == ["客観的"]


def test_speech_rate_counts_words_and_silence_is_zero_not_absent() -> None:
    words = sentence(("one", 0, 100), ("two", 100, 200), ("three", 300, 400))
    video = assigned([words], [Span(MILLISECONDS, 0, 2000), Span(MILLISECONDS, 2000, 2000)])
    assert [s.scores["words_per_second"] for s in video.layer("shots")] == [1.5, 0.0]
    silent = assigned([], [Span(MILLISECONDS, 0, 2000)]).layer("shots")[0]
    assert silent.scores == {"words_per_second": 0.0}
    assert not silent.texts


def test_the_text_names_the_recogniser_and_other_layers_stay_untouched() -> None:
    video = Video("v", "v.mp4")
    author = Author("transcribe", "pocketsphinx/en-us", "5")
    video.transcripts = [
        Transcript(MILLISECONDS, author, "speech", "en", 0, [sentence(("zero", 0, 100))]),
        Transcript(MILLISECONDS, author, "speech", "de", 1, [sentence(("eins", 0, 100))]),
    ]
    video.add_segments("shots", [Span(MILLISECONDS, 0, 1000)])
    video.add_segments("windows", [Span(MILLISECONDS, 0, 1000)])
    AssignSpeech(Settings(layer="windows", track=1)).process(Part(video))
    assert not video.layer("shots")[0].texts
    text = video.layer("windows")[0].texts[0]
    assert (text.role, text.text, text.language) == ("asr", "eins", "de")
    assert text.author == Author("assign_speech", "pocketsphinx/en-us", "5")
