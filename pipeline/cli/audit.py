"""The command that asks whether an output's questions can be answered without its videos."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from clipmill.pipeline.cli.messages import printable
from clipmill.pipeline.cli.options import AsJson, Output


def register(app: typer.Typer) -> None:
    app.command()(audit)


def audit(
    out: Output,
    embedding: Annotated[
        str | None,
        typer.Option("--embedding", help="Vectors of one frame: also guess from a single frame."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look for shortcuts: guess every answer from the texts of other questions, or one frame.

    Exits with 1 where a guesser is right more often than chance allows. The questions it answers
    are listed in audit/shortcuts.parquet.

    Example:

        clipmill audit out --embedding frame
    """
    from clipmill.pipeline.output.audit_shortcuts import audit as judge
    from clipmill.pipeline.output.made_by import opened

    found = judge(opened(out), embedding)
    if as_json:
        findings = [asdict(f) | {"accuracy": f.accuracy} for f in found.findings]
        typer.echo(json.dumps({"ok": found.ok, "leaky": len(found.leaky), "findings": findings}))
    else:
        for f in found.findings:
            told = f"{f.right} of {f.asked} = {f.accuracy:.0%}, chance {f.chance:.0%}"
            mark = "  SHORTCUT" if f.leaks else ""
            typer.echo(f"{printable(f.task)}, {f.guesser}: {told}{mark}")
        typer.echo(f"{len(found.leaky)} questions leak" if found.leaky else "no shortcut found")
    if not found.ok:
        raise typer.Exit(1)
