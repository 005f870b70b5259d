"""Finds operators by name: a file of `stages/<group>/` that defines a Stage or a Decision is one.

The name is the file's name, so there is no list to keep. Files are read, not imported, to know
which they are: listing seventy operators must not load torch, and a broken operator must not break
the recipes that do without it. The price is that an operator has to name its base class in the
class statement, as every one does.

A user's operator is `module:Class` or `path/to/file.py:Class`. Workers of a cluster cannot import
such a module, so it travels by value, with what it imports from its own folder.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import clipmill.stages
from clipmill.schemas.errors import ClipmillError, RecipeError
from clipmill.stages.decision import Decision
from clipmill.stages.stage import Stage

Operator = type[Stage[Any]] | type[Decision[Any]]

_NOT_OPERATORS = {"media", "models"}
_BASE = re.compile(r"^class \w+\([^)]*\b\w*(Stage|Decision)(\[|\)|,)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Entry:
    """An installed operator, known from its file alone."""

    name: str
    group: str
    module: str
    path: Path

    def summary(self) -> str:
        """First line of the operator's docstring, without importing it."""
        tree = ast.parse(self.path.read_text(encoding="utf-8"))
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        operators = [node for node in classes if any(_is_base(base) for base in node.bases)]
        doc = ast.get_docstring(operators[0]) if operators else None
        return (doc or ast.get_docstring(tree) or "").split("\n", 1)[0]


@cache
def operators() -> dict[str, Entry]:
    """Every installed operator by name, sorted."""
    root = Path(str(clipmill.stages.__file__)).parent
    found: dict[str, Entry] = {}
    for path in sorted(root.glob("*/*.py"), key=lambda path: path.stem):
        group = path.parent.name
        if path.stem.startswith("_") or group in _NOT_OPERATORS:
            continue
        if _BASE.search(path.read_text(encoding="utf-8")):
            module = f"clipmill.stages.{group}.{path.stem}"
            found[path.stem] = Entry(path.stem, group, module, path)
    return found


def load(spec: str) -> Operator:
    """The operator class for a name, `module:Class` or `path/to/file.py[:Class]`.

    Raises RecipeError, with the nearest valid name as its cure.
    """
    place, _, class_name = spec.partition(".py:") if ".py:" in spec else spec.rpartition(":")
    if ".py:" in spec or spec.endswith(".py"):
        path = Path(spec if spec.endswith(".py") else f"{place}.py")
        return _pick(_import_file(path), class_name if ".py:" in spec else "", spec)
    if place:
        return _pick(_import_module(place, spec), class_name, spec)
    entry = operators().get(spec)
    if entry is None:
        raise RecipeError(
            f"there is no operator {spec!r}",
            cure=nearest(spec, operators(), "`clipmill stages` lists them"),
        )
    try:
        module = importlib.import_module(entry.module)
    except ImportError as error:
        raise RecipeError(
            f"operator {spec!r} cannot be imported: {error}",
            cure="install the extra that brings it, e.g. pip install 'clipmill[models]'",
        ) from error
    return _pick(module, "", spec)


def load_stage(spec: str) -> type[Stage[Any]]:
    """As `load`, refusing decisions."""
    found = load(spec)
    if not issubclass(found, Stage):
        raise RecipeError(
            f"{spec!r} is a decision, not a stage", cure="move it from `stages` to `decide`"
        )
    return found


def load_decision(spec: str) -> type[Decision[Any]]:
    """As `load`, refusing stages."""
    found = load(spec)
    if not issubclass(found, Decision):
        raise RecipeError(
            f"{spec!r} is a stage, not a decision", cure="move it from `decide` to `stages`"
        )
    return found


def providers(token: str, *, by_settings: bool = True) -> list[str]:
    """Names of the installed stages that provide a token, e.g. `scores:motion`.

    Those that do with their defaults, else those that can `by_settings`. Imports every operator, so
    it serves error messages only; one whose packages are not installed cannot be asked and is left
    out.
    """
    exact, possible = [], []
    for name in operators():
        try:
            found = load(name)
        except ClipmillError:
            continue
        if not issubclass(found, Stage):
            continue
        defaults = {key: info.default for key, info in found.Settings.model_fields.items()}
        if any(made.format_map(defaults) == token for made in found.provides):
            exact.append(name)
        elif any(_covers(made, token) for made in found.provides):
            possible.append(name)
    return exact or (possible if by_settings else [])


