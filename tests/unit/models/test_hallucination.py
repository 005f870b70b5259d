"""What nobody said is doubted, and what people do say is not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipmill.schemas.records import Utterance, Word
from clipmill.stages.models.hallucination import WINDOW_MS, doubted, loop_onset, packing

PROSE = (
    "we choose to go to the moon in this decade and do the other things not because they are easy "
    "but because they are hard because that goal will serve to organize and measure the best of "
    "our energies and skills"
)


def spoken(text: str, start: int = 0, step: int = 300) -> Utterance:
    words = [
        Word(word, start + step * n, start + step * n + step - 20)
        for n, word in enumerate(text.split())
    ]
    return Utterance(text, words[0].start, words[-1].end, words)


def doubts(utterance: Utterance, voiced: np.ndarray | None = None) -> list[tuple[str, str | None]]:
    return [(own.text, own.doubt) for own in doubted(utterance, voiced)]


@pytest.mark.parametrize("phrase", ["thank you", "so", "we are going to add the sugar and then"])
def test_of_a_loop_the_first_saying_is_kept(phrase: str) -> None:
    said = f"first we mix it {phrase}"
    looped = " ".join([said, *[phrase] * 12])
    assert doubts(spoken(looped)) == [(said, None), (" ".join([phrase] * 12), "loop")]


def test_the_parts_of_a_loop_keep_the_times_of_their_words() -> None:
    whole = spoken("mix it well " + "and then " * 10)
    kept, loop = doubted(whole, None)
    assert kept.words + loop.words == whole.words
    assert kept.end == kept.words[-1].end <= loop.start == loop.words[0].start


@pytest.mark.parametrize(
    "text",
    [
        PROSE,
        "no no no no don't do that",
        "row row row your boat gently down the stream merrily merrily merrily merrily",
        "go go go",
    ],
)
def test_what_people_say_is_not_doubted(text: str) -> None:
    assert doubts(spoken(text)) == [(text, None)]


words = st.lists(st.sampled_from("abcdefgh"), max_size=40)


@given(words, st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6), st.integers(0, 14))
def test_a_loop_begins_where_every_further_word_repeats(
    before: list[str], phrase: list[str], times: int
) -> None:
    text = [*before, *phrase * times]
    onset = loop_onset(text)
    if onset is None:
        assert times < 5 or times * len(phrase) < 12
        return
    found = [
        length
        for length in range(1, onset + 1)
        if len(
            list(
                itertools.takewhile(
                    lambda n: text[n] == text[n - length],  # noqa: B023
                    range(onset, len(text)),
                )
            )
        )
        + length
        >= max(5 * length, 12)
    ]
    assert found, "what is doubted has been said before"


def test_a_text_without_word_times_is_doubted_whole_where_it_packs_like_a_loop() -> None:
    loop = "and the next one is the same as the last one " * 6
    assert packing(loop) > 2.4 > 2 > packing(PROSE)
    assert doubts(Utterance(loop, 0, 20_000)) == [(loop, "loop")]
    assert doubts(Utterance(PROSE, 0, 15_000)) == [(PROSE, None)]


def test_a_paragraph_in_half_a_second_is_doubted_and_fast_speech_is_not() -> None:
    assert doubts(Utterance(PROSE, 1000, 1500)) == [(PROSE, "rate")]
    assert doubts(spoken(PROSE, step=160)) == [(PROSE, None)]  # six words a second
    assert doubts(Utterance("Yes.", 1000, 1000)) == [("Yes.", None)]


def test_words_in_a_pause_are_doubted_and_words_at_its_edge_are_not() -> None:
    voiced = np.array([True] * 60 + [False] * 60 + [True] * 60)
    begins, ends = round(60 * WINDOW_MS), round(120 * WINDOW_MS)
    thanks = "thanks for watching"
    assert doubts(spoken(thanks, begins + 200, 250), voiced) == [(thanks, "unvoiced")]
    for start in (begins - 700, ends - 600):
        assert doubts(spoken(thanks, start, 250), voiced) == [(thanks, None)]
    assert doubts(spoken("late", ends + 10_000), voiced) == [("late", "unvoiced")]
