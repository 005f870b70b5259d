"""Whether every packed record keeps its schema: the facts file that lies beside each clip.

The schema is written out here from the published layout and not derived from the code that writes
the records, so that a slip there is seen. What a schema cannot say is checked after it: an answer
is among its options, evidence lasts and lies inside the video, a clip inside its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from io import BytesIO
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from clipmill.pipeline.output.pack import read_manifest
from clipmill.pipeline.output.tars import members
from clipmill.pipeline.selfcheck.figures import Figure, Miss, share
from clipmill.pipeline.store.store import Store
from clipmill.schemas.shards import LAYOUT


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


_STRING, _FILLED = {"type": "string"}, {"type": "string", "pattern": r"\S"}
_STRINGS = {"type": "array", "items": _STRING}
_COUNT = {"type": "integer", "minimum": 1}
_POSITIVE = {"type": "number", "exclusiveMinimum": 0}
_SPAN = _object(
    clock=_object(
        name=_STRING,
        num={"type": "integer", "minimum": 1},
        den={"type": "integer", "minimum": 1},
        zero={"type": "integer"},
    ),
    start={"type": "integer"},
    end={"type": "integer"},
    start_s={"type": "number"},
    end_s={"type": "number"},
)
_AUTHOR = _object(stage=_FILLED, model=_STRING, revision=_STRING, prompt=_STRING)
SCHEMA = _object(
    layout={"const": LAYOUT},
    key={"type": "string", "pattern": "^[A-Za-z0-9_-]+$"},
    video=_object(id=_FILLED, meta={"type": "object"}, parents=_STRINGS),
    segment=_FILLED,
    layer=_FILLED,
    span=_SPAN,
    media={
        "if": {"properties": {"mode": {"const": "none"}}, "required": ["mode"]},
        "then": _object(seconds=_POSITIVE),  # annotations alone
        "else": _object(frames=_COUNT, width=_COUNT, height=_COUNT, seconds=_POSITIVE),
    },
    texts={
        "type": "array",
        "items": _object(id=_FILLED, role=_FILLED, text=_FILLED, author=_AUTHOR, sources=_STRINGS),
    },
    scores={"type": "object", "additionalProperties": {"type": "number"}},
    labels={"type": "object", "additionalProperties": _STRING},
    samples={
        "type": "array",
        "items": _object(
            id=_FILLED,
            kind=_FILLED,
            question=_FILLED,
            answer=_FILLED,
            author=_AUTHOR,
            options={"type": "array", "items": _FILLED, "uniqueItems": True},
            evidence={"type": "array", "items": _SPAN, "minItems": 1},
        ),
    },
)


def complaint(facts: Any) -> str | None:
    """What is wrong with the content of a KEY.json; None if nothing."""
    error = best_match(_validator().iter_errors(facts))
    if error is not None:
        return f"{error.json_path}: {error.message}"
    span = facts["span"]
    if not span["start"] < span["end"]:
        return "the clip's span is empty"
    texts = [text["id"] for text in facts["texts"]]
    if len(set(texts)) != len(texts):
        return "two texts have one id"
    for sample in facts["samples"]:
        if sample["options"] and sample["answer"] not in sample["options"]:
            return f"{sample['id']}: the answer is none of the options"
        for evidence in sample["evidence"]:
            if not evidence["start"] < evidence["end"]:
                return f"{sample['id']}: evidence that does not last"
            alone = sample["labels"].get("scope", "clip") == "clip"
            slack = 1e-6
            if alone and not (
                span["start_s"] - slack <= evidence["start_s"]
                and evidence["end_s"] <= span["end_s"] + slack
            ):
                return f"{sample['id']}: evidence outside the clip"
    return None


def packed_records(store: Store) -> list[Any]:
    """Every KEY.json in the shards of an output; None for one that is not JSON."""
    found: list[Any] = []
    manifest = read_manifest(store)
    for shard in manifest.shards if manifest else []:
        file = BytesIO(store.get(f"shards/{shard.name}.tar"))
        for member in list(members(file, shard.name)):
            if member.extension == "json":
                file.seek(member.offset)
                found.append(_parsed(file.read(member.size)))
    return found


def schema_validity(records: Iterable[Any]) -> Figure:
    """Share of packed records that keep the schema."""
    count, misses = 0, []
    for record in records:
        count += 1
        wrong = complaint(record)
        if wrong:
            facts = record if isinstance(record, dict) else {}
            misses.append(Miss(str(facts.get("key", "?")), 0.0, wrong))
    return share(
        "pack", "records that keep their schema", count - len(misses), count, None, 1.0, misses
    )


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(SCHEMA)
