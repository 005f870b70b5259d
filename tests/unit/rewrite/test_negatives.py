"""Edits by rules: each makes exactly the steps it is asked for, or nothing."""

from __future__ import annotations

import random
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Author, Part, Video
from clipmill.stages.qa.build_pairs import BuildPairs
from clipmill.stages.qa.build_pairs import Settings as PairSettings
from clipmill.stages.rewrite.negatives import Step, edited_span, partial, reorder, replace
from clipmill.stages.rewrite.perturb_timeline import PerturbTimeline, Settings

TEXTS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6)


@given(TEXTS, st.integers(1, 6), st.randoms(use_true_random=False))
def test_a_telling_in_another_order_has_exactly_so_many_pairs_the_wrong_way_round(
    texts: list[str], steps: int, rng: random.Random
) -> None:
    events = [Step(text, float(k), k + 1.5) for k, text in enumerate(texts)]  # neighbours overlap
    apart = [Step(text, float(k), k + 0.5) for k, text in enumerate(texts)]
    told = reorder(events, steps, rng)
    assert told is None  # of neighbours that overlap nobody can say which is first
    told = reorder(apart, steps, rng)
    if told is None:
        return
    assert sorted(told) == sorted(texts)
    if len(set(texts)) == len(texts):
        place = {text: k for k, text in enumerate(texts)}
        wrong = sum(place[one] > place[two] for one, two in combinations(told, 2))
        assert wrong == steps


@given(TEXTS, st.integers(1, 4), st.randoms(use_true_random=False))
def test_one_word_in_so_many_texts_is_another_of_its_kind(
    letters: list[str], steps: int, rng: random.Random
) -> None:
    words = ["lifts", "drops", "paints"]
    texts = [f"{letter} {words[k % 3]} it" for k, letter in enumerate(letters)]
    made = replace(texts, words, steps, rng)
    if made is None:
        assert steps > len(texts) or len(set(letters)) < len(letters)
        return
    changed = [(a, b) for a, b in zip(texts, made, strict=True) if a != b]
    assert len(changed) == steps
    for true, false in changed:
        assert false not in texts
        [was] = [a for a, b in zip(true.split(), false.split(), strict=True) if a != b]
        assert was in words


@given(TEXTS, st.lists(st.sampled_from("abxyz"), max_size=5), st.integers(1, 4))
def test_parts_of_other_videos_take_the_place_of_so_many_and_one_stays(
    texts: list[str], foreign: list[str], steps: int
) -> None:
    made = partial(texts, foreign, steps, random.Random(0))
    able = set(foreign) - set(texts)
    if steps >= len(texts) or steps > len(able):
        assert made is None
        return
    assert made is not None
    changed = [b for a, b in zip(texts, made, strict=True) if a != b]
    assert len(changed) == len(set(changed)) == steps and set(changed) <= able


@given(TEXTS, TEXTS)
def test_outside_the_edited_words_two_texts_are_one(one: list[str], two: list[str]) -> None:
    start, end = edited_span(" ".join(one), " ".join(two))
    assert two[:start] == one[:start]
    assert two[end:] == one[len(one) - (len(two) - end) :]
    assert one != two or start == end


def clip(*events: tuple[str, float, float]) -> Part:
    video = Video("v", "v.mp4")
    video.add_segments("whole", [Span.of_seconds(0, 60)])
    video.add_segments("timeline", [Span.of_seconds(a, b) for _, a, b in events])
    for segment, (text, _, _) in zip(video.layer("timeline"), events, strict=True):
        segment.add_text("caption", text, Author("people"))
    return Part(video)


def texts(part: Part) -> dict[str, str]:
    [whole] = part.video.layer("whole")
    return {text.role: text.text for text in whole.texts}


def test_a_timeline_is_told_truly_and_falsely() -> None:
    part = clip(("a man lifts it", 0, 5), ("a girl sings", 5, 9), ("rain falls", 10, 12))
    settings = Settings(kinds=("reorder", "action"), vocabulary={"action": ("lifts", "drops")})
    PerturbTimeline(settings).process(part)
    told = texts(part)
    assert told["told"] == "a man lifts it, then a girl sings, then rain falls"
    assert told["negative:reorder_3"] == "rain falls, then a girl sings, then a man lifts it"
    assert told["negative:action_1"] == "a man drops it, then a girl sings, then rain falls"
    assert "negative:action_2" not in told  # there is one such word
    whole = part.video.layer("whole")[0]
    assert whole.texts[0].sources == [f"timeline-{k:05d}/caption:people:0" for k in range(3)]


