"""Named slots that a model fills: what it is asked for, what it may answer, where answers go.

A slot is open (a phrase, kept as text `slot:NAME`) or closed (one of listed values, kept as label
NAME, so that profiles and tables can use it). What cannot be told stays absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import StringConstraints

from clipmill.schemas.records import Author, Segment
from clipmill.stages.models.teacher_stage import object_schema, one_line

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Value = Annotated[str, StringConstraints(min_length=1, max_length=80)]
Slots = dict[Name, tuple[Value, ...]]
"""Each slot's name, and its values where they are a closed list."""


def slot_tokens(slots: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """What a stage that fills these slots adds."""
    return frozenset(f"labels:{name}" if slots[name] else f"texts:slot:{name}" for name in slots)


def slot_lines(slots: Mapping[str, Sequence[str]]) -> str:
    """The slots as a prompt lists them."""
    return "\n".join(
        f"- {slot}: " + (f"one of {', '.join(values)}" if values else "a short phrase")
        for slot, values in slots.items()
    )


def slots_schema(slots: Mapping[str, Sequence[str]], max_chars: int) -> dict[str, Any]:
    """The contract of slots: exactly these keys; of closed ones a listed value, or nothing."""
    return object_schema(
        {
            name: {"enum": [*values, ""]} if values else {"type": "string", "maxLength": max_chars}
            for name, values in slots.items()
        }
    )


def write_slots(
    segment: Segment,
    slots: Mapping[str, Sequence[str]],
    value: Mapping[str, str],
    author: Author,
    language: str,
    sources: Sequence[str] = (),
) -> None:
    """Write what a reply filled in; empty slots are left out."""
    for slot, values in slots.items():
        found = one_line(value[slot])
        if found and values:
            segment.labels[slot] = found
        elif found:
            segment.add_text(
                f"slot:{slot}", found, author, language=language, sources=list(sources)
            )
