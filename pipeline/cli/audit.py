"""Commands about an output's questions: can they be answered without its videos; all as rows."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Literal

import typer

from clipmill.pipeline.cli.messages import printable
from clipmill.pipeline.cli.options import AsJson, Output


def register(app: typer.Typer) -> None:
    app.command()(audit)
    app.command()(questions)


def audit(
    out: Output,
    embedding: Annotated[
        str | None,
        typer.Option("--embedding", help="Vectors of one frame: also guess from a single frame."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look for shortcuts in what is kept: guess every answer from other questions, or one frame.

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


def questions(
    out: Output,
    state: Annotated[
        Literal["all", "kept", "dropped"],
        typer.Option("--state", help="Only what decisions kept, or dropped, with reasons."),
    ] = "all",
    kind: Annotated[str, typer.Option("--kind", help="Only samples of this kind.")] = "",
) -> None:
    """Write the questions as JSON lines, for people to judge or mend; `import_annotations` reads
    them back.

    Example:

        clipmill questions out --state dropped > rejects.jsonl
    """
    from clipmill.pipeline.output.made_by import opened
    from clipmill.pipeline.output.questions import questions as rows

    for row in rows(opened(out), state, kind):
        typer.echo(json.dumps(row, ensure_ascii=False))
