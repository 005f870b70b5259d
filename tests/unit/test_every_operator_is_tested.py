"""No operator without a test that imports it, and no page of operators behind its recipes."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from clipmill.pipeline.recipe.registry import operators

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = sorted(page.parent.name for page in (ROOT / "recipes").glob("*/README.md"))


def program() -> ModuleType:
    path = ROOT / "infra" / "benchmarks" / "operators.py"
    spec = importlib.util.spec_from_file_location("operators_program", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(text: str) -> list[list[str]]:
    """The cells of a table's rows: operator, tests, recipes."""
    return [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith("| `")
    ]


def test_every_operator_is_imported_by_a_test() -> None:
    tests = program().tests
    assert [name for name in operators() if not list(tests(name, "-", []))] == []


def test_the_page_of_operators_names_none_that_is_gone() -> None:
    page = (ROOT / "recipes" / "OPERATORS.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))
    composing = {"audit_shortcuts", "compose_clips", "noise", "transform_video"}
    assert len(named) > 50 and named - composing <= set(operators())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_page_of_a_family_says_which_recipe_uses_which_operator(family: str) -> None:
    """Its column of tests, which grows with every test, may be behind, but not empty."""
    page = (ROOT / "recipes" / family / "README.md").read_text(encoding="utf-8")
    written = rows(page.partition("<!-- operators -->")[2].partition("<!-- /operators -->")[0])
    made = rows(program().table(family))
    assert written and [(name, uses) for name, _, uses in written] == [
        (name, uses) for name, _, uses in made
    ]
    assert all(tests for _, tests, _ in made), "an operator without a test"