def test_what_happens_at_once_has_no_order_to_be_wrong_about() -> None:
    part = clip(("a", 0, 5), ("b", 2, 9))
    PerturbTimeline(Settings(kinds=("reorder",))).process(part)
    assert set(texts(part)) == {"told"}
    part = clip(("a", 0, 5), ("b", 0, 5))
    PerturbTimeline(Settings(kinds=("reorder",), order="listed")).process(part)
    assert texts(part)["negative:reorder_1"] == "b, then a"


def test_events_that_refer_to_one_another_are_not_told_in_another_order() -> None:
    part = clip(("A man jumps.", 0, 5), ("Then, he lifts it.", 6, 9))
    words = {"action": ("lifts", "drops", "jumps")}
    settings = Settings(kinds=("reorder", "action", "combined"), vocabulary=words)
    PerturbTimeline(settings).process(part)
    told = texts(part)
    assert told["told"] == "A man jumps, then Then, he lifts it"
    assert set(told) == {"told", "negative:action_1", "negative:action_2"}
    part = clip(("A man jumps.", 0, 5), ("Then, he lifts it.", 6, 9))
    PerturbTimeline(settings.model_copy(update={"refers": ()})).process(part)
    assert texts(part)["negative:reorder_1"] == "Then, he lifts it, then A man jumps"


def test_words_are_drawn_as_often_as_other_videos_texts_have_them() -> None:
    drawn = []
    for seed in range(300):
        part = clip(("a man lifts it", 0, 5))
        for text in ["a girl drops it."] * 8 + ["a dog throws it."] + ["a boy lifts it."]:
            part.video.add_text("foreign", text, Author("people"))
        words = {"action": ("lifts", "drops", "throws")}
        PerturbTimeline(Settings(kinds=("action",), vocabulary=words, seed=seed)).process(part)
        drawn.append(texts(part)["negative:action_1"].split()[2])
    assert set(drawn) == {"drops", "throws"} and 0.8 < drawn.count("drops") / 300 < 0.97


@pytest.mark.parametrize(
    "settings",
    [{"kinds": ("verb",)}, {"kinds": ()}, {"kinds": ("reorder", "reorder")},
     {"kinds": ("combined",)}, {"kinds": ("verb",), "vocabulary": {"verb": ("x", "x")}}],
)  # fmt: skip
def test_kinds_without_words_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings(**settings)  # type: ignore[arg-type]


def paired(form: str) -> Part:
    part = clip(("a man lifts it", 0, 5), ("a girl sings", 5, 9), ("rain falls", 10, 12))
    PerturbTimeline(Settings(kinds=("reorder",))).process(part)
    BuildPairs(PairSettings(form=form)).process(part)  # type: ignore[arg-type]
    return part


def test_a_pair_has_its_cause_its_steps_and_the_words_that_differ() -> None:
    samples = paired("choice").video.layer("whole")[0].samples
    assert [(s.labels["task"], s.labels["steps"]) for s in samples] == [
        ("reorder", "1"), ("reorder", "2"), ("reorder", "3"),
    ]  # fmt: skip
    places = [sample.options.index(sample.answer) for sample in samples]
    assert {places[0], places[1]} == {0, 1} and places[2] == places[0]
    for sample in samples:
        [false] = set(sample.options) - {sample.answer}
        start, end = map(int, sample.labels["edited"].split("-"))
        words = false.split()
        assert words[:start] == sample.answer.split()[:start]
        assert words[end:] == sample.answer.split()[end:] and end > start


def test_both_questions_of_a_pair_carry_its_name() -> None:
    samples = paired("yes_no").video.layer("whole")[0].samples
    pairs: dict[str, list[str]] = {}
    for sample in samples:
        pairs.setdefault(sample.labels["pair"], []).append(sample.answer)
    assert len(pairs) == 3 and all(sorted(both) == ["no", "yes"] for both in pairs.values())


def test_a_graded_list_says_how_wrong_each_is() -> None:
    [sample] = paired("graded").video.layer("whole")[0].samples
    grades = [int(grade) for grade in sample.labels["grades"].split(",")]
    assert sorted(grades) == [0, 1, 2, 3]
    assert sample.options[grades.index(0)] == sample.answer
    assert sample.labels["causes"].split(",")[grades.index(0)] == "true"


def test_a_clip_without_negatives_makes_no_pair() -> None:
    part = clip(("a", 0, 5))
    PerturbTimeline(Settings(kinds=("reorder",))).process(part)
    BuildPairs(PairSettings()).process(part)
    assert not part.video.layer("whole")[0].samples
