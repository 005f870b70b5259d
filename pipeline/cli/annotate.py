"""Commands that work on videos: run, retry, pack, submit, try."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from clipmill.pipeline.cli.options import (
    Address,
    AsJson,
    EngineName,
    Input,
    Output,
    RecipeName,
    Sets,
    TakeOver,
)

if TYPE_CHECKING:
    from clipmill.pipeline.recipe.recipe import Recipe
    from clipmill.schemas.errors import RecipeError


def register(app: typer.Typer) -> None:
    app.command()(run)
    app.command()(retry)
    app.command()(pack)
    app.command()(submit)
    app.command("try")(try_stage)


def run(
    recipe: RecipeName,
    input: Input,
    out: Annotated[str, typer.Option("--out", "-o", help="Folder or s3:// prefix to write to.")],
    set: Sets = None,
    engine: EngineName = "ray",
    address: Address = None,
    reuse: Annotated[
        str | None,
        typer.Option("--from", metavar="OLD", help="Take unchanged work from an older output."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail damaged inputs instead of using what decodes.")
    ] = False,
    take_over: TakeOver = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only the first so many inputs.")
    ] = None,
    as_json: AsJson = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
) -> None:
    """Curate INPUT by RECIPE: annotate, decide and pack shards into OUT.

    Run the same command again after a crash, an interruption or new inputs: only what is missing
    is done.

    Examples:

        clipmill run core/footage ~/videos --out out

        clipmill run mine.yaml s3://bucket/manifest.parquet -o s3://bucket/out --address auto

        clipmill run mine.yaml videos -o out2 --from out --set stages.caption_clip.frames=16
    """
    from clipmill.pipeline.recipe.recipe import load_recipe

    sets = [*(set or []), *(["stages.probe_media.strict=true"] if strict else [])]
    loaded = load_recipe(recipe, sets)
    if take_over and not yes and sys.stdin.isatty():
        typer.confirm(f"Another run may still be writing to {out}. Take it over?", abort=True)
    _work(
        loaded,
        input,
        out,
        engine=engine,
        address=address,
        reuse=reuse,
        take_over=take_over,
        limit=limit,
        as_json=as_json,
    )


def retry(
    out: Output,
    engine: EngineName = "ray",
    address: Address = None,
    take_over: TakeOver = False,
    as_json: AsJson = False,
) -> None:
    """Try the failed and quarantined inputs of OUT again, with the recipe it was made by.

    Example:

        clipmill retry out
    """
    loaded, source, limit = _remembered(out, [])
    _work(
        loaded,
        source,
        out,
        limit=limit,
        engine=engine,
        address=address,
        take_over=take_over,
        retry=True,
        as_json=as_json,
    )


def pack(
    out: Output,
    set: Sets = None,
    repack: Annotated[
        bool, typer.Option("--repack", help="Replace shards that other decisions have packed.")
    ] = False,
    engine: EngineName = "ray",
    address: Address = None,
    take_over: TakeOver = False,
    as_json: AsJson = False,
) -> None:
    """Decide and pack OUT again, e.g. with other thresholds. Calls no model.

    Example:

        clipmill pack out --set profiles.usable.motion.min=0.01 --repack
    """
    loaded, source, limit = _remembered(out, set or [])
    _work(
        loaded,
        source,
        out,
        limit=limit,
        annotate=False,
        engine=engine,
        address=address,
        take_over=take_over,
        repack=repack,
        as_json=as_json,
    )


def submit(
    recipe: RecipeName,
    input: Input,
    out: Annotated[str, typer.Option("--out", "-o", help="Shared folder or s3:// prefix.")],
    address: Annotated[
        str, typer.Option("--address", help="Of the cluster's dashboard.")
    ] = "http://127.0.0.1:8265",
    set: Sets = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the job's log to its end.")] = False,
) -> None:
    """Start a run on a Ray cluster as a job, and return.

    The folder of the recipe travels with the job, so stages written beside it are found. INPUT and
    OUT must be reachable from the cluster.

    Example:

        clipmill submit mine.yaml s3://bucket/in -o s3://bucket/out --address http://head:8265
    """
    from clipmill.pipeline.cli.jobs import submit_run
    from clipmill.pipeline.recipe.lint import lint
    from clipmill.pipeline.recipe.recipe import load_recipe

    loaded = load_recipe(recipe, set or [])
    # Packages are the cluster's business: its image is not this machine.
    _refuse([p for p in lint(loaded) if "pip install" not in p.cure])
    raise typer.Exit(submit_run(loaded.path, recipe, input, out, set or [], address, wait))


def try_stage(
    stage: Annotated[
        str, typer.Argument(metavar="STAGE", help="An operator, or path/to/file.py:Class.")
    ],
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="A video file.")],
    set: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the stage."),
    ] = None,
    chain: Annotated[
        bool, typer.Option("--chain", help="Run the stages it needs before it, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run one stage on one video, without Ray, and print what it added.

    Examples:

        clipmill try probe_media film.mp4

        clipmill try my_stage.py:Blur film.mp4 --chain --set sigma=2
    """
    from clipmill.pipeline.cli.trial import trial

    trial(stage, video, set or [], chain=chain, as_json=as_json)


def _remembered(out: str, sets: list[str]) -> tuple[Recipe, str, int | None]:
    from clipmill.pipeline.output.made_by import KEY, made_by, opened
    from clipmill.pipeline.recipe.recipe import load_resolved
    from clipmill.schemas.errors import InputError

    made = made_by(opened(out))
    if made is None:
        raise InputError(
            "this is not the output of a run", input=out, cure="give the --out of an earlier run"
        )
    recipe = load_resolved(made["recipe"], f"{out}/{KEY}", sets)
    return recipe, made["source"], made["limit"]


def _work(
    recipe: Recipe,
    source: str,
    out: str,
    *,
    engine: str,
    address: str | None,
    take_over: bool,
    as_json: bool,
    reuse: str | None = None,
    limit: int | None = None,
    retry: bool = False,
    repack: bool = False,
    annotate: bool = True,
) -> None:
    from clipmill.pipeline.cli.progress import print_summary, progress
    from clipmill.pipeline.engine.run import run as run_recipe
    from clipmill.pipeline.recipe.lint import lint

    _refuse(lint(recipe))
    with progress(recipe) as on_event:
        summary = run_recipe(
            recipe,
            source,
            out,
            engine=engine,
            address=address,
            reuse=reuse,
            take_over=take_over,
            limit=limit,
            retry=retry,
            repack=repack,
            annotate=annotate,
            on_event=on_event,
        )
    if as_json:
        typer.echo(json.dumps({**asdict(summary), "ok": summary.ok}, sort_keys=True))
    else:
        print_summary(summary)
    if not summary.ok:
        raise typer.Exit(1)


def _refuse(problems: list[RecipeError]) -> None:
    for problem in problems[:-1]:
        typer.echo(f"clipmill: {problem}", err=True)
    if problems:
        raise problems[-1]
