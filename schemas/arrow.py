"""Arrow form of any record, derived from its type.

One walk over the type annotations gives the Arrow type, one gives the conversion each way, so a
new field on a record needs no change here. Dataclasses become structs, lists become lists, string
dictionaries become maps (sorted, so that equal records give equal bytes), `X | None` is nullable.
"""

from __future__ import annotations

import dataclasses
import types
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import pyarrow as pa

T = TypeVar("T")

_SCALARS: dict[type, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.binary(),
}


@cache
def arrow_type(kind: Any) -> pa.DataType:
    """The Arrow type of a record class or of a field's annotation."""
    origin, args = get_origin(kind), get_args(kind)
    if kind in _SCALARS:
        return _SCALARS[kind]
    if dataclasses.is_dataclass(kind):
        return pa.struct(
            [pa.field(name, arrow_type(hint)) for name, hint in _fields(cast(type, kind))]
        )
    if origin in (Union, types.UnionType):
        return arrow_type(_optional(args))
    if origin is Literal:
        return pa.string()
    if origin is list:
        return pa.list_(arrow_type(args[0]))
    if origin is dict:
        return pa.map_(arrow_type(args[0]), arrow_type(args[1]))
    raise TypeError(f"no Arrow form for {kind!r}")


def to_arrow(value: Any) -> Any:
    """A record as the plain Python values pyarrow takes for its type."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: to_arrow(getattr(value, name)) for name, _ in _fields(type(value))}
    if isinstance(value, list):
        return [to_arrow(item) for item in value]
    if isinstance(value, dict):
        return [(key, to_arrow(value[key])) for key in sorted(value)]
    return value


def from_arrow(kind: type[T], value: Any) -> T:
    """The record from what `pyarrow`'s `as_py()` gives.

    Fields that an older writer did not know take their default.
    """
    return cast(T, _from(kind, value))


def _from(kind: Any, value: Any) -> Any:
    if value is None:
        return None
    origin, args = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind):
        known = {name: hint for name, hint in _fields(cast(type, kind)) if name in value}
        return cast(type, kind)(**{name: _from(hint, value[name]) for name, hint in known.items()})
    if origin in (Union, types.UnionType):
        return _from(_optional(args), value)
    if origin is list:
        return [_from(args[0], item) for item in value]
    if origin is dict:
        pairs = value.items() if isinstance(value, dict) else value
        return {key: _from(args[1], item) for key, item in pairs}
    return value


@cache
def _fields(kind: type) -> tuple[tuple[str, Any], ...]:
    hints = get_type_hints(kind)
    return tuple((f.name, hints[f.name]) for f in dataclasses.fields(kind))


def _optional(args: tuple[Any, ...]) -> Any:
    inner = [arg for arg in args if arg is not type(None)]
    if len(inner) != 1:
        raise TypeError(f"only X | None has an Arrow form, not {args!r}")
    return inner[0]
