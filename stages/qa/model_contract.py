"""What a model's questions about a clip must keep to, beyond being JSON.

The schema bounds the seconds by the clip's own length, so that constrained decoding cannot leave
it. Everything is checked again here, because a schema cannot say that evidence starts before it
ends or that the answer is one of the options.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

from clipmill.schemas.clocks import Span
from clipmill.stages.models.teacher_stage import object_schema

Asked = Literal["open", "choice", "yes_no", "counting", "order", "causal", "temporal"]
"""Types of questions that a model may ask."""

ROUNDED = 0.0005
"""Prompts name a clip's length in whole milliseconds, which can be this much too long."""


def qa_schema(seconds: float, questions: int, types: tuple[str, ...]) -> dict[str, Any]:
    """The contract of a teacher's questions about a clip of so many seconds."""
    text = {"type": "string", "minLength": 1, "maxLength": 400}
    second = {"type": "number", "minimum": 0, "maximum": seconds}
    item = {
        # In this order: constrained decoding then finds the proof before it asks.
        "type": {"enum": list(types)},
        "evidence": {
            "type": "array",
            "minItems": 1,
            "maxItems": 4,
            "items": object_schema({"start": second, "end": second}),
        },
        "answer": text,
        "question": text,
        "options": {"type": "array", "items": text, "maxItems": 5},
    }
    return object_schema(
        {
            "questions": {
                "type": "array",
                "minItems": 1,
                "maxItems": questions,
                "items": object_schema(item),
            }
        }
    )


def complaint(value: Any, span: Span) -> str | None:
    """What is wrong with questions that keep the schema; None if nothing."""
    for number, item in enumerate(value["questions"]):
        if wrong := item_complaint(number, item):
            return wrong
        for evidence in item["evidence"]:
            start, end = evidence["start"], evidence["end"]
            if not 0 <= start < end <= span.duration_s + ROUNDED or not _lasts(span, evidence):
                return f"the evidence of question {number} does not lie inside the clip"
    return None


def item_complaint(number: int, item: dict[str, Any]) -> str | None:
    """What is wrong with one question by itself: its answer must be what its type wants."""
    answer = item["answer"].strip()
    options = [option.strip() for option in item["options"]]
    if not answer or not item["question"].strip():
        return f"question {number} is blank"
    if len(set(options)) != len(options):
        return f"question {number} has the same option twice"
    if options and answer not in options:
        return f"the answer of question {number} is none of its options"
    if item["type"] == "choice" and len(options) < 2:
        return f"question {number} is a choice without options"
    if item["type"] == "yes_no" and answer not in ("yes", "no"):
        return f"question {number} must be answered yes or no"
    if item["type"] == "counting" and not (answer.isascii() and answer.isdigit()):
        return f"question {number} must be answered with a number"
    return None


def within(span: Span, evidence: dict[str, float]) -> Span:
    """Seconds counted from a clip's start as a span of its clock.

    Rounding to milliseconds and to ticks can carry them just past the end; that is cut off.
    """
    clock, zero = span.clock, span.clock.exact(span.start)
    start = min(max(clock.tick(zero + Fraction(evidence["start"])), span.start), span.end)
    end = min(max(clock.tick(zero + Fraction(evidence["end"])), start), span.end)
    return Span(clock, start, end)


def _lasts(span: Span, evidence: dict[str, float]) -> bool:
    """Whether anything is left of the evidence in whole ticks."""
    found = within(span, evidence)
    return found.start < found.end
