"""A model's questions must keep inside their clip and agree with themselves."""

from __future__ import annotations

from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipmill.schemas.clocks import Clock, Span
from clipmill.stages.models.prompts import load_prompt
from clipmill.stages.qa.model_contract import Asked, complaint, qa_schema, within

SPAN = Span(Clock("v0", 1001, 30000, 5), 105, 255)  # 5.005 s, beginning at 3.337 s
TYPES = get_args(Asked)


def reply(**more: Any) -> dict[str, Any]:
    item = {
        "type": "open",
        "question": "What falls?",
        "answer": "a cup",
        "options": [],
        "evidence": [{"start": 0, "end": 5.005}],
    }
    return {"questions": [{**item, **more}]}


def test_a_sound_question_passes() -> None:
    jsonschema.validate(reply(), qa_schema(5.005, 3, TYPES))
    assert complaint(reply(), SPAN) is None


def test_the_prompt_names_every_type_and_the_reply_proves_before_it_asks() -> None:
    prompt = load_prompt("qa.v2").text
    assert all(f'"{kind}"' in prompt for kind in TYPES)
    item = qa_schema(5.0, 3, TYPES)["properties"]["questions"]["items"]
    order = [prompt.index(f'"{key}":') for key in ("evidence", "answer", "question")]
    assert order == sorted(order)
    keys = list(item["properties"])
    assert keys.index("evidence") < keys.index("answer") < keys.index("question")
    jsonschema.validate(reply(type="causal"), qa_schema(5.005, 3, TYPES))
    assert complaint(reply(type="causal"), SPAN) is None


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ({"evidence": [{"start": 2, "end": 2}]}, "evidence"),
        ({"evidence": [{"start": 3, "end": 2}]}, "evidence"),
        ({"evidence": [{"start": -1, "end": 2}]}, "evidence"),
        ({"evidence": [{"start": 1, "end": 5.1}]}, "evidence"),
        ({"evidence": [{"start": 1, "end": 1.0000001}]}, "evidence"),
        ({"answer": "  "}, "blank"),
        ({"type": "choice"}, "without options"),
        ({"type": "choice", "options": ["a mug", "a jug"]}, "none of its options"),
        ({"options": ["a cup", "a cup "]}, "twice"),
        ({"type": "yes_no"}, "yes or no"),
        ({"type": "counting", "answer": "many"}, "number"),
    ],
)
def test_a_question_at_odds_with_itself_is_refused(fault: dict[str, Any], named: str) -> None:
    found = complaint(reply(**fault), SPAN)
    assert found is not None and named in found


@given(st.floats(0, 5.005), st.floats(0, 5.005))
def test_evidence_the_contract_accepts_lies_inside_the_clip(start: float, end: float) -> None:
    evidence = {"start": start, "end": end}
    if complaint(reply(evidence=[evidence]), SPAN) is None:
        found = within(SPAN, evidence)
        assert SPAN.start <= found.start < found.end <= SPAN.end
        assert found.start_s - SPAN.start_s == pytest.approx(start, abs=0.02)
        assert found.end_s - SPAN.start_s == pytest.approx(end, abs=0.02)
