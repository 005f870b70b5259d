"""The command that measures a recipe against videos whose truth is known."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipmill.pipeline.cli.options import AsJson, EngineName, Sets

if TYPE_CHECKING:
    from clipmill.pipeline.selfcheck.check import Checked
    from clipmill.pipeline.selfcheck.figures import Figure


def register(app: typer.Typer) -> None:
    app.command()(selfcheck)


def selfcheck(
    folder: Annotated[
        Path, typer.Argument(help="Where videos, truth and output go.", show_default=True)
    ] = Path("selfcheck"),
    videos: Annotated[int, typer.Option("--videos", min=1, help="How many videos to draw.")] = 8,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="Draw other scenes than the held-out ones."),
    ] = None,
    recipe: Annotated[
        str, typer.Option("--recipe", metavar="RECIPE", help="The recipe to measure.")
    ] = "core/selfcheck",
    set: Sets = None,
    engine: EngineName = "ray",
    misses: Annotated[
        int, typer.Option("--misses", min=0, help="Most misses printed for each figure.")
    ] = 3,
    as_json: AsJson = False,
) -> None:
    """Measure a recipe on drawn videos of which everything is known: accuracy per stage.

    The run sees media only, under random names. Each figure stands beside its ceiling (what a
    perfect stage could reach behind those before it) and its bar. Fails where a bar is missed.

    Example:

        clipmill selfcheck --videos 4
    """
    from clipmill.pipeline.cli.progress import progress
    from clipmill.pipeline.recipe.recipe import load_recipe
    from clipmill.pipeline.selfcheck.check import SEED, footage
    from clipmill.pipeline.selfcheck.check import selfcheck as check

    loaded = load_recipe(recipe, set or [])
    settings = footage(videos, SEED if seed is None else seed)
    with progress(loaded) as on_event:
        checked = check(loaded, folder, settings, engine=engine, on_event=on_event)
    if as_json:
        figures = [asdict(figure) | {"met": figure.met} for figure in checked.figures]
        summary = asdict(checked.summary) | {"ok": checked.summary.ok}
        told = {name: [asdict(one) for one in getattr(checked, name)] for name in ("told", "timed")}
        shown = {"ok": checked.ok, "figures": figures, **told, "run": summary}
        typer.echo(json.dumps(shown))
    else:
        _print(checked, misses)
    if not checked.ok:
        raise typer.Exit(1)


def _print(checked: Checked, misses: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 140  # a log's lines may be long; a table wrapped at 80 cannot be read
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("stage")
    table.add_column("measured")
    for column in ("value", "ceiling", "bar", "of"):
        table.add_column(column, justify="right")
    table.add_column("")
    for figure in checked.figures:
        table.add_row(
            figure.stage,
            figure.name,
            _shown(figure, figure.value),
            _shown(figure, figure.ceiling if figure.value is not None else None),
            ("<= " if figure.lower else ">= ") + _shown(figure, figure.bar)
            if figure.bar is not None
            else "",
            str(figure.count) if figure.value is not None else "",
            Text(
                {True: "", None: figure.note, False: f"MISSED  {figure.note}"}[figure.met]
                or figure.note
            ),
        )
    console.print(table)
    for figure in checked.figures:
        for miss in figure.misses[:misses]:
            console.print(
                Text(f"{figure.stage}: {miss.video} at {miss.seconds:.2f} s: {miss.what}"),
                soft_wrap=True,
            )
        if len(figure.misses) > misses > 0:
            console.print(
                Text(f"{figure.stage}: {len(figure.misses) - misses} more ({figure.name})")
            )
    for one in checked.told:
        text = f"{one.video} at {one.seconds:.2f} s: {one.caption}\n    truth: {one.truth}"
        console.print(Text(text), soft_wrap=True)
    for own in checked.timed:
        seen = "never" if own.seen_s is None else f"{own.seen_s:.2f} s"
        text = (
            f"{own.video}: {own.caption}\n    spoken at {own.spoken_s:.2f} s, moved to "
            f"{own.moved_s:.2f} s, seen at {seen}; said: {own.truth}"
        )
        console.print(Text(text), soft_wrap=True)


def _shown(figure: Figure, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f} s" if figure.unit == "seconds" else f"{value:.1%}"
