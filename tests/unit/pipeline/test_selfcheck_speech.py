"""What the selfcheck says of words, their times, and captions made from them."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipmill.pipeline.selfcheck.figures import Case
from clipmill.pipeline.selfcheck.narration import narration, timed
from clipmill.pipeline.selfcheck.speech import align, assign_speech, distance, transcribe, words_of
from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Segment, Video, Word
from tests.unit.pipeline.selfcheck_cases import (
    AUTHOR,
    named,
    perfect,
    truths,
)


def test_the_normaliser_folds_case_and_punctuation_and_keeps_apostrophes() -> None:
    assert words_of("Don\u2019t STOP, at 7-eleven!") == ["don't", "stop", "at", "7", "eleven"]


def test_word_errors_are_replacements_and_gaps() -> None:
    case = perfect(truths()[0])
    spoken = case.video.transcripts[0].utterances[0].words
    total = sum(len(line.words) for line in case.truth.narration)
    spoken[0].text = "wrong"
    del spoken[2]
    spoken.append(Word("more", spoken[-1].end, spoken[-1].end + 10))
    figure = named(transcribe([case]), "error rate")
    assert figure.value == pytest.approx(3 / total)
    said = [word.text for word in case.truth.narration[0].words]
    assert [miss.what for miss in figure.misses] == [
        f"said {said[0]!r}, heard 'wrong'",
        f"said {said[2]!r}, not heard",
        "heard 'more', not said",
    ]


def test_silence_from_the_recogniser_is_an_error_rate_of_one() -> None:
    case = perfect(truths()[0])
    case.video.transcripts.clear()
    rate, times = transcribe([case])
    assert rate.value == 1.0 and rate.met is False
    assert times.value is None


words = st.lists(st.sampled_from("abc"), max_size=9)


@given(words, words)
@settings(max_examples=80)
def test_an_alignment_uses_every_word_once_in_order_and_costs_the_same_both_ways(
    one: list[str], two: list[str]
) -> None:
    pairs = align(one, two)
    assert [left for left, _ in pairs if left is not None] == list(range(len(one)))
    assert [right for _, right in pairs if right is not None] == list(range(len(two)))
    assert distance(one, two) == distance(two, one) <= max(len(one), len(two))
    assert (distance(one, two) == 0) == (one == two)


def test_words_on_the_next_scene_are_on_the_wrong_one() -> None:
    case = perfect(truths()[0])
    texts = [shot.texts_of("asr")[0] for shot in case.shots if shot.texts_of("asr")]
    contents = [text.text for text in texts]
    for text, content in zip(texts, [*contents[1:], contents[0]], strict=True):
        text.text = content
    figure = assign_speech([case])
    assert figure.value is not None and figure.value < 0.5
    assert figure.ceiling == 1.0


def late(shift: float) -> Case:
    """A film narrated 3 s late, with captions of it that start `shift` seconds off their scenes."""
    truth = copy.deepcopy(truths()[0])
    case = Case(Video(truth.name, f"{truth.name}.mp4"), truth)
    for number, line in enumerate(line for line in truth.narration if line.scene is not None):
        assert line.scene is not None
        line.lag_s = 3.0
        due = truth.scenes[line.scene].start_s
        line.start_s, line.end_s = due + 3.0, due + 4.0
        spoken = Segment(
            f"sentences-{number}", "sentences", Span.of_seconds(line.start_s, line.end_s)
        )
        heard = spoken.add_text("asr", line.text, AUTHOR)
        event = Segment(f"events-{number}", "events", spoken.span)
        told = event.add_text("event", line.text, AUTHOR, sources=[f"{spoken.id}/{heard.id}"])
        moved = Segment(
            f"grounded-{number}", "grounded", Span.of_seconds(due + shift, due + shift + 1)
        )
        moved.add_text("event", line.text, AUTHOR, sources=[f"{event.id}/{told.id}"])
        case.video.segments += [spoken, event, moved]
    return case


@pytest.mark.parametrize(("shift", "met"), [(0.5, True), (2.5, False)])
def test_captions_from_late_narration_are_held_against_their_scenes(
    shift: float, met: bool
) -> None:
    spoken, moved, ratio = narration([late(shift)])[3:]
    assert spoken.value == pytest.approx(3.0, abs=0.01) and spoken.unit == "seconds"
    assert moved.value == pytest.approx(shift, abs=0.01)
    assert ratio.value == pytest.approx(shift / 3, abs=0.01) and ratio.met is met


def test_what_was_written_of_narration_is_held_against_every_sentence() -> None:
    case = late(0.5)
    about = [line for line in case.truth.narration if line.scene is not None]
    seen, named_right, unseen = narration([case])[:3]
    assert (seen.value, seen.count, named_right.value) == (1.0, len(about), 1.0)
    assert unseen.value is None or unseen.count + len(about) == len(case.truth.narration)
    about[0].scene = None  # the same record where the truth knows it as small talk
    seen, _, unseen = narration([case])[:3]
    assert (seen.count, unseen.count) == (
        len(about) - 1,
        len(case.truth.narration) - len(about) + 1,
    )
    assert unseen.value is not None and unseen.value < 1 and "tells of" in unseen.misses[0].what
    grounded = case.video.layer("grounded")
    case.video.segments.remove(grounded[-1])
    grounded[1].texts[-1].text = "a thing that is nowhere"
    seen, named_right, _ = narration([case])[:3]
    assert seen.value == pytest.approx(1 - 1 / seen.count)
    assert named_right.value == pytest.approx(1 - 1 / named_right.count)


def test_timed_captions_are_shown_beside_their_truth() -> None:
    shown = timed([late(0.5)])
    assert len(shown) > 1
    assert all(own.seen_s is not None for own in shown)
    assert all(own.moved_s - own.seen_s == pytest.approx(0.5, abs=0.02) for own in shown)
    assert timed([perfect(truths()[0])]) == []


def test_narration_in_time_has_nothing_to_move() -> None:
    case = late(0.0)
    for line in case.truth.narration:
        line.lag_s = 0.2
    assert all(figure.value is None for figure in narration([case]))
