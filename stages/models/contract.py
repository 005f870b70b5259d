"""Asks a teacher under a contract: schema, check, one repair, then a counted rejection.

A backend may constrain its decoding to the schema, and the reply is validated all the same:
constrained grammars differ in small ways, and servers ignore what they do not know. What fails is
asked once more with the complaint attached (or, if it got lost, asked again as it was). What fails
twice is rejected under a short reason, never mended by hand or guessed.

A rejected segment gets no text; `mark_rejected` leaves the label `rejected_<role>` with the reason,
e.g. `rejected_caption = truncated`. The stage lists `labels:rejected_<role>` under `provides`, so
that a rejection is stored, counted by grouping a column, usable in a profile, and taken back when
the stage runs again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from clipmill.schemas.errors import ReplyMismatch
from clipmill.schemas.records import Segment
from clipmill.stages.models.prompts import load_prompt
from clipmill.stages.models.replies import match
from clipmill.stages.models.teacher import Reply, Request, Teacher, Usage

Check = Callable[[str, Any], str | None]
"""(request id, value) -> what is wrong with the value beyond its schema, None if nothing."""

REPAIR = "repair.v1"
_LONGEST = 100_000  # characters of a reply worth parsing; a runaway is not


class Refused(Exception):
    """A reply breaks its contract; `reason` is counted, `complaint` is told to the teacher."""

    def __init__(self, reason: str, complaint: str) -> None:
        super().__init__(f"{reason}: {complaint}")
        self.reason = reason
        self.complaint = complaint


@dataclass(frozen=True, slots=True)
class Answer:
    """A value that keeps its contract: parsed JSON, or text where no schema was asked for."""

    value: Any
    repaired: bool = False


@dataclass(slots=True)
class Answers:
    """Every request is in exactly one of `found` and `rejected` (id -> reason)."""

    found: dict[str, Answer] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    foreign: int = 0
    usage: Usage = field(default_factory=Usage)


async def ask(
    teacher: Teacher,
    requests: Sequence[Request],
    check: Check | None = None,
    *,
    repair: bool = True,
) -> Answers:
    """Answers by request id. Reasons: lost, doubled, error, truncated, not_json, not_text,
    off_schema, off_contract. Raises ReplyMismatch where two requests share an id.
    """
    answers = Answers()
    again = await _round(teacher, requests, check, answers)
    if not repair or not again:
        answers.rejected = {name: refused.reason for name, refused in again.items()}
        return answers
    originals = {request.id: request for request in requests}
    second = {f"{name}~repair": name for name in again}
    if second.keys() & originals.keys() or len(second) != len(again):
        raise ReplyMismatch("a request's id ends in ~repair", cure="choose other ids")
    repairs = [_repair(originals[name], again[name], attempt) for attempt, name in second.items()]
    repaired = Answers()
    mended = None if check is None else (lambda attempt, value: check(second[attempt], value))
    failed = await _round(teacher, repairs, mended, repaired)
    for attempt, answer in repaired.found.items():
        answers.found[second[attempt]] = Answer(answer.value, repaired=True)
    answers.rejected = {second[attempt]: refused.reason for attempt, refused in failed.items()}
    answers.foreign += repaired.foreign
    answers.usage += repaired.usage
    return answers


async def _round(
    teacher: Teacher, requests: Sequence[Request], check: Check | None, answers: Answers
) -> dict[str, Refused]:
    """Ask once; fill `answers` and return what has to be asked again."""
    if not requests:
        return {}
    matched = match(requests, await teacher.ask(requests))
    answers.foreign += matched.foreign
    refused = {name: Refused(reason, "") for name, reason in matched.rejected.items()}
    for request in requests:
        reply = matched.replies.get(request.id)
        if reply is None:
            continue
        answers.usage += reply.usage
        try:
            value = read(reply, request.schema)
            complaint = check(request.id, value) if check else None
            if complaint:
                raise Refused("off_contract", complaint)
        except Refused as refusal:
            refused[request.id] = refusal
        else:
            answers.found[request.id] = Answer(value)
    return refused


def read(reply: Reply, schema: dict[str, Any] | None) -> Any:
    """The value in a reply: its text, or its JSON if a schema is given. Raises Refused."""
    if reply.error is not None or reply.finish_reason == "error":
        raise Refused("error", "")
    if not isinstance(reply.text, str):
        raise Refused("not_text", "")
    if reply.finish_reason != "stop":
        raise Refused("truncated", "it was cut off at the length limit; answer much shorter")
    if len(reply.text) > _LONGEST:
        raise Refused("off_schema", "it is far too long")
    if schema is None:
        text = reply.text.strip()
        if not text:
            raise Refused("off_schema", "it is empty")
        _storable(text)
        return text
    try:
        value = json.loads(
            _unfenced(reply.text), parse_constant=_no_constant, object_pairs_hook=_no_doubles
        )
    except (ValueError, RecursionError) as error:
        raise Refused("not_json", f"it is not one JSON value: {error}"[:200]) from error
    problem = best_match(Draft202012Validator(schema).iter_errors(value))
    if problem is not None:
        raise Refused("off_schema", f"{problem.json_path}: {problem.message}"[:300])
    _storable(value)
    return value


def mark_rejected(segment: Segment, role: str, reason: str) -> None:
    """Leave the countable mark of a rejection on a segment, see the module's docstring."""
    segment.labels[f"rejected_{role}"] = reason


def _repair(request: Request, refused: Refused, attempt: str) -> Request:
    if not refused.complaint:  # nothing wrong was said, it only did not arrive
        return replace(request, id=attempt)
    prompt = load_prompt(REPAIR).render(request=request.prompt, complaint=refused.complaint)
    return replace(request, id=attempt, prompt=prompt)


def _unfenced(text: str) -> str:
    """Without the Markdown fence that chat models like to put around a whole JSON reply."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        head, _, body = text.partition("\n")
        if head in ("```", "```json"):
            return body[:-3]
    return text


def _storable(value: Any) -> None:
    """Refuse what JSON can spell and UTF-8 columns cannot hold, in any string at any depth."""
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise Refused("not_text", "it holds characters that are not text")
    elif isinstance(value, dict):
        for key, item in value.items():
            _storable(key)
            _storable(item)
    elif isinstance(value, list):
        for item in value:
            _storable(item)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found
