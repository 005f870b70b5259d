"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A recipe file, or a built-in name: core/footage. NAME@VARIANT for a variant of it.",
    ),
]
Input = Annotated[
    str,
    typer.Argument(
        metavar="INPUT",
        help="A folder, a video, a glob, a .txt list or a manifest (Parquet, CSV, JSONL); "
        "local or s3://.",
    ),
]
Output = Annotated[str, typer.Argument(metavar="OUT", help="The output of an earlier run.")]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change one value: stages.split_shots.min_seconds=1."
    ),
]
EngineName = Annotated[
    Literal["ray", "inline"],
    typer.Option("--engine", help="ray, or a plain loop in this process for debugging."),
]
Address = Annotated[
    str | None,
    typer.Option("--address", help="Of a running Ray cluster; by default one starts here."),
]
TakeOver = Annotated[
    bool,
    typer.Option("--take-over", help="Take the output from another run that still holds it."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
