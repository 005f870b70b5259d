"""The command of the quick start."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from clipmill.pipeline.cli.options import AsJson


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    folder: Annotated[
        Path, typer.Argument(help="Where films, truth and output go.", show_default=True)
    ] = Path("demo"),
    as_json: AsJson = False,
) -> None:
    """Draw a few narrated films, curate them on a local Ray, and write a report page.

    Example:

        clipmill demo
    """
    from clipmill.pipeline.cli.progress import print_summary, progress
    from clipmill.pipeline.demo import demo as show
    from clipmill.pipeline.recipe.recipe import load_recipe

    with progress(load_recipe("core/footage")) as on_event:
        summary, report = show(folder, on_event)
    if as_json:
        typer.echo(json.dumps({**asdict(summary), "ok": summary.ok, "report": report}))
    else:
        print_summary(summary)
        typer.echo(f"shards: {summary.out}/shards\nreport: {report}")
    if not summary.ok:
        raise typer.Exit(1)
