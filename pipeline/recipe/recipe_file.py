"""The text of a recipe: finding it, stacking what it extends, applying changes, naming entries.

What comes out is one document of plain values that knows the place of each. Nothing is typed yet;
that is `pipeline.recipe.recipe`. A list is never merged with a list: which of two chains wins where
is a question no rule answers well, while `set` changes one value of one entry by its name.
A variant is such changes under a name, `speech/howtocaption@embedded`: what it leaves alone is the
recipe's, so that the two cannot drift apart as two files would.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import clipmill.recipes
from clipmill.pipeline.recipe.registry import load, nearest
from clipmill.pipeline.recipe.typed_settings import find
from clipmill.pipeline.recipe.yaml_places import Document, Keys, Place, read_file, read_text
from clipmill.schemas.errors import ClipmillError, RecipeError

FORMAT = 1
KEYS = (
    "recipe",
    "name",
    "about",
    "extends",
    "set",
    "variants",
    "input",
    "compose",
    "stages",
    "profiles",
    "decide",
    "pack",
    "engine",
)
ENGINE_KEYS = ("name", "when", "resources", "actors", "commit", "env")

_MAX_EXTENDS = 8
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

V = TypeVar("V")


def builtin_recipes() -> dict[str, Path]:
    """Every recipe that comes with Clipmill, by name: `core/footage`."""
    root = Path(clipmill.recipes.__path__[0])
    paths = sorted(root.rglob("*.yaml"))
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in paths}


def read_recipe(recipe: str | Path, sets: Sequence[str] = ()) -> tuple[Path, Document]:
    """The file of a recipe and its whole document: what it extends below, `sets` on top."""
    name, variant = split_variant(str(recipe))
    path = _found(name, Path.cwd())
    document = _read(path, variant, ())
    apply_sets(document, sets)
    return path, document


def split_variant(recipe: str) -> tuple[str, str]:
    """The recipe's own name and its variant, empty where none is named: `core/mine@small`."""
    name, at, variant = recipe.rpartition("@")
    return (name, variant) if at and NAME.fullmatch(variant) else (recipe, "")


def apply_sets(document: Document, sets: Sequence[str]) -> None:
    """Apply changes as the command line writes them: `key.of.value=VALUE`, VALUE being YAML."""
    for change in sets:
        key, equals, text = change.partition("=")
        if not equals:
            raise RecipeError(
                f"{change!r} changes nothing", file="--set", cure="write --set key.of.value=VALUE"
            )
        value = read_text(text, f"--set {key}").root if text.strip() else None
        _set(document, key.strip(), value, Place(f"--set {change}"))


def _found(name: str, folder: Path) -> Path:
    builtin = builtin_recipes()
    path = folder / name
    if path.is_file():
        return path
    if name in builtin:
        return builtin[name]
    looks_like_path = name.endswith((".yaml", ".yml"))
    near = [file.name for file in path.parent.glob("*.y*ml")] if looks_like_path else builtin
    raise RecipeError(
        f"there is no recipe {name!r}",
        cure=nearest(path.name if looks_like_path else name, near, "`clipmill recipes` lists them"),
    )


def _read(path: Path, variant: str, trail: tuple[Path, ...]) -> Document:
    """The document of a file on top of those it extends, with the changes of a variant applied."""
    path = path.absolute()
    document = read_file(path)
    root = document.root
    if not isinstance(root, dict):
        raise document.error((), "a recipe is a map of keys", "start with `recipe: 1`")
    for key in root:
        if key not in KEYS:
            raise document.error((key,), "unknown key", nearest(key, KEYS))
    if root.get("recipe") != FORMAT:
        message = "the format version is missing" if "recipe" not in root else "unknown format"
        raise document.error(("recipe",), message, f"write `recipe: {FORMAT}` on top")
    _anchor_files(document, path.parent)
    changes = expect(document, ("set",), dict, "a map of `key.of.value: value`") or {}
    change_places = {key: document.place(("set", key)) for key in changes}
    base_name = expect(document, ("extends",), str, "a path or a built-in name")
    if base_name is not None:
        with placed(document, ("extends",)):
            base_name, base_variant = split_variant(base_name)
            base_path = _found(base_name, path.parent).absolute()
            if base_path in (*trail, path):
                raise RecipeError(f"{base_name!r} extends itself", cure="remove one `extends`")
            if len(trail) >= _MAX_EXTENDS:
                raise RecipeError("too many recipes extend each other", cure="flatten the chain")
        base = _read(base_path, base_variant, (*trail, path))
        for name in _variants(document):
            base.root.get("variants", {}).pop(name, None)  # they speak of stages that may be gone
        base.merge(document)
        document = base
    for key in ("set", "extends"):
        document.root.pop(key, None)
    for key, value in changes.items():
        _set(document, key, value, change_places[key])
    variants = _variants(document)
    if variant and variant not in variants:
        raise document.error(
            ("variants",) if variants else (),
            f"there is no variant {variant!r}",
            f"write one of: {', '.join(variants)}" if variants else "it has none: leave out the @",
        )
    for key, value in variants.get(variant, {}).items():
        _set(document, key, value, document.place(("variants", variant, key)))
    return document


def _variants(document: Document) -> dict[str, dict[str, Any]]:
    """The changes that each variant makes, by its name."""
    variants = expect(document, ("variants",), dict, "a map of variants by name") or {}
    what = "a map of `key.of.value: value`"
    return {name: expect(document, ("variants", name), dict, what) or {} for name in variants}


