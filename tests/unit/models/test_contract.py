"""A reply keeps its contract, is repaired once, or is rejected under its reason."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fake_teacher import MALFORMED, FakeTeacher, captioned

from clipmill.stages.caption.caption_clip import caption_schema
from clipmill.stages.models.contract import Answer, Answers, ask
from clipmill.stages.models.read_reply import Refused, read
from clipmill.stages.models.teacher import Reply, Request, Usage

SCHEMA = caption_schema(100)


def asked(teacher: FakeTeacher, **more: Any) -> Answers:
    return asyncio.run(ask(teacher, [Request("a", "Describe.", schema=SCHEMA)], **more))


@pytest.mark.parametrize("text", [text for text in MALFORMED if '"  "' not in text])
def test_malformed_replies_are_refused_for_a_reason(text: str) -> None:
    with pytest.raises(Refused) as refused:
        read(Reply("a", text), SCHEMA)
    assert refused.value.reason in {"not_json", "off_schema", "not_text"}


def test_a_fence_around_the_whole_reply_is_not_part_of_it() -> None:
    assert read(Reply("a", '```json\n{"caption": "x"}\n```'), SCHEMA) == {"caption": "x"}
    with pytest.raises(Refused):
        read(Reply("a", 'Sure:\n```json\n{"caption": "x"}\n```'), SCHEMA)


def test_a_truncated_reply_is_refused_even_if_it_parses() -> None:
    with pytest.raises(Refused, match="truncated"):
        read(Reply("a", captioned("x"), finish_reason="length"), SCHEMA)


def test_without_a_schema_the_text_is_the_value() -> None:
    assert read(Reply("a", " a red car \n"), None) == "a red car"
    with pytest.raises(Refused):
        read(Reply("a", " \n"), None)


def test_a_bad_reply_is_repaired_once_with_the_complaint_quoted() -> None:
    teacher = FakeTeacher(
        lambda request: captioned("mended"),
        fate=lambda request: "right" if "~" in request.id else "malformed",
        malformed=lambda _: '{"caption": 7}',
    )
    answers = asked(teacher)
    assert answers.found == {"a": Answer({"caption": "mended"}, repaired=True)}
    assert answers.rejected == {}
    first, repair = teacher.asked
    assert repair.prompt.startswith(first.prompt)
    assert "$.caption: 7 is not of type 'string'" in repair.prompt


def test_what_fails_twice_is_rejected_and_never_asked_a_third_time() -> None:
    teacher = FakeTeacher(lambda _: captioned("x"), fate=lambda _: "truncated")
    assert asked(teacher).rejected == {"a": "truncated"}
    assert len(teacher.asked) == 2


def test_a_lost_reply_is_asked_for_again_in_the_same_words() -> None:
    teacher = FakeTeacher(
        lambda _: captioned("x"), fate=lambda request: "right" if "~" in request.id else "lost"
    )
    assert asked(teacher).found["a"].value == {"caption": "x"}
    assert teacher.asked[0].prompt == teacher.asked[1].prompt


def test_a_check_can_refuse_what_the_schema_allows() -> None:
    teacher = FakeTeacher(lambda request: captioned(request.id))
    answers = asked(teacher, check=lambda name, value: f"{name}: no {value['caption']}")
    assert answers.rejected == {"a": "off_contract"}
    assert "a: no a" in teacher.asked[1].prompt


def test_tokens_of_refused_replies_are_counted_too() -> None:
    teacher = FakeTeacher(lambda _: "x" * 200, fate=lambda _: "right", malformed=lambda _: "unused")
    answers = asked(teacher)
    assert answers.rejected == {"a": "not_json"}
    assert answers.usage == Usage(20, 10)
