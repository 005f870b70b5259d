"""The table of a family's page: operator, its tests, the recipes that use it. Read, never typed.

    python infra/benchmarks/operators.py diagnostic            # prints the table
    python infra/benchmarks/operators.py diagnostic --write    # puts it on the family's page
    python infra/benchmarks/operators.py all --write           # all operators, recipes/OPERATORS.md

A family's page names its operators, in the first column between its two marks; the rest is found. A
recipe uses an operator as a stage, in its `compose` part, or by the command its head tells to run.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from clipmill.pipeline.recipe.recipe import Recipe, load_recipe
from clipmill.pipeline.recipe.registry import operators

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- operators -->\n", "<!-- /operators -->"


def used(recipe: Recipe) -> Iterator[str]:
    """Names of the operators of a recipe."""
    yield from (entry.operator for entry in recipe.stages)
    yield from (decision.name() for decision in recipe.decide)
    for arrangement in recipe.compose.values():
        if arrangement.take == "noise":
            yield "noise"
        else:
            yield "transform_video" if arrangement.transform else "compose_clips"
    if "clipmill audit" in Path(recipe.path).read_text(encoding="utf-8"):
        yield "audit_shortcuts"


def table(family: str) -> str:
    """The table in Markdown."""
    page = (ROOT / "recipes" / family / "README.md").read_text(encoding="utf-8")
    named = page.partition(BEGIN)[2].partition(END)[0]
    uses: dict[str, list[str]] = {name: [] for name in re.findall(r"^\| `(\w+)`", named, re.M)}
    for path in sorted((ROOT / "recipes" / family).glob("*.yaml")):
        for name in dict.fromkeys(used(load_recipe(f"{family}/{path.stem}"))):
            if name in uses:
                uses[name].append(path.stem)
    lines = ["| operator | tests | recipes |", "|---|---|---|"]
    for name, recipes in uses.items():
        listed = ", ".join(tests(name, family, recipes))
        lines.append(f"| `{name}` | {listed} | {', '.join(recipes) or '-'} |")
    return "\n".join(lines) + "\n"


def everything() -> str:
    """The table of all operators over the recipes of all families, in Markdown."""
    uses: dict[str, list[str]] = {name: [] for name in sorted(operators())}
    for path in sorted((ROOT / "recipes").glob("*/*.yaml")):
        recipe = f"{path.parent.name}/{path.stem}"
        for name in dict.fromkeys(used(load_recipe(recipe))):
            uses.setdefault(name, []).append(recipe)
    lines = ["| operator | recipes | tests |", "|---|---|---|"]
    for name, recipes in sorted(uses.items()):
        direct = ", ".join(tests(name, "-", []))
        lines.append(f"| `{name}` | {', '.join(recipes) or '-'} | {direct or '-'} |")
    return "\n".join(lines) + "\n"


def tests(name: str, family: str, recipes: list[str]) -> Iterator[str]:
    """Test files that import an operator, or run a recipe of the family that has it."""
    runs = "|".join(rf'"{family}/{recipe}(@\w+)?"' for recipe in recipes or ["-"])
    group = r"from clipmill\.(stages|pipeline)\.\w+ import"  # not a function of the same name
    wanted = re.compile(rf"{group} [^\n]*\b{name}\b|\.{name} import|{runs}")
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if wanted.search(path.read_text(encoding="utf-8")):
            yield path.relative_to(ROOT / "tests").as_posix()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("family", help="a folder of recipes with a README.md, or all")
    parser.add_argument("--write", action="store_true", help="put the table on the page")
    asked = parser.parse_args()
    made = everything() if asked.family == "all" else table(asked.family)
    if not asked.write:
        print(made, end="")
        return
    file = "OPERATORS.md" if asked.family == "all" else f"{asked.family}/README.md"
    page = ROOT / "recipes" / file
    head, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    page.write_text(f"{head}{BEGIN}{made}{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
