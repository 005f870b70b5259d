"""Settings from recipe values by their type, with errors that name the place and the way out.

Pydantic says what is wrong in terms of its models. A person needs the line of the file and the
nearest valid name, so every kind of its errors is translated here, once, for stages, decisions and
the recipe's own blocks. Values are checked as strict JSON: `"4"` is not 4, yet a list may fill a
tuple, which YAML could not express otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from clipmill.pipeline.recipe.registry import nearest
from clipmill.pipeline.recipe.yaml_places import Document, Keys
from clipmill.schemas.errors import RecipeError

M = TypeVar("M", bound=BaseModel)

_ABSENT = object()


def validated(model: type[M], document: Document, keys: Keys) -> M:
    """The settings object for the map at `keys`; an absent or empty one gives the defaults.

    Raises RecipeError for the first wrong value, at its place.
    """
    value = find(document.root, keys)
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise document.error(keys, "expected a map of settings", "write `key: value` lines below")
    try:
        return model.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise _explained(error.errors()[0], model, document, keys) from error


def find(root: Any, keys: Keys, absent: Any = None) -> Any:
    """The value at `keys`, `absent` where nothing is written."""
    for key in keys:
        if not isinstance(root, dict | list):
            return absent
        try:
            root = root[key]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return absent
    return root


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every settings type an annotation mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def _explained(
    detail: ErrorDetails, model: type[BaseModel], document: Document, keys: Keys
) -> RecipeError:
    location = detail["loc"]
    written, owners = _walk(location, model, document, keys)
    kind, given = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        names = {name for owner in owners for name in _names(owner)}
        cure = nearest(str(location[-1]), names, f"valid here: {', '.join(sorted(names))}")
        return document.error(written, "unknown key", cure)
    if kind == "missing":
        key = str(location[-1])
        return document.error((*written, key), "required, but not written", f"add `{key}: ...`")
    if kind in ("literal_error", "union_tag_invalid"):
        context = detail.get("ctx", {})
        expected = str(context.get("expected", context.get("expected_tags", "")))
        given = context.get("tag", given)
        words = expected.replace(" or ", ", ").replace("'", "").split(", ")
        cure = nearest(str(given), words, f"write one of {expected}")
        return document.error(written, f"{_shown(given)} is not one of {expected}", cure)
    message = detail["msg"].removeprefix("Value error, ")
    message = f"{message[:1].lower()}{message[1:]}"
    if kind != "value_error":
        message = f"{_shown(given)}: {message}"
    return document.error(written, message, _purpose(location, owners, keys))


def _walk(
    location: tuple[int | str, ...], model: type[BaseModel], document: Document, keys: Keys
) -> tuple[Keys, list[type[BaseModel]]]:
    """The keys as written, and the types that own the last of them.

    Pydantic's location also names the members of unions, which nobody has written.
    """
    written, owners = keys, [model]
    for number, step in enumerate(location):
        if find(document.root, (*written, step), _ABSENT) is not _ABSENT:
            written = (*written, step)
        if number == len(location) - 1:
            break
        fields = [owner.model_fields[step] for owner in owners if step in owner.model_fields]
        inner = [m for field in fields for m in models_in(field.annotation)]
        if not fields:
            inner = [m for owner in owners for m in models_in(_extras(owner))]
        named = [m for m in owners if step == m.__name__ or step in _defaults(m)]
        owners = inner or named or owners
    return written, owners


def _extras(owner: type[BaseModel]) -> Any:
    if owner.model_config.get("extra") != "allow":
        return None
    return get_type_hints(owner).get("__pydantic_extra__")


def _defaults(model: type[BaseModel]) -> list[Any]:
    return [field.default for field in model.model_fields.values()]


def _names(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield field.alias or name


def _purpose(location: tuple[int | str, ...], owners: list[type[BaseModel]], keys: Keys) -> str:
    for step in reversed(location):
        for owner in owners:
            field = owner.model_fields.get(str(step))
            if field is not None and field.description:
                return f"{step}: {' '.join(field.description.split())}"
    if keys[0] in ("stages", "decide"):
        return f"`clipmill stages {keys[-1]}` explains its settings"
    return "see the page of recipes, recipes/README.md"


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
