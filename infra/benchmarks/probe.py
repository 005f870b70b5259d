"""Planted-event recall and span mIoU of the built-in recipes that run without weights.

    python infra/benchmarks/probe.py [--videos 6] [RECIPE ...]

Prints Markdown. A recipe with a model, or one that composes its own videos, is left out unless it
is named.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from clipmill.pipeline.recipe.recipe import Recipe, load_recipe
from clipmill.pipeline.recipe.recipe_file import builtin_recipes
from clipmill.pipeline.selfcheck.probe import draw, probe
from clipmill.schemas.errors import ClipmillError


def without_weights(recipe: Recipe) -> bool:
    return not recipe.compose and not any(
        entry.stage.teacher or "torch" in entry.stage.requires() for entry in recipe.stages
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("recipes", nargs="*", metavar="RECIPE")
    parser.add_argument("--videos", type=int, default=6)
    asked = parser.parse_args()
    names = asked.recipes or [n for n in builtin_recipes() if without_weights(load_recipe(n))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        events = sum(len(made.pieces) for made in draw(folder, asked.videos))
        print(f"{asked.videos} videos, {events} events\n")
        print("| recipe | recall at IoU 0.5 | mean IoU |\n|---|---|---|")
        for recipe in names:
            try:
                seen = probe(load_recipe(recipe), folder, folder / recipe.replace("/", "-"))
            except ClipmillError as error:
                print(f"| `{recipe}` | not run: {error.message} | - |")
                continue
            print(f"| `{recipe}` | {seen.recall:.2f} | {seen.mean_iou:.2f} |")


if __name__ == "__main__":
    main()
