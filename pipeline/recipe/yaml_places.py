"""YAML read as plain values that remember where each of them was written.

A recipe's errors name file and line, also for a key that came from the file it extends. So the
tree of values and the table of places are kept side by side and are merged together. Reading stops
at the node graph and builds only maps, lists and scalars from it: a tag can therefore never create
an object, and doubled keys, aliases that explode and files of silly size are refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from clipmill.schemas.errors import RecipeError

Keys = tuple[str | int, ...]
"""The way to a value: map keys and list indices from the root."""

MAX_BYTES = 1_000_000
MAX_VALUES = 50_000
MAX_DEPTH = 40

_CORE = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Place:
    file: str
    line: int | None = None


@dataclass(slots=True)
class Document:
    """A tree of plain values (`root`) and the place of every value in it, by its keys."""

    root: Any
    places: dict[Keys, Place] = field(default_factory=dict)

    def place(self, keys: Sequence[str | int]) -> Place:
        """Where a value stands; for one that is not written, where its nearest owner stands."""
        for end in range(len(keys), -1, -1):
            found = self.places.get(tuple(keys[:end]))
            if found is not None:
                return found
        return Place("")

    def error(self, keys: Sequence[str | int], message: str, cure: str = "") -> RecipeError:
        """The error for a value, with its place."""
        place = self.place(keys)
        return RecipeError(
            message, file=place.file or None, line=place.line, key=dotted(keys) or None, cure=cure
        )

    def put(self, keys: Keys, value: Any, place: Place) -> None:
        """Write a value, making the maps on the way to it."""
        owner = self.root
        for number, key in enumerate(keys[:-1]):
            if isinstance(owner, dict) and owner.get(key) is None:
                owner[key] = {}
            owner = owner[key]
            if not isinstance(owner, dict | list):
                raise RecipeError(
                    "this is not a map",
                    file=place.file or None,
                    line=place.line,
                    key=dotted(keys[: number + 1]),
                    cure="set it as a whole",
                )
        owner[keys[-1]] = value
        self._forget(keys)
        self.places[keys] = place

    def merge(self, other: Document) -> None:
        """Let another document win: maps merge deeply, everything else is replaced whole."""
        self._merge((), self.root, other)

    def _merge(self, keys: Keys, mine: dict[Any, Any], other: Document) -> None:
        theirs = _at(other.root, keys)
        for key, value in theirs.items():
            here = (*keys, key)
            if isinstance(mine.get(key), dict) and isinstance(value, dict):
                self.places[here] = other.place(here)
                self._merge(here, mine[key], other)
            else:
                mine[key] = value
                self._forget(here)
                self.places.update(other._below(here))

    def _below(self, keys: Keys) -> dict[Keys, Place]:
        return {at: place for at, place in self.places.items() if at[: len(keys)] == keys}

    def _forget(self, keys: Keys) -> None:
        for at in self._below(keys):
            del self.places[at]


def dotted(keys: Sequence[str | int]) -> str:
    """`stages[2].split_shots.detector`, as people write a way to a value."""
    text = ""
    for key in keys:
        # Of a user's stage only the file's name is shown; the place says the rest.
        name = f"[{key}]" if isinstance(key, int) else f".{key.rsplit('/', 1)[-1]}"
        text += name if text else name.removeprefix(".")
    return text


def read_file(path: Path) -> Document:
    """The document in a file; RecipeError names the line of whatever is wrong with it."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RecipeError(
                f"larger than {MAX_BYTES // 1_000_000} MB", file=str(path), cure="is it a recipe?"
            )
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError("not UTF-8 text", file=str(path), cure="save it as UTF-8") from error
    except OSError as error:
        raise RecipeError(
            f"cannot be read: {error.strerror}", file=str(path), cure="check the path"
        ) from error
    return read_text(text, str(path))


