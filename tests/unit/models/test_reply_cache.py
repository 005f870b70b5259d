"""A reply that was paid for is not paid for twice, and none is given to another question."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from fake_teacher import FakeTeacher, captioned
from hypothesis import given
from hypothesis import strategies as st

from clipmill.schemas.errors import BudgetSpent
from clipmill.stages.caption.caption_clip import caption_schema
from clipmill.stages.models.contract import Answer, Answers, ask
from clipmill.stages.models.reply_cache import Remembered, reply_key
from clipmill.stages.models.tab import Bill, Tab, open_tab
from clipmill.stages.models.teacher import Request, TeacherSettings

TEACHER = TeacherSettings(model="fake").identity()
PLAIN = Request("a", "Describe.", (b"1", b"2"), caption_schema(50), 64, 0.0, 0)


class Memory(dict[str, bytes]):
    def put(self, key: str, data: bytes) -> None:
        self.setdefault(key, data)


def asked(
    teacher: FakeTeacher, cache: Memory, *requests: Request, purse: Any = None, **more: Any
) -> tuple[Answers, Tab]:
    with open_tab(cache, purse) as tab:
        return asyncio.run(ask(teacher, requests, **more)), tab


def honest() -> FakeTeacher:
    return FakeTeacher(lambda request: captioned(f"{request.prompt[:20]} {len(request.images)}"))


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "Describe!"},
        {"images": (b"2", b"1")},
        {"images": (b"12",)},
        {"schema": caption_schema(51)},
        {"schema": None},
        {"max_tokens": 65},
        {"temperature": 0.1},
    ],
    ids=str,
)
def test_whatever_decides_a_reply_decides_its_key(change: dict[str, Any]) -> None:
    assert reply_key(TEACHER, replace(PLAIN, **change)) != reply_key(TEACHER, PLAIN)


@pytest.mark.parametrize(
    "change", [{"model": "other"}, {"revision": "v2"}, {"dtype": "float16"}, {"backend": "vllm"}]
)
def test_another_teacher_has_other_keys(change: dict[str, str]) -> None:
    assert reply_key({**TEACHER, **change}, PLAIN) != reply_key(TEACHER, PLAIN)


def test_neither_the_id_nor_the_seed_of_a_greedy_request_decides_anything() -> None:
    assert reply_key(TEACHER, replace(PLAIN, id="b", seed=5)) == reply_key(TEACHER, PLAIN)


def test_a_sampled_reply_is_known_by_its_seed() -> None:
    one, two = (replace(PLAIN, temperature=1.0, seed=seed) for seed in (1, 2))
    assert reply_key(TEACHER, one) != reply_key(TEACHER, two)


def test_the_order_of_a_schema_is_part_of_the_question() -> None:
    there, back = (
        replace(PLAIN, schema={"type": "object", "properties": {k: {"type": "string"} for k in o}})
        for o in ("ab", "ba")
    )
    assert reply_key(TEACHER, there) != reply_key(TEACHER, back)


def test_a_known_reply_is_not_asked_for_and_says_the_same() -> None:
    cache, teacher = Memory(), honest()
    requests = [replace(PLAIN, id=name, prompt=name) for name in "abc"]
    first, paid = asked(teacher, cache, *requests)
    again, free = asked(teacher, cache, *(replace(r, id=f"other {r.id}") for r in requests[::-1]))
    assert len(teacher.asked) == 3
    assert all(json.loads(entry)["usage"]["completion_tokens"] == 5 for entry in cache.values())
    assert {f"other {n}": a for n, a in first.found.items()} == again.found
    assert paid.bills["fake"].cached == 0 and paid.bills["fake"].tokens == 45
    bill = free.bills["fake"]
    assert (bill.requests, bill.cached, bill.tokens) == (3, 3, 0)


@pytest.mark.parametrize("fate", ["truncated", "malformed", "error", "lost", "doubled"])
def test_what_broke_its_contract_is_asked_again_by_the_next_run(fate: Any) -> None:
    cache = Memory()
    teacher = FakeTeacher(lambda _: captioned("x"), fate=lambda _: fate)
    answers, tab = asked(teacher, cache, PLAIN)
    assert answers.rejected and cache == {}
    assert tab.bills["fake"].rejected == 1
    assert tab.bills["fake"].error == ("out of memory" if fate == "error" else "")
    assert asked(honest(), cache, PLAIN)[0].found


def test_a_repaired_reply_is_known_under_the_first_question_and_stays_repaired() -> None:
    cache = Memory()
    teacher = FakeTeacher(
        lambda _: captioned("mended"),
        fate=lambda request: "right" if "~" in request.id else "malformed",
    )
    _, paid = asked(teacher, cache, PLAIN)
    again, free = asked(teacher, cache, PLAIN)
    assert again.found == {"a": Answer({"caption": "mended"}, repaired=True)}
    assert len(teacher.asked) == 2
    assert (paid.bills["fake"].repaired, free.bills["fake"].repaired) == (1, 0)


def test_a_known_reply_is_checked_against_the_contract_of_today() -> None:
    cache, teacher = Memory(), honest()
    asked(teacher, cache, PLAIN)
    answers, _ = asked(teacher, cache, PLAIN, check=lambda name, value: "not today")
    assert answers.rejected == {"a": "off_contract"}
    assert len(teacher.asked) == 3


@given(st.binary(max_size=60))
def test_a_damaged_entry_is_no_entry(data: bytes) -> None:
    known = Remembered.from_bytes(data)
    assert known is None or isinstance(known.text, str)
    cache, teacher = Memory({reply_key(TEACHER, PLAIN): data}), honest()
    assert asked(teacher, cache, PLAIN)[0].found["a"].value == {"caption": "Describe. 2"}


class OneByOne(FakeTeacher):
    one_by_one = True


class Purse:
    def __init__(self, tokens: int) -> None:
        self.left = tokens

    def spend(self, tokens: int, cost: float) -> bool:
        self.left -= tokens
        return self.left > 0


def test_an_empty_purse_stops_the_asking_and_keeps_what_was_answered() -> None:
    cache, purse = Memory(), Purse(20)
    teacher = OneByOne(lambda request: captioned(request.prompt))
    requests = [replace(PLAIN, id=name, prompt=name) for name in "abcdefgh"]
    rounds = 0
    while True:
        rounds += 1
        before = len(teacher.asked)
        try:
            answers, _ = asked(teacher, cache, *requests, purse=Purse(20))
            break
        except BudgetSpent:
            assert len(teacher.asked) > before, "a run must come forward, or it never ends"
    assert list(answers.found) == list("abcdefgh")
    assert Counter(r.prompt for r in teacher.asked) == Counter("abcdefgh")
    assert rounds >= 1 and purse.left == 20


def test_bills_of_one_teacher_add_up() -> None:
    one = Bill("t", requests=2, prompt_tokens=5, cost=0.5)
    assert one + one == Bill("t", requests=4, prompt_tokens=10, cost=1.0)
    assert (Bill("t", error="first") + Bill("t", error="last") + one).error == "last"
    tab = Tab()
    for bill in (one, Bill("u"), one):
        tab.add(bill)
    assert tab.bills == {"t": one + one, "u": Bill("u")}


def test_prices_make_the_cost() -> None:
    teacher = honest()
    teacher.settings = TeacherSettings.model_validate(
        {"model": "fake", "prices": {"prompt": 2.0, "completion": 8.0}}
    )
    _, tab = asked(teacher, Memory(), PLAIN)
    assert tab.bills["fake"].cost == pytest.approx((10 * 2 + 5 * 8) / 1e6)
