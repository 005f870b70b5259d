"""What the selfcheck says of questions, and of the records they lie in."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from clipmill.pipeline.selfcheck.figures import Figure
from clipmill.pipeline.selfcheck.questions import questions
from clipmill.pipeline.selfcheck.records import complaint, schema_validity
from clipmill.schemas.clocks import Span
from clipmill.schemas.shards import clip_manifest
from clipmill.stages.compose.truth import Truth
from tests.unit.pipeline.selfcheck_cases import (
    AUTHOR,
    perfect,
    truths,
)


def ask(
    question: str,
    answer: str,
    change: Callable[[Truth], None] = lambda truth: None,
    evidence: tuple[float, float] | None = None,
) -> tuple[Figure, Figure]:
    """The two figures of a single question about the first shot of a film."""
    truth = copy.deepcopy(truths()[0])
    scene = truth.scenes[0]
    scene.things, scene.camera, scene.backdrop = scene.things[:1], "pan_left", "grass"
    scene.things[0].motion = "still"
    truth.upsets = []
    change(truth)
    case = perfect(truth)
    for shot in case.shots:
        shot.samples.clear()
    shot = case.shots[0]
    span = Span.of_seconds(*evidence) if evidence else shot.span
    shot.add_sample("qa", question, answer, AUTHOR, evidence=[span])
    answers, overlap = questions([case])
    return answers, overlap


@pytest.mark.parametrize(
    ("question", "right", "wrong"),
    [
        ("Does the camera move?", "yes", "no"),
        ("What does the camera do?", "It pans left.", "It pans right."),
        ("Is it true that the camera pans left?", "yes", "no"),
        ("Is it true that the camera tilts up?", "no", "yes"),
        ("What is the main colour of the picture?", "green", "blue"),
        ("Which of these colours covers the most of the picture?", "green", "red"),
        ("Is green the main colour of the picture?", "yes", "no"),
        ("Is pink the main colour of the picture?", "no", "yes"),
        ("Is the picture completely still?", "no", "yes"),
        ('Is the word "zebra" said?', "no", "yes"),
    ],
)
def test_answers_are_judged_by_the_drawing(question: str, right: str, wrong: str) -> None:
    assert ask(question, right)[0].value == 1.0
    assert ask(question, wrong)[0].value == 0.0


def test_questions_about_words_are_judged_by_what_was_said_and_when() -> None:
    truth = truths()[0]
    scene = truth.scenes[0]
    said = [
        word
        for line in truth.narration
        for word in line.words
        if scene.start_s <= (word.start_s + word.end_s) / 2 < scene.end_s
    ]
    texts = [word.text for word in said]
    once = [word for word in said if texts.count(word.text) == 1]
    first, last = once[0], once[-1]
    question = f'Which word is said first, "{last.text}" or "{first.text}"?'
    assert ask(question, first.text)[0].value == 1.0
    assert ask(question, last.text)[0].value == 0.0
    question = f'At which second of the clip is the word "{last.text}" said?'
    span = (last.start_s, last.end_s)
    right = ask(question, f"{last.start_s:.1f}", evidence=span)
    assert right[0].value == 1.0 and right[1].value == pytest.approx(1.0, abs=0.02)
    assert ask(question, f"{last.start_s + 0.6:.1f}")[0].value == 0.0
    assert ask("What is said?", " ".join(texts))[0].value == 1.0
    assert ask("What is said?", " ".join(texts[: len(texts) // 2]))[0].value == 0.0
    assert ask(f'How many times is the word "{first.text}" said?', "1")[0].value == 1.0
    assert ask(f'How many times is the word "{first.text}" said?', "2")[0].value == 0.0


def test_what_the_drawing_does_not_decide_is_not_judged() -> None:
    def plain(truth: Truth) -> None:
        truth.scenes[0].backdrop, truth.scenes[0].tone = "plain", "light gray"

    for question, answer in (
        ("How bright is the picture?", "bright"),
        ("What does the camera do?", "It stands still."),
        ("What is the main colour of the picture?", "white"),
        ("Why is this so?", "because"),
    ):
        assert ask(question, answer, plain)[0].value is None, question


def test_evidence_is_the_overlap_of_what_is_stated_with_the_scene() -> None:
    end = truths()[0].scenes[0].end_s
    half = ask("Does the camera move?", "yes", evidence=(0.0, end / 2))[1]
    assert half.value == pytest.approx(0.5, abs=0.01) and half.met is False


def test_the_order_of_two_parts_needs_both_to_be_what_they_are_called() -> None:
    truth = copy.deepcopy(truths()[0])
    first, second = truth.scenes[:2]
    first.backdrop, first.camera, second.backdrop, second.camera = (
        *("grass", "pan_left"),
        *("sand", "static"),
    )
    question = "In this stretch of video, which comes first: one or the other?"
    parts = ("the part where the camera pans left", "the part where the camera stands still")
    for answer, right in zip(parts, (1.0, 0.0), strict=True):
        case = perfect(truth)
        for shot in case.shots:
            shot.samples.clear()
        one, two = case.shots[:2]
        one.add_sample(
            "qa",
            question,
            answer,
            AUTHOR,
            options=list(parts),
            evidence=[one.span, two.span],
            labels={"scope": "neighbours"},
        )
        assert questions([case])[0].value == right
        assert questions([case])[1].value == 1.0


def record() -> dict[str, object]:
    case = perfect(truths()[0])
    media = {"frames": 3, "width": 64, "height": 48, "seconds": 0.125}
    return clip_manifest(case.video, case.shots[0], media)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda facts: facts.pop("samples"),
        lambda facts: facts.update(layout=99),
        lambda facts: facts["media"].update(frames=0),
        lambda facts: facts["texts"][0].update(text="  "),
        lambda facts: facts["texts"].append(facts["texts"][0]),
        lambda facts: facts["samples"][0].update(answer=""),
        lambda facts: facts["samples"][0].update(options=["yes", "no"]),
        lambda facts: facts["samples"][0].update(options=["yes", "yes"], answer="yes"),
        lambda facts: facts["samples"][0].update(evidence=[]),
        lambda facts: facts["samples"][0]["evidence"][0].update(end_s=99.0),
        lambda facts: facts["samples"][0]["evidence"][0].update(end=0),
        lambda facts: facts["scores"].update(motion="much"),
    ],
)
def test_a_spoilt_record_breaks_its_schema(spoil: Callable[[dict[str, object]], None]) -> None:
    facts = record()
    assert complaint(facts) is None
    spoil(facts)
    assert complaint(facts) is not None
    figure = schema_validity([record(), facts])
    assert figure.value == 0.5 and figure.met is False


def test_a_record_that_is_not_json_is_a_miss() -> None:
    assert schema_validity([None]).value == 0.0
