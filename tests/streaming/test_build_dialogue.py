"""Dialogues along a time line: causal and silent elsewhere, whatever the clocks and events."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from stream_rules import dialogue_of, faults, replies

from clipmill.schemas.clocks import MILLISECONDS, Clock, Span
from clipmill.schemas.records import Author, Part, Sample, Segment, Video
from clipmill.stages.interleave.build_dialogue import BuildDialogue, Settings

NTSC = Clock("v0", 1001, 30000, zero=7)
CLOCKS = (MILLISECONDS, NTSC, Clock("v0", 1, 90000, zero=-512), Clock("v0", 1, 12800))


def span_of(start: Fraction, end: Fraction, clock: Clock) -> Span:
    first = clock.tick(start)
    return Span(clock, first, max(first, clock.tick(end)))


def part_of(length: float, clock: Clock = MILLISECONDS, start: float = 0.0) -> Part:
    video = Video("v", "v.mp4")
    video.add_segments("whole", [span_of(Fraction(start), Fraction(start + length), clock)])
    return Part(video)


def whole(part: Part) -> Segment:
    [segment] = part.video.layer("whole")
    return segment


def ask(part: Part, question: str, *spans: Span, **more: Any) -> Sample:
    return whole(part).add_sample("qa", question, f"to {question}", Author("asker", "model"),
                                  evidence=list(spans), **more)  # fmt: skip


def built(part: Part, **more: Any) -> Segment:
    return whole(BuildDialogue(Settings(**more)).process(part))


@st.composite
def videos(draw: st.DrawFn) -> Part:
    clock = draw(st.sampled_from(CLOCKS))
    length = draw(st.floats(1.0, 90.0))
    part = part_of(length, clock, draw(st.floats(0, 20)))
    own = whole(part).span
    shares = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)
    extents = draw(st.lists(shares, max_size=14))
    other = draw(st.sampled_from([clock, MILLISECONDS]))
    for number, (a, b) in enumerate(extents):
        start = own.clock.exact(own.start)
        lasts = own.clock.exact(own.end) - start
        span = span_of(start + Fraction(a) * lasts, start + Fraction(b) * lasts, other)
        if draw(st.booleans()):
            asked = draw(st.none() | st.floats(0, 1))
            turn = None
            if asked is not None:
                at = MILLISECONDS.tick(start + Fraction(asked) * lasts)
                turn = Span(MILLISECONDS, at, at)
            threads = {"thread": str(number % 5)} if draw(st.booleans()) else {}
            ask(part, f"q{number}", span, turn=turn, labels=threads)
        else:
            event = Segment(f"shots-{number:05d}", "shots", span)
            event.add_text("caption", f"event {number}", Author("captioner"))
            part.video.segments.append(event)
    return part


@settings(max_examples=200)
@given(
    part=videos(),
    fps=st.sampled_from([0.5, 1.0, 2.0, 3.0, 29.97]),
    seed=st.integers(0, 3),
    not_yet=st.sampled_from([0.0, 0.5, 1.0]),
    within=st.sampled_from([0.0, 0.5]),
)
def test_any_dialogue_is_causal_and_silent_where_nothing_is_said(
    part: Part, fps: float, seed: int, not_yet: float, within: float
) -> None:
    segment = built(part, narrate="caption", fps=fps, seed=seed, not_yet=not_yet, gap_s=1.0,
                    request_within=within)  # fmt: skip
    if segment.texts_of("dialogue"):
        assert faults(segment) == []
    answers = len(replies(segment)) + len(replies(segment, "not_yet"))
    assert segment.scores["dialogue_turns"] == answers
    again = whole(part_copy(part))
    rebuilt = built(Part(Video("v", "v.mp4", segments=[again, *part.video.layer("shots")])),
                    narrate="caption", fps=fps, seed=seed, not_yet=not_yet, gap_s=1.0,
                    request_within=within)  # fmt: skip
    assert [t.text for t in rebuilt.texts] == [t.text for t in segment.texts]


def part_copy(part: Part) -> Part:
    """The part as it was before its dialogue."""
    own = whole(part)
    bare = Segment(own.id, own.layer, own.span)
    bare.samples = [sample for sample in own.samples if sample.kind == "qa"]
    return Part(Video("v", "v.mp4", segments=[bare]))


EVENTS = [Span.of_seconds(20.0 + 8 * k, 23.5 + 8 * k) for k in range(12)]


def test_every_mode_gets_its_share_and_keeps_its_distance() -> None:
    part = part_of(140)
    for number, span in enumerate(EVENTS):
        ask(part, f"q{number}", span)
    segment = built(part, gap_s=3.0, reach_s=10.0)
    answers = replies(segment)
    assert Counter(s.labels["mode"] for s in answers) == {"backward": 4, "now": 4, "forward": 4}
    for sample in answers:
        assert sample.turn is not None
        asked, [span] = sample.turn.start_s, sample.evidence
        if sample.labels["mode"] == "backward":
            assert span.end_s + 3 <= asked <= span.end_s + 13.5
            assert sample.turn.end == sample.turn.start  # it is known, so it is said at once
        elif sample.labels["mode"] == "forward":
            assert span.start_s - 13.5 <= asked <= span.start_s - 3
            assert 0 <= sample.turn.end_s - span.end_s <= 0.5
        else:
            assert span.start_s < asked <= span.end_s + 0.5


def test_one_who_asks_too_early_is_told_to_wait_and_answered_later() -> None:
    part = part_of(140)
    for number, span in enumerate(EVENTS):
        ask(part, f"q{number}", span)
    segment = built(part, modes=["forward"], not_yet=1.0)
    waits, answers = replies(segment, "not_yet"), replies(segment)
    assert len(waits) == len(answers) == len(EVENTS)
    for wait, answer in zip(waits, answers, strict=True):
        assert wait.turn and answer.turn and wait.turn.start == answer.turn.start
        assert wait.turn.end == wait.turn.start < answer.turn.end
        assert wait.question == answer.question and not wait.evidence
        assert wait.answer in Settings().not_yet_said
    none = built(part_copy(part), modes=["forward"], not_yet=0.0)
    assert replies(none, "not_yet") == [] and len(replies(none)) == len(EVENTS)


def test_one_question_has_several_answers_each_when_it_becomes_true() -> None:
    part = part_of(60)
    for step, span in enumerate(EVENTS[:4]):
        ask(part, "What is shown?", span, labels={"thread": "1", "step": str(step)})
    segment = built(part)
    assert [m["role"] for m in dialogue_of(segment)["messages"] if m["role"] == "user"] == ["user"]
    ends = [s.turn.end_s for s in replies(segment) if s.turn]
    assert ends == [23.5, 31.5, 39.5, 47.5]  # frames, and nothing else is said then
    assert faults(segment) == []


def test_what_people_asked_is_asked_when_they_did_and_in_their_words() -> None:
    part = part_of(60)
    for at in (2.0, 21.0, 40.25):
        moment = Span.of_seconds(at, at)
        ask(part, f"asked at {at}", EVENTS[0], turn=moment)
    segment = built(part)
    found = {s.question: s for s in replies(segment)}
    modes = {name: s.labels["mode"] for name, s in found.items()}
    assert modes == {
        "asked at 2.0": "forward",
        "asked at 21.0": "now",
        "asked at 40.25": "backward",
    }
    assert found["asked at 40.25"].turn == Span.of_seconds(40.5, 40.5)  # the frame it is heard at


def test_what_people_asked_outside_of_a_dialogue_is_no_part_of_it() -> None:
    part = part_of(60)
    for at in (59.0, 61.0, 700.0):
        ask(part, f"asked at {at}", EVENTS[0], turn=Span.of_seconds(at, at))
    assert [s.question for s in replies(built(part))] == ["asked at 59.0"]


def test_an_answer_of_people_that_comes_too_early_waits_for_its_evidence() -> None:
    part = part_of(60)
    ask(part, "too soon", EVENTS[0], turn=Span.of_seconds(18, 19))
    ask(part, "in time", EVENTS[1], turn=Span.of_seconds(29, 40))
    found = {s.question: s.turn for s in replies(built(part))}
    assert found["too soon"] == Span.of_seconds(18, 23.5)  # the end of what proves it
    assert found["in time"] == Span.of_seconds(29, 40)


def test_a_wording_that_would_lose_the_question_is_refused() -> None:
    with pytest.raises(ValidationError, match="question"):
        Settings(early=("Tell me later.",))


def test_events_are_told_as_they_end_to_one_request() -> None:
    part = part_of(60)
    part.video.add_segments("shots", EVENTS[:4])
    for number, event in enumerate(part.video.layer("shots")):
        event.add_text("caption", f"event {number}", Author("captioner", "model", "1", "p"))
    segment = built(part, kinds=[], narrate="caption")
    user, *told = dialogue_of(segment)["messages"]
    assert user["role"] == "user" and user["content"] in Settings().requests
    assert [m["content"] for m in told] == [f"event {n}" for n in range(4)]
    assert segment.scores["dialogue_silence"] == (120 - 4) / 120
    assert {s.author.model for s in replies(segment)} == {"model"}


def test_what_has_no_room_is_counted_and_what_lies_outside_is_not_asked() -> None:
    part = part_of(10)
    for number in range(30):
        ask(part, f"q{number}", Span.of_seconds(8, 9.9))
    ask(part, "outside", Span.of_seconds(8, 40))
    ask(part, "unproven")
    segment = built(part, fps=1.0)
    said = {s.question for s in replies(segment)}
    assert segment.scores["dialogue_left_out"] == 30 - len(replies(segment)) > 0
    assert not any("outside" in question or "unproven" in question for question in said)
    assert faults(segment) == []


def test_a_dialogue_without_questions_is_none_and_says_so() -> None:
    segment = built(part_of(10))
    assert segment.texts == [] and segment.samples == []
    assert segment.scores["dialogue_turns"] == 0 and segment.scores["dialogue_silence"] == 1


@pytest.mark.parametrize("shift", [-0.6, -5.0])
def test_the_rules_find_an_answer_that_comes_too_early(shift: float) -> None:
    part = part_of(140)
    for number, span in enumerate(EVENTS):
        ask(part, f"q{number}", span)
    segment = built(part, modes=["now"])
    assert faults(segment) == []
    sample = replies(segment)[3]
    assert sample.turn is not None
    at = sample.turn.end + round(shift * 1000)
    sample.turn = Span(MILLISECONDS, min(sample.turn.start, at), at)
    assert any("too early" in fault for fault in faults(segment))
