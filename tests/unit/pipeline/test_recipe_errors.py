"""Every broken recipe says where it is broken and what to do about it.

Each file of `tests/broken_recipes` opens with the line, key, message and cure that are expected.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from clipmill.pipeline.recipe.lint import lint
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.schemas.errors import RecipeError

FOLDER = Path(__file__).parents[2] / "broken_recipes"
BROKEN = sorted(FOLDER.glob("*.yaml"))


def problems(path: Path) -> list[RecipeError]:
    try:
        return lint(load_recipe(path))
    except RecipeError as error:
        return [error]


def expected(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines()[:4]
    return dict(line.removeprefix("# ").split(":", 1) for line in lines)


def test_there_are_at_least_twenty_ways_to_be_broken() -> None:
    assert len(BROKEN) >= 20


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_a_broken_recipe_names_file_line_key_and_cure(path: Path) -> None:
    want = {key: value.strip() for key, value in expected(path).items()}
    errors = [error for error in problems(path) if want["message"] in error.message]
    assert errors, [str(error) for error in problems(path)]
    error = errors[0]
    assert error.file == str(path)
    assert error.line == int(want["line"])
    assert (error.key or "") == want["key"]
    assert want["cure"] in error.cure
    shown = str(error)
    assert f"{path}:{error.line}" in shown
    assert want["key"] in shown
    assert f"cure: {error.cure}" in shown
