"""What is in a reply: its text, or JSON that keeps a schema, or the reason why it is refused.

Nothing is mended: no missing bracket is added and no object is picked out of prose, because a guess
looks like an answer. The one thing taken off is a Markdown fence around the whole. Replies are as
hostile as the videos that they speak of: runaways, numbers that are none, doubled keys and letters
that no column can hold are refused here.
"""

from __future__ import annotations

import json
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from clipmill.stages.models.teacher import Reply

_LONGEST = 100_000  # characters of a reply worth parsing; a runaway is not


class Refused(Exception):
    """A reply breaks its contract; `reason` is counted, `complaint` is told to the teacher."""

    def __init__(self, reason: str, complaint: str) -> None:
        super().__init__(f"{reason}: {complaint}")
        self.reason = reason
        self.complaint = complaint


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
