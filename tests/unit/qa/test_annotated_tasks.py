"""Tasks on published annotations: what is asked, what is left out, and where options stand."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from pydantic import ValidationError

from clipmill.schemas.clocks import Span
from clipmill.stages.qa.record_to_tasks import Settings
from clipmill.stages.qa.scene import Asked, Event, Given, Rated, Scene
from clipmill.stages.qa.task_wording import QUESTIONS, TASKS, Task, worded
from clipmill.stages.qa.tasks import asked
from clipmill.stages.qa.timeline_tasks import NOT_SHOWN
from clipmill.stages.qa.times import Times

WHOLE = Span.of_seconds(0, 100)
STIR, POUR, TASTE = "he stirs it", "a man pours milk", "they taste it"


def event(text: str, start: float, end: float, **more: str) -> Event:
    return Event(Span.of_seconds(start, end), text, f"caption:{text}:{start:g}", **more)


SHOWN = (event(POUR, 0, 10), event(STIR, 5, 20), event(TASTE, 30, 40), event(STIR, 50, 60))


def items(task: Task, events: tuple[Event, ...] = SHOWN, **more: object) -> list[Asked]:
    return asked(task, Scene(WHOLE, events, **more), random.Random(0))  # type: ignore[arg-type]


def test_all_times_of_a_text_are_given_where_one_is_not_enough() -> None:
    found = {item.values["text"]: item for item in items("occurrences")}
    assert found[STIR].answer == "from 5.0 s to 20.0 s; from 50.0 s to 60.0 s"
    assert found[STIR].tells == found[STIR].evidence == (SHOWN[1].span, SHOWN[3].span)
    assert found[TASTE].answer == "from 30.0 s to 40.0 s"


def test_what_happens_once_more_is_asked_for_by_its_time() -> None:
    [item] = items("matching")
    known, other = item.asks[0], item.tells[0]
    assert {known, other} == {SHOWN[1].span, SHOWN[3].span}
    assert item.values["span"] == Times().span(known, WHOLE)
    assert item.answer == Times().span(other, WHOLE)


def test_what_happens_at_the_same_time_is_no_wrong_option() -> None:
    found = {(item.answer, item.asks[0].start_s): item for item in items("span_choice")}
    assert set(found[POUR, 0].options) == {POUR, TASTE}  # stirring overlaps with pouring
    assert set(found[STIR, 50].options) == {STIR, POUR, TASTE}
    more = items("span_choice", SHOWN[2:3], distractors=("a dog runs", "rain", "snow", "hail"))
    assert len(more[0].options) == 4 and TASTE in more[0].options
    assert items("span_choice", SHOWN[2:3]) == []


def test_what_is_not_shown_is_asked_in_the_words_of_what_is() -> None:
    found = items("unanswerable", distractors=("a dog runs",))
    assert [(item.answer, item.evidence) for item in found] == [(NOT_SHOWN, (WHOLE,))]
    assert QUESTIONS["unanswerable"] == QUESTIONS["localisation"]
    assert items("unanswerable", (), distractors=("a dog runs",)) == []


RATED = tuple(
    Rated(Span.of_seconds(at, at + 5), "the cat", rating)
    for at, rating in ((0, 1.0), (5, 4.0), (10, 3.5), (40, 4.0), (60, 0.5))
)


def test_highlights_are_all_that_was_rated_with_its_rating() -> None:
    [item] = items("highlight", rated=RATED)
    assert item.answer.startswith("from 0.0 s to 5.0 s (1.0); from 5.0 s to 10.0 s (4.0)")
    assert len(item.tells) == 5 and item.values == {"text": "the cat"}


def test_a_summary_is_the_best_that_fits_into_its_share_and_neighbours_are_one_part() -> None:
    [item] = items("summary", rated=RATED)
    assert item.answer == "from 5.0 s to 15.0 s; from 40.0 s to 45.0 s"  # 15 of 100 s


def test_a_relation_is_asked_of_two_events_in_their_order() -> None:
    events = (
        event("he falls", 0, 2, number="1", relation="Causes", relates_to="3"),
        event("she laughs", 4, 6, number="3"),
        event("they leave", 8, 10, number="5", relation="NoRel", relates_to="3"),
        event("it rains", 6, 8, number="4", relation="unheard of", relates_to="3"),
    )
    first, second = items("relation", events)
    assert first.values == {"one": "he falls", "two": "she laughs"}
    assert first.answer == "the first causes the second" and len(first.options) == 4
    assert second.values == {"one": "she laughs", "two": "they leave"}
    assert second.answer == "they have nothing to do with each other"


def test_a_tube_is_told_by_its_time_and_its_boxes() -> None:
    boxes = ((10.0, 0.1, 0.25, 0.5, 1.0), (11.0, 0.2, 0.25, 0.6, 1.0))
    events = (replace(event("she turns", 10, 12), boxes=boxes), event("rain", 20, 30))
    [item] = items("tube", events)
    said = "at 10.0 s 0.10 0.25 0.50 1.00; at 11.0 s 0.20 0.25 0.60 1.00"
    assert item.answer == f"from 10.0 s to 12.0 s; {said}"
    [item] = items("where", events)
    assert item.answer == said and item.values["span"] == "from 10.0 s to 12.0 s"
    [item] = items("tube", events, times=Times("bins"))
    assert item.answer.startswith("from <10> to <12>; at <10> <10><25><50><99>; at <11> ")
    assert items("tube", events, times=Times("placeholder")) == []


def test_a_question_of_a_set_keeps_its_options_and_only_moves_them() -> None:
    options = ("a", "b", "c", "d")
    given = tuple(
        Given(f"question {n}?", "a", options, WHOLE, f"asked-{n}/question:0") for n in range(400)
    )
    found = items("question", given=given)
    assert all(set(item.options) == set(options) and item.answer == "a" for item in found)
    places = Counter(item.options.index("a") for item in found)
    # Chi-square with three degrees of freedom: 7.81 is passed by one fair set of twenty.
    assert sum((places[k] - 100) ** 2 / 100 for k in range(4)) < 7.81
    assert [item.values["question"] for item in found] == [one.question for one in given]


def test_only_a_question_about_a_part_is_asked_with_its_time() -> None:
    part = Span.of_seconds(10, 20)
    given = (Given("who?", "she", ("he", "she"), WHOLE, "x"), Given("what?", "it", (), part, "y"))
    [item] = items("grounded_question", given=given)
    assert (item.answer, item.options) == ("it, from 10.0 s to 20.0 s", ())


def test_a_text_with_a_stop_of_its_own_is_asked_about_in_quotes() -> None:
    assert worded("When: {text}?", {"text": "He falls."}) == 'When: "He falls."?'
    assert worded("When: {text}?", {"text": "he falls"}) == "When: he falls?"
    assert worded("{question}", {"question": "Who falls?"}) == "Who falls?"


def test_every_task_has_wordings_that_name_what_its_rule_fills_in() -> None:
    scene = Scene(
        WHOLE, SHOWN, "told", "other", ("a dog runs",), Times(), RATED,
        (Given("what?", "it", (), Span.of_seconds(1, 2), "y"),),
    )  # fmt: skip
    said = 0
    for task in TASKS:
        for item in asked(task, scene, random.Random(1)):
            for wording in QUESTIONS[task]:
                said += bool(wording.format_map(item.values))
    assert said > 50


@pytest.mark.parametrize(
    ("wordings", "said"),
    [
        ({"localisation": ("When?",)}, "names {text}"),
        ({"timeline": ("What of {text}?",)}, "names nothing"),
        ({"timeline": ()}, "no wording is given"),
        ({"timeline": ("What {",)}, "is no wording"),
        ({"dancing": ("Dance?",)}, "dancing"),
    ],
)
def test_a_wording_of_ones_own_that_cannot_be_answered_is_refused(
    wordings: dict[str, tuple[str, ...]], said: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(wordings=wordings)  # type: ignore[arg-type]
    assert said in str(refused.value)
    assert Settings(wordings={"localisation": ("Zeit: {text}",)}).wordings


LICKED = (
    event("a cat licks a paw", 0, 3, count=4),
    event("a dog nods", 3, 6, count=2),
    event("a man waves", 6, 9),
)


def test_what_people_counted_is_asked_both_ways() -> None:
    found = items("repetition", LICKED)
    assert [(item.values["text"], item.answer) for item in found] == [
        ("a cat licks a paw", "4"), ("a dog nods", "2"),
    ]  # fmt: skip
    assert {item.answer: item.values["count"] for item in items("repeated", LICKED)} == {
        "a cat licks a paw": "4", "a dog nods": "2",
    }  # fmt: skip
    twice = (LICKED[0], event("a dog nods", 3, 6, count=4))
    assert items("repeated", twice) == [], "two answers would be right"


def test_what_comes_next_is_no_option_twice_and_not_asked_of_what_happens_again() -> None:
    found = items("transition", LICKED, distractors=("it rains",))
    said = {(item.values["side"], item.values["text"]): item for item in found}
    assert len(found) == 4
    assert said["after", "a cat licks a paw"].answer == "a dog nods"
    assert said["before", "a man waves"].answer == "a dog nods"
    assert set(said["after", "a dog nods"].options) == {
        "a man waves", "a cat licks a paw", "it rains",
    }  # fmt: skip
    again = items("transition", (*LICKED, event("a dog nods", 9, 12)))
    assert {item.values["text"] for item in again} == {"a cat licks a paw", "a man waves"}
    overlapping = (event("one", 0, 5), event("two", 3, 8), event("three", 3, 9))
    assert items("transition", overlapping) == []
