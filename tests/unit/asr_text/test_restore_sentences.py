"""Sentences out of cues and words: borders, times, repetitions, and a second voice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clipmill.schemas.clocks import MILLISECONDS, Clock
from clipmill.schemas.records import Author, Part, Segment, Transcript, Utterance, Video, Word
from clipmill.stages.asr_text.restore_sentences import RestoreSentences, Settings
from clipmill.stages.asr_text.sentence_rules import Rules, sentences, without_repeats
from clipmill.stages.asr_text.timed_words import Spoken, timed_words


def cue(text: str, start: int, end: int, timed: bool = False) -> Utterance:
    """A cue in milliseconds; `timed` spreads its words evenly and marks their times."""
    words = text.split()
    step = (end - start) / len(words)
    times = [Word(w, round(start + n * step), round(start + (n + 1) * step)) for n, w in
             enumerate(words)]  # fmt: skip
    return Utterance(text, start, end, times if timed else [])


def transcript(*cues: Utterance, language: str | None = "en", stage: str = "t") -> Transcript:
    return Transcript(MILLISECONDS, Author(stage), "subtitle", language, None, list(cues))


def restored(*transcripts: Transcript, **settings: object) -> list[Segment]:
    video = Video("v", "v.mp4", transcripts=list(transcripts))
    RestoreSentences(Settings(**settings)).process(Part(video))  # type: ignore[arg-type]
    return video.layer("sentences")


def said(segments: list[Segment]) -> list[str]:
    return [segment.texts_of("asr")[0].text for segment in segments]


def test_cues_cut_for_the_screen_become_the_sentences_that_were_said() -> None:
    found = restored(
        transcript(
            cue("We choose to go to the moon in this", 0, 2000),
            cue("decade. Not because it is easy, but", 2000, 4000),
            cue("because it is hard.", 4000, 5000),
        )
    )
    assert said(found) == [
        "We choose to go to the moon in this decade.",
        "Not because it is easy, but because it is hard.",
    ]
    assert found[0].span.start == 0 and found[1].span.end == 5000
    # "decade." is 7 of the 36 letters of its cue of two seconds.
    assert abs(found[0].span.end - (2000 + 2000 * 7 // 35)) <= 15


def test_an_abbreviation_an_initial_and_a_decimal_end_no_sentence() -> None:
    text = (
        "Mr. Smith met Dr. J. Brown at 3.5 miles from St. Paul, e.g. at noon. It was 5 p.m. in the"
        " U.S. that day. They ate soup, bread etc. Then they left... slowly. No. 7 won! Did it?"
    )
    assert said(restored(transcript(cue(text, 0, 60_000)))) == [
        "Mr. Smith met Dr. J. Brown at 3.5 miles from St. Paul, e.g. at noon.",
        "It was 5 p.m. in the U.S. that day.",
        "They ate soup, bread etc.",
        "Then they left... slowly.",
        "No. 7 won!",
        "Did it?",
    ]


def test_without_marks_pauses_part_sentences_and_they_are_written_as_such() -> None:
    words = cue("the dog runs", 0, 900, True), cue("what is that", 1400, 2300, True)
    joined = Utterance("the dog runs what is that", 0, 2300, [*words[0].words, *words[1].words])
    found = restored(transcript(joined))
    assert said(found) == ["The dog runs.", "What is that?"]
    assert [(s.span.start, s.span.end) for s in found] == [(0, 900), (1400, 2300)]
    assert said(restored(transcript(joined), pause_s=0.6)) == ["The dog runs what is that."]
    assert said(restored(transcript(joined), punctuate=False))[0] == "the dog runs"


def test_what_is_said_twice_in_a_row_is_kept_once_and_keeps_its_first_time() -> None:
    found = restored(
        transcript(
            cue("take the red bowl", 0, 1000, True),
            cue("Take the red bowl,", 1100, 2000, True),
            cue("and stir it", 2050, 3000, True),
        ),
        punctuate=False,
    )
    assert said(found) == ["take the red bowl and stir it"]
    assert found[0].span.start == 0


def test_a_sentence_said_again_much_later_is_meant() -> None:
    cues = cue("take the red bowl", 0, 1000, True), cue("take the red bowl", 9000, 9900, True)
    assert len(restored(transcript(*cues))) == 2
    assert len(restored(transcript(*cues), repeat_gap_s=10)) == 1
    assert said(restored(transcript(cue("very very good", 0, 900, True)))) == ["Very very good."]


def test_japanese_sentences_end_at_their_own_mark_and_get_no_spaces() -> None:
    text = "客観的実在。判断的知識が成立する。"
    found = restored(transcript(cue(text, 0, 4000), language="ja"))
    assert said(found) == ["客観的実在。", "判断的知識が成立する。"]


def test_a_sentence_never_holds_two_speakers() -> None:
    first, second = cue("I think", 0, 500, True), cue("so do I", 520, 1200, True)
    first.speaker, second.speaker = "a", "b"
    assert said(restored(transcript(first, second))) == ["I think.", "So do I."]


def test_cue_times_give_way_to_the_times_of_a_recogniser_that_heard_the_same() -> None:
    written = transcript(cue("Pour the milk. Now add two eggs.", 0, 10_000))
    heard = transcript(
        Utterance("pour milk now at two eggs", 3000, 9000, [
            Word("pour", 3000, 3300), Word("milk", 3500, 3900),
            Word("now", 7000, 7200), Word("at", 7300, 7400),
            Word("two", 7500, 7700), Word("eggs", 7800, 8300),
        ]),
        stage="second",
    )  # fmt: skip
    found = restored(written, heard)
    assert said(found) == ["Pour the milk.", "Now add two eggs."]
    assert [(s.span.start, s.span.end) for s in found] == [(3000, 3900), (7000, 8300)]
    assert [s.scores["heard"] for s in found] == [2 / 3, 3 / 4]
    assert said(restored(written, heard, by="second")) == ["Pour milk.", "Now at two eggs."]
    unmoved = restored(written, heard, align=False)
    assert unmoved[0].span.start == 0


def test_subtitles_of_another_film_share_no_words_with_what_is_heard_and_keep_their_times() -> None:
    wrong = transcript(cue("The weather in Spain is wet. Buy an umbrella.", 0, 8000))
    heard = transcript(cue("pour the milk now add two eggs", 1000, 7000, True))
    found = restored(wrong, heard)
    assert max(s.scores["heard"] for s in found) <= 0.2
    assert found[0].span.start == 0


def test_a_video_nobody_speaks_in_has_no_sentences() -> None:
    assert restored() == []


def test_an_endless_text_without_marks_or_pauses_is_cut_at_cue_borders() -> None:
    cues = [cue(" ".join(f"w{n}_{k}" for k in range(10)), n * 1000, n * 1000 + 1000, True)
            for n in range(12)]  # fmt: skip
    found = restored(transcript(*cues), max_words=40, punctuate=False)
    assert all(len(text.split()) <= 40 for text in said(found))
    assert all(segment.span.start % 1000 == 0 for segment in found)
    assert " ".join(said(found)).split() == [f"w{n}_{k}" for n in range(12) for k in range(10)]


def test_other_clocks_are_put_on_milliseconds() -> None:
    clock = Clock("a0", 1, 16_000, zero=1600)
    spoken = Transcript(clock, Author("t"), utterances=[
        Utterance("go on", 17_600, 33_600, [Word("go", 17_600, 25_600), Word("on", 25_600, 33_600)])
    ])  # fmt: skip
    assert [(w.start, w.end) for w in timed_words(spoken)] == [(1000, 1500), (1500, 2000)]


words_in_time = st.lists(
    st.tuples(st.sampled_from(["go", "on", "Mr.", "now.", "so", "what?"]), st.integers(0, 1500)),
    max_size=60,
)


@given(words_in_time, st.integers(2, 20))
def test_every_word_is_in_exactly_one_sentence_in_order(
    drawn: list[tuple[str, int]], most: int
) -> None:
    words, at = [], 0
    for number, (text, gap) in enumerate(drawn):
        words.append(Spoken(text, at + gap, at + gap + 200, number // 4, number))
        at += gap + 200
    found = sentences(words, Rules(max_words=most))
    assert [word for sentence in found for word in sentence] == words
    assert all(1 <= len(sentence) <= most for sentence in found)


@given(st.lists(st.sampled_from("abcd"), max_size=40), st.integers(2, 6))
def test_no_run_stands_twice_in_a_row_afterwards(letters: list[str], shortest: int) -> None:
    words = [Spoken(text, n * 300, n * 300 + 200, n) for n, text in enumerate(letters)]
    left = [w.text for w in without_repeats(words, Rules(repeat_words=shortest))]
    for length in range(shortest, len(left) // 2 + 1):
        for start in range(len(left) - 2 * length + 1):
            middle = start + length
            assert left[start:middle] != left[middle : middle + length]