def nearest(word: str, valid: Iterable[str], otherwise: str = "") -> str:
    """The cure for a misspelt name: the nearest valid one, else all of them if they are few."""
    names = sorted(valid)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    if otherwise or not names:
        return otherwise
    return f"valid here: {', '.join(names)}"


def _covers(made: str, token: str) -> bool:
    parts = re.split(r"\{[^}]*\}", made)
    return re.fullmatch(r"[^:]+".join(map(re.escape, parts)), token) is not None


def _is_base(base: ast.expr) -> bool:
    return ast.unparse(base).split("[")[0].endswith(("Stage", "Decision"))


def _pick(module: ModuleType, class_name: str, spec: str) -> Operator:
    here = {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, Stage | Decision)
        and value.__module__ == module.__name__
    }
    if not class_name and len(here) == 1:
        return next(iter(here.values()))
    if class_name in here:
        return here[class_name]
    if class_name:
        raise RecipeError(
            f"{spec!r}: no Stage or Decision of that name is defined there",
            cure=nearest(class_name, here, "define `class MyStage(Stage[Settings])` in it"),
        )
    raise RecipeError(
        f"{spec!r} defines {len(here)} operators, expected one",
        cure=f"name one: {', '.join(f'{spec}:{name}' for name in sorted(here))}"
        if here
        else "define one `class MyStage(Stage[Settings])` in it",
    )


def _import_file(path: Path) -> ModuleType:
    path = path.absolute()
    if not path.is_file():
        siblings = [file.name for file in path.parent.glob("*.py")]
        raise RecipeError(
            f"there is no file {str(path)!r}",
            cure=nearest(path.name, siblings, "paths count from the recipe's own folder"),
        )
    # Unique, so that neither two files of one name nor an installed package can be mixed up; the
    # last component stays the file's name, because that is the operator's name.
    digest = hashlib.blake2b(str(path).encode(), digest_size=4).hexdigest()
    name = f"clipmill_user_{digest}.{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    module_spec = importlib.util.spec_from_file_location(name, path)
    if module_spec is None or module_spec.loader is None:
        raise RecipeError(f"{str(path)!r} is not a Python file", cure="give a .py file")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module
    complete = False
    try:
        with _imports_from(path.parent) as beside:
            module_spec.loader.exec_module(module)
        complete = True
    except (ImportError, SyntaxError) as error:
        raise RecipeError(
            f"{str(path)!r} cannot be imported: {error}", cure="mend that file"
        ) from error
    finally:
        if not complete:
            del sys.modules[name]
    _travel_by_value([module, *beside])
    return module


def _import_module(name: str, spec: str) -> ModuleType:
    try:
        with _imports_from(Path.cwd()) as beside:
            module = importlib.import_module(name)
    except ImportError as error:
        raise RecipeError(
            f"{spec!r} cannot be imported: {error}",
            cure="start in the folder that holds the module, or write path/to/file.py:Class",
        ) from error
    if not _on_every_worker(module):
        _travel_by_value([module, *beside])
    return module


@contextmanager
def _imports_from(folder: Path) -> Iterator[list[ModuleType]]:
    """Let a user's module import its neighbours, and list those it did when the block ends.

    The folder comes last on the path: a neighbour may help a stage, never shadow a library.
    """
    before = set(sys.modules)
    beside: list[ModuleType] = []
    path = sys.path
    sys.path = [*path, str(folder)]
    try:
        yield beside
    finally:
        sys.path = path
    new = [module for key, module in list(sys.modules.items()) if key not in before]
    beside.extend(m for m in new if _lies_in(m, folder) and not _on_every_worker(m))


def _lies_in(module: ModuleType, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return bool(file) and Path(str(file)).absolute().is_relative_to(folder)


def _on_every_worker(module: ModuleType) -> bool:
    """Whether it is Clipmill's own or installed, so that workers import it themselves."""
    if module.__name__.split(".")[0] == "clipmill":
        return True
    paths = sysconfig.get_paths()
    return any(_lies_in(module, Path(paths[key])) for key in ("purelib", "platlib", "stdlib"))


def _travel_by_value(modules: list[ModuleType]) -> None:
    from ray import cloudpickle

    for module in modules:
        cloudpickle.register_pickle_by_value(module)