def _anchor_files(document: Document, folder: Path) -> None:
    """Make paths of users' stages absolute: they count from the file they are written in."""
    for block in ("stages", "decide"):
        entries = document.root.get(block)
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, str):
                entries[index] = _anchored(entry, folder)
            elif isinstance(entry, dict):
                entries[index] = {_anchored(key, folder): value for key, value in entry.items()}
                for at in [at for at in document.places if at[:2] == (block, index)][1:]:
                    moved = (block, index, _anchored(str(at[2]), folder), *at[3:])
                    document.places[moved] = document.places[at]


def _anchored(operator: str, folder: Path) -> str:
    if ".py:" not in operator and not operator.endswith(".py"):
        return operator
    path, _, class_name = operator.partition(".py")
    return f"{(folder / f'{path}.py').as_posix()}{class_name}"


def _set(document: Document, dotted_key: str, value: Any, place: Place) -> None:
    """Change one value; `stages.NAME.key` and `decide.NAME.key` find the entry by its name."""
    parts = dotted_key.split(".")

    def refuse(message: str, cure: str) -> RecipeError:
        return RecipeError(
            message, file=place.file or None, line=place.line, key=dotted_key, cure=cure
        )

    allowed = [key for key in KEYS if key not in ("recipe", "extends", "set", "variants")]
    if parts[0] not in allowed:
        raise refuse(f"there is no {parts[0]!r} in a recipe", nearest(parts[0], allowed))
    if parts[0] not in ("stages", "decide"):
        document.put(tuple(parts), value, place)
        return
    block = parts[0]
    names = entry_names(document, block)
    if len(parts) < 3 or parts[1] not in names:
        cure = f"write {block}.NAME.key with NAME one of: {', '.join(names)}"
        if len(parts) >= 3:
            raise refuse(f"there is no entry {parts[1]!r} in {block}", nearest(parts[1], names))
        raise refuse(f"{block} is set entry by entry", cure)
    index = list(names).index(parts[1])
    operator = names[parts[1]]
    entry = document.root[block][index]
    if isinstance(entry, str):
        document.put((block, index), {entry: {}}, document.place((block, index)))
    with placed(document, (block, index)):
        fields = load(operator).Settings.model_fields
    engine_keys = ENGINE_KEYS if block == "stages" else ()
    if parts[2] in fields:
        document.put((block, index, operator, *parts[2:]), value, place)
    elif parts[2] in engine_keys:
        document.put((block, index, *parts[2:]), value, place)
    else:
        cure = nearest(parts[2], [*fields, *engine_keys], f"`clipmill stages {operator}` lists all")
        raise refuse(f"{operator} has no setting {parts[2]!r}", cure)


def entry_names(document: Document, block: str) -> dict[str, str]:
    """Entry name -> operator of a block, in order."""
    names: dict[str, str] = {}
    entries = expect(document, (block,), list, "a list of entries that begin with `- `") or []
    for index, entry in enumerate(entries):
        operator = _operator(document, (block, index), entry, block)
        wanted = entry.get("name") if isinstance(entry, dict) else None
        name = wanted or _short_name(operator)
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise document.error(
                (block, index, "name"), f"{name!r} is no name", "use letters, digits, - and _"
            )
        if name in names and wanted:
            raise document.error(
                (block, index, "name"), f"{name!r} is taken by an earlier entry", "pick another"
            )
        plain_name, number = name, 2
        while name in names:
            name = f"{plain_name}-{number}"
            number += 1
        names[name] = operator
    return names


def _short_name(operator: str) -> str:
    if ".py" in operator:
        return Path(operator.partition(".py")[0]).name
    return operator.partition(":")[0].rsplit(".", 1)[-1]


def _operator(document: Document, keys: Keys, entry: Any, block: str) -> str:
    """The operator an entry names: itself, or its one key that is not the engine's."""
    if isinstance(entry, str):
        return entry
    if not isinstance(entry, dict):
        raise document.error(keys, "an entry is an operator or a map", "write `- operator: {...}`")
    engine_keys = ENGINE_KEYS if block == "stages" else ()
    named = [key for key in entry if key not in engine_keys]
    if len(named) == 1:
        return str(named[0])
    if not named:
        raise document.error(keys, "no operator is named", "write `- operator: {...}`")
    operator, other = named[0], named[1]
    with placed(document, (*keys, operator)):
        fields = load(operator).Settings.model_fields
    if other in fields:
        cure = f"indent it below `{operator}:`, it is one of its settings"
    else:
        cure = nearest(other, engine_keys, "begin a new entry with `- `")
    raise document.error((*keys, other), f"stands beside {operator!r}", cure)


def expect(document: Document, keys: Keys, kind: type[V], what: str) -> V | None:
    """The value at `keys` if it is of a type; None where nothing is written."""
    value = find(document.root, keys)
    if value is None or isinstance(value, kind):
        return value
    raise document.error(keys, f"expected {what}, got {value!r}", f"write `{keys[-1]}:` as {what}")


@contextmanager
def placed(document: Document, keys: Keys) -> Iterator[None]:
    """Give errors that know no place the place of a value."""
    try:
        yield
    except ClipmillError as error:
        if isinstance(error, RecipeError) and error.file is not None:
            raise
        raise document.error(keys, error.message, error.cure) from error