def read_text(text: str, file: str) -> Document:
    """The document in a text; `file` is the name its errors bear."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if _depth(text) > MAX_DEPTH * 4:  # the parser takes seconds to find out by itself
        raise RecipeError("nested too deeply", file=file, cure="is it a recipe?")
    try:
        node = YAML(typ="rt", pure=True).compose(text)
    except MarkedYAMLError as error:
        # An unclosed bracket is noticed somewhere below; where it opens is what helps.
        opens = error.context is not None and "flow" in error.context
        mark = (error.context_mark if opens else None) or error.problem_mark
        raise RecipeError(
            f"not YAML: {error.problem or error.context}",
            file=file,
            line=mark.line + 1 if mark else None,
            cure="indent with spaces, close brackets and quotes, write `key: value`",
        ) from error
    except YAMLError as error:
        raise RecipeError(
            f"not YAML: {str(error).splitlines()[0]}", file=file, cure="is it a recipe?"
        ) from error
    except RecursionError as error:
        raise RecipeError("nested too deeply", file=file, cure="is it a recipe?") from error
    if node is None:
        raise RecipeError("the file is empty", file=file, cure="start with `recipe: 1`")
    document = Document(None)
    document.root = _Reader(file, document.places).value(node, ())
    return document


def plain(value: Any, file: str) -> Document:
    """A document of values that were never written in a file."""
    return Document(value, {(): Place(file)})


class _Reader:
    def __init__(self, file: str, places: dict[Keys, Place]) -> None:
        self.file = file
        self.places = places

    def value(self, node: Any, keys: Keys) -> Any:
        self.places.setdefault(keys, Place(self.file, node.start_mark.line + 1))
        # Aliases repeat nodes, so both an endless loop and an exploding tree end here.
        if len(keys) > MAX_DEPTH or len(self.places) > MAX_VALUES:
            # At the key of the file, since the node may stand anywhere.
            place = self.places.get(keys[:1], Place(self.file))
            raise RecipeError(
                "too many values",
                file=self.file,
                line=place.line,
                key=dotted(keys[:1]) or None,
                cure="nest less, write fewer aliases",
            )
        kind = str(node.tag).removeprefix(_CORE)
        if kind == "map":
            return dict(self._pairs(node, keys))
        if kind == "seq":
            return [self.value(item, (*keys, i)) for i, item in enumerate(node.value)]
        if kind in ("str", "timestamp"):
            return node.value
        if kind in ("bool", "int", "float", "null"):
            return self._scalar(kind, node, keys)
        raise self._error(node, keys, f"the tag {node.tag} is not allowed", "write a plain value")

    def _pairs(self, node: Any, keys: Keys) -> Iterator[tuple[str, Any]]:
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node.value, str):
                raise self._error(key_node, keys, "a key must be a word", "write `key: value`")
            key = key_node.value
            line = key_node.start_mark.line + 1
            here = (*keys, key)
            if key in seen:
                message = f"written twice, first in line {seen[key]}"
                raise self._error(key_node, here, message, "keep one of them")
            if str(key_node.tag) == f"{_CORE}merge":
                message = "merge keys are not supported"
                raise self._error(key_node, here, message, "use `extends`, or write the keys out")
            seen[key] = line
            # The key's own line: it is where people look, and a block value begins below it.
            self.places[here] = Place(self.file, line)
            yield key, self.value(value_node, here)

    def _scalar(self, kind: str, node: Any, keys: Keys) -> Any:
        text = node.value
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if text.lstrip("+-").lower() in (".inf", ".nan"):
            raise self._error(node, keys, f"{text} is no finite number", "leave the bound out")
        try:
            number = int(text.replace("_", ""), 0) if kind == "int" else float(text)
        except ValueError:  # such as 007
            cure = f'write "{text}" for a word'
            raise self._error(node, keys, f"{text} is not a plain number", cure) from None
        if not isfinite(number):
            raise self._error(node, keys, f"{text} is too large", "write a smaller number")
        return number

    def _error(self, node: Any, keys: Keys, message: str, cure: str) -> RecipeError:
        line = node.start_mark.line + 1
        return RecipeError(message, file=self.file, line=line, key=dotted(keys) or None, cure=cure)


def _depth(text: str) -> int:
    """How deep brackets nest at most, counting also those that stand in quotes."""
    depth = deepest = 0
    for character in text:
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _at(root: Any, keys: Keys) -> Any:
    for key in keys:
        root = root[key]
    return root
