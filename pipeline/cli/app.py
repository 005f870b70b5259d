"""The table of commands, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from clipmill.pipeline.cli import annotate, audit, author, demo, inspect, recipes, selfcheck
from clipmill.pipeline.cli.messages import EXIT_CODES, INTERRUPTED, exit_code, printable
from clipmill.schemas.errors import ClipmillError


class Commands(TyperGroup):
    """Turns Clipmill's own errors into a message with its cure. Anything else is a defect of
    Clipmill or of a user's stage, and keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ClipmillError as error:
            typer.echo(f"clipmill: {printable(str(error))}", err=True)
            ctx.exit(exit_code(error))
        except KeyboardInterrupt:
            typer.echo("\nclipmill: interrupted; the same command goes on from here", err=True)
            ctx.exit(INTERRUPTED)


app = typer.Typer(
    name="clipmill",
    cls=Commands,
    help="Mill raw video into video-text training shards.\n\n"
    "Begin with: clipmill run core/footage VIDEOS --out OUT",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from clipmill import __version__

        typer.echo(__version__)
        raise typer.Exit()


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", callback=_version, is_eager=True
    ),
) -> None:
    # A closed pipe (`clipmill stages | head`) should end the program quietly, and names of inputs
    # must never make printing fail.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


annotate.register(app)
demo.register(app)
selfcheck.register(app)
recipes.register(app)
inspect.register(app)
audit.register(app)
author.register(app)
