"""Words parted by voices: against turns written by hand, and whatever the turns may be."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.records import Author, Transcript, Utterance, Word
from clipmill.stages.asr_text.assign_speakers import parted, speaker_of
from clipmill.stages.models.diarizer import Turn

TURNS = [Turn(0, 1000, "A"), Turn(1500, 2600, "B"), Turn(3000, 4000, "A")]


def said(*words: tuple[str, int, int]) -> Transcript:
    """One utterance of these words."""
    own = [Word(*word, confidence=0.5) for word in words]
    text = " ".join(word.text for word in own)
    utterance = Utterance(text, own[0].start, own[-1].end, own)
    return Transcript(MILLISECONDS, Author("t"), "speech", "en", 0, [utterance])


def test_an_utterance_is_parted_where_the_voice_changes() -> None:
    heard = said(("is", 100, 300), ("it?", 400, 900), ("Yes", 1400, 1700), ("it", 1800, 2000),
                 ("is.", 2100, 2500), ("Good.", 3100, 3500))  # fmt: skip
    found = list(parted(heard, TURNS))
    assert [(u.speaker, u.text, u.start, u.end) for u in found] == [
        ("A", "is it?", 100, 900),
        ("B", "Yes it is.", 1400, 2500),
        ("A", "Good.", 3100, 3500),
    ]
    assert [word for u in found for word in u.words] == heard.utterances[0].words


def test_a_word_in_silence_goes_with_its_neighbour_and_a_cue_goes_whole() -> None:
    early = Turn(400, 900, "A")
    found = list(parted(said(("um", 0, 100), ("so", 500, 600), ("now", 950, 1000)), [early]))
    assert [(u.speaker, u.text) for u in found] == [("A", "um so now")]
    cue = Utterance("who says all of this", 900, 2600)
    whole = Transcript(MILLISECONDS, Author("t"), "subtitle", "en", None, [cue])
    [only] = parted(whole, TURNS)
    assert (only.speaker, only.text, only.words) == ("B", cue.text, [])


def test_where_no_voice_is_found_speakers_stay_as_they_were() -> None:
    named = Transcript(
        MILLISECONDS, Author("t"), utterances=[Utterance("hello", 0, 500, speaker="Ann")]
    )
    assert [u.speaker for u in parted(named, [])] == ["Ann"]
    assert speaker_of([], 0, 100) is None


spans = st.lists(st.integers(1, 900), min_size=1, max_size=12)


@given(spans, spans, st.lists(st.sampled_from("ABC"), min_size=12, max_size=12))
def test_no_word_is_lost_moved_or_doubled(
    lengths: list[int], pauses: list[int], voices: list[str]
) -> None:
    at, words = 0, []
    for number, length in enumerate(lengths):
        words.append((f"w{number}", at, at + length))
        at += length + number % 3 * 40
    turns, at = [], 0
    for length, voice in zip(pauses, voices, strict=False):
        turns.append(Turn(at, at + length, voice))
        at += length + 70
    heard = said(*words)
    found = list(parted(heard, turns))
    assert [word for u in found for word in u.words] == heard.utterances[0].words
    for utterance in found:
        assert utterance.start <= utterance.words[0].start
        assert utterance.text == " ".join(word.text for word in utterance.words)
    for one, following in itertools.pairwise(found):
        assert one.speaker != following.speaker
