"""Cuts where speech says: sentences, silences, questions, several scales."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Author, Part, Transcript, Utterance, Video, Word
from clipmill.stages.split.split_transcript import Settings, SplitTranscript

Said = tuple[str, float, float]


def split(said: list[Said], **settings: object) -> Video:
    """Sentences (text, start, end) in seconds, as both a layer and a transcript of words."""
    video = Video("v", "v.mp4")
    video.add_segments("sentences", [Span.of_seconds(start, end) for _, start, end in said])
    utterances = []
    for segment, (text, _, _) in zip(video.segments, said, strict=True):
        segment.add_text("asr", text, Author("restore_sentences"), language="en")
        words = text.split()
        step = (segment.span.end - segment.span.start) / len(words)
        times = [segment.span.start + round(n * step) for n in range(len(words) + 1)]
        timed = [Word(w, *pair) for w, pair in zip(words, itertools.pairwise(times), strict=True)]
        utterances.append(Utterance(text, segment.span.start, segment.span.end, timed))
    video.transcripts = [Transcript(MILLISECONDS, Author("t", "m", "1"), utterances=utterances)]
    SplitTranscript(Settings(**settings)).process(Part(video))  # type: ignore[arg-type]
    return video


def found(video: Video, layer: str = "speech") -> list[tuple[str, float, float]]:
    return [
        (segment.texts_of("asr")[0].text, segment.span.start_s, segment.span.end_s)
        for segment in video.layer(layer)
    ]


TALK: list[Said] = [
    ("One two.", 0, 1),
    ("Three four.", 1.5, 3),
    ("Five.", 3.2, 4),
    ("Six seven eight.", 9, 11),
]


def test_each_sentence_is_a_segment_and_names_where_it_came_from() -> None:
    video = split(TALK)
    assert found(video) == TALK
    text = video.layer("speech")[0].texts[0]
    assert text.sources == ["sentences-00000/asr:restore_sentences:0"]
    assert text.language == "en"


def test_sentences_are_joined_to_a_wanted_length_but_never_across_a_silence() -> None:
    assert found(split(TALK, min_s=2.5, max_s=10)) == [
        ("One two. Three four.", 0, 3),
        ("Five.", 3.2, 4),
        ("Six seven eight.", 9, 11),
    ]
    assert found(split(TALK, min_s=9, max_s=20, max_gap_s=6))[0][0].endswith("eight.")


def test_a_segment_outgrows_the_limit_only_as_a_single_sentence() -> None:
    said: list[Said] = [("A b c.", 0, 8), ("D.", 8, 9), ("E.", 9, 10)]
    assert found(split(said, min_s=5, max_s=5)) == [("A b c.", 0, 8), ("D. E.", 8, 10)]


def test_running_speech_is_cut_at_long_silences_and_at_the_longest_length() -> None:
    # As LiveCC: silences of more than 3 s, runs of 5 to 240 s here.
    said: list[Said] = [
        ("a b c d", 0, 4), ("e f g h", 6.9, 11), ("i j", 14.1, 15), ("k l", 19, 25)
    ]  # fmt: skip
    video = split(said, mode="gap_rate", max_gap_s=3, min_s=5, max_s=240)
    assert found(video) == [("a b c d e f g h", 0, 11), ("k l", 19, 25)]
    assert video.layer("speech")[0].texts[0].author.model == "m"
    short = split(said, mode="gap_rate", max_gap_s=3, max_s=4)
    assert [text for text, _, _ in found(short)] == ["a b c d", "e f g", "h", "i j", "k", "l"]


def test_a_question_with_time_to_answer_is_taken_with_its_answer() -> None:
    said: list[Said] = [
        ("Look here.", 0, 1),
        ("Where is the bridge?", 1.2, 3),
        ("There it is!", 6, 7),
        ("Is it high?", 7.5, 8.5),  # goes on at once: nobody could answer
        ("Very high.", 8.8, 9.5),
        ("We wait.", 9.6, 10),
        ("Then we go.", 15, 16),  # a pause, but after no question
    ]
    video = split(said, mode="question_pause", pause_s=2)
    assert found(video) == [("Where is the bridge? There it is!", 1.2, 7)]


def test_levels_nest_and_children_name_their_parents() -> None:
    said: list[Said] = [
        ("A.", 0, 1),
        ("B.", 1.5, 2),
        ("C.", 4, 5),
        ("D.", 20, 21),
        ("E.", 22.5, 23),
    ]
    video = split(said, mode="levels", levels_s=(1.0, 4.0))
    assert [text for text, _, _ in found(video, "speech_0")] == ["A. B.", "C.", "D.", "E."]
    assert [text for text, _, _ in found(video, "speech_1")] == ["A. B. C.", "D. E."]
    assert [segment.parent for segment in video.layer("speech_0")] == [
        "speech_1-00000", "speech_1-00000", "speech_1-00001", "speech_1-00001"
    ]  # fmt: skip


def test_declared_tokens_follow_the_mode() -> None:
    levels = SplitTranscript(Settings(mode="levels", levels_s=(1.0, 2.0)))
    assert levels.adds() == {"segments:speech_0", "segments:speech_1", "texts:asr"}
    assert levels.reads() == {"segments:sentences", "texts:asr"}
    assert SplitTranscript(Settings(mode="gap_rate")).reads() == {"transcripts"}


@pytest.mark.parametrize("wrong", [{"min_s": 40}, {"levels_s": ()}, {"levels_s": (4.0, 1.0)}])
def test_bounds_that_contradict_one_another_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)  # type: ignore[arg-type]


def test_silence_makes_no_segments() -> None:
    assert found(split([])) == []
    video = Video("v", "v.mp4")
    SplitTranscript(Settings(mode="gap_rate")).process(Part(video))
    assert video.segments == []


gaps = st.lists(st.tuples(st.floats(0.1, 6), st.floats(0, 8)), min_size=1, max_size=30)


@given(gaps, st.floats(0.5, 5), st.floats(0, 20), st.sampled_from(["sentence", "gap_rate"]))
def test_nothing_said_is_lost_and_no_silence_is_bridged(
    drawn: list[tuple[float, float]], gap: float, least: float, mode: str
) -> None:
    said, at = [], 0.0
    for number, (length, pause) in enumerate(drawn):
        said.append((f"w{number}", round(at, 3), round(at + length, 3)))
        at += length + pause
    wanted = {"min_s": least, "max_s": 25.0} if mode == "sentence" else {"max_s": 25.0}
    video = split(said, mode=mode, max_gap_s=gap, **wanted)
    assert " ".join(text for text, _, _ in found(video)).split() == [text for text, _, _ in said]
    for a, b in itertools.pairwise(said):
        if b[1] - a[2] > gap + 0.002:
            assert not any(start <= a[1] and b[2] <= end for _, start, end in found(video))
