"""No operator without a test that imports it, and the page of operators names none that is gone."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

from clipmill.pipeline.recipe.registry import operators

ROOT = Path(__file__).resolve().parents[2]


def program() -> ModuleType:
    path = ROOT / "infra" / "benchmarks" / "operators.py"
    spec = importlib.util.spec_from_file_location("operators_program", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_operator_is_imported_by_a_test() -> None:
    tests = program().tests
    assert [name for name in operators() if not list(tests(name, "-", []))] == []


def test_the_page_of_operators_names_none_that_is_gone() -> None:
    page = (ROOT / "recipes" / "OPERATORS.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))
    composing = {"audit_shortcuts", "compose_clips", "noise", "transform_video"}
    assert len(named) > 50 and named - composing <= set(operators())
