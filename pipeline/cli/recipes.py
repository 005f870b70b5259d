"""Commands about recipes and operators: check, plan, stages, recipes, schema."""

from __future__ import annotations

import json
from itertools import islice
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer

from clipmill.pipeline.cli.options import AsJson, Input, RecipeName, Sets
from clipmill.schemas.errors import RecipeError

if TYPE_CHECKING:
    from pydantic import BaseModel

_LISTED = 10  # inputs a plan names


def register(app: typer.Typer) -> None:
    app.command()(check)
    app.command()(plan)
    app.command()(stages)
    app.command()(recipes)
    app.command()(schema)


def check(
    recipe: Annotated[
        list[str], typer.Argument(metavar="RECIPE...", help="Recipe files or built-in names.")
    ],
    set: Sets = None,
) -> None:
    """Say everything that keeps recipes from running, without starting anything.

    Example:

        clipmill check mine.yaml core/footage
    """
    from clipmill.pipeline.recipe.lint import lint
    from clipmill.pipeline.recipe.recipe import load_recipe

    bad = False
    for name in recipe:
        try:
            loaded = load_recipe(name, set or [])
        except RecipeError as error:
            problems = [error]
        else:
            problems = lint(loaded)
        for problem in problems:
            typer.echo(f"clipmill: {problem}", err=True)
        bad = bad or bool(problems)
        typer.echo(f"{name}: {f'{len(problems)} problems' if problems else 'ok'}")
    if bad:
        raise typer.Exit(2)


def plan(
    recipe: RecipeName,
    input: Input,
    set: Sets = None,
    as_json: AsJson = False,
) -> None:
    """Show what a run would do: inputs, actors, resources, commit points, every setting.

    Example:

        clipmill plan core/footage ~/videos
    """
    import sys

    from ruamel.yaml import YAML

    from clipmill.pipeline.engine.plan import plan as plan_recipe
    from clipmill.pipeline.recipe.lint import lint
    from clipmill.pipeline.recipe.recipe import load_recipe
    from clipmill.stages.source.ingest_video import ingest

    loaded = load_recipe(recipe, set or [])
    problems = lint(loaded)
    for problem in problems:
        typer.echo(f"clipmill: {problem}", err=True)
    if problems:
        raise typer.Exit(2)
    planned = plan_recipe(loaded)
    videos = list(ingest(input, loaded.input))
    if as_json:
        groups = [_group(group) for group in planned.groups]
        typer.echo(
            json.dumps(
                {
                    "recipe": loaded.resolved,
                    "inputs": len(videos),
                    "groups": groups,
                    "fingerprint": planned.fingerprint,
                },
                sort_keys=True,
            )
        )
        return
    typer.echo(f"inputs: {len(videos)}")
    for video in islice(videos, _LISTED):
        typer.echo(f"  {video.id}")
    if len(videos) > _LISTED:
        typer.echo(f"  and {len(videos) - _LISTED} more")
    typer.echo(f"actors (fingerprint {planned.fingerprint[:12]}):")
    for group in planned.groups:
        facts = _group(group)
        demand = ", ".join(f"{value:g} {key}" for key, value in facts["resources"].items() if value)
        commit = ", committed" if facts["committed"] else ""
        typer.echo(f"  {' + '.join(facts['stages']) or group.name}: {demand}{commit}")
    typer.echo("recipe, in full:")
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.dump(loaded.resolved, sys.stdout)


def _group(group: Any) -> dict[str, Any]:
    resources = group.resources
    return {
        "stages": [link.name for link in group.links],
        "resources": {
            "cpus": resources.cpus,
            "gpus": resources.gpus,
            "memory_gb": resources.memory_gb,
        },
        "actors": group.actors,
        "env": group.env,
        "committed": group.commit is not None,
    }


def stages(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="An operator, to explain in full.")
    ] = None,
) -> None:
    """List the operators, or explain one: what it reads, what it adds, its settings.

    Examples:

        clipmill stages

        clipmill stages split_shots
    """
    from clipmill.pipeline.recipe.registry import operators

    if name is not None:
        _explain(name)
        return
    group = ""
    for entry in sorted(operators().values(), key=lambda entry: (entry.group, entry.name)):
        if entry.group != group:
            group = entry.group
            typer.echo(group)
        typer.echo(f"  {entry.name:22} {entry.summary()}")


def _explain(name: str) -> None:
    import inspect

    from clipmill.pipeline.recipe.registry import load
    from clipmill.stages.source import ingest_video
    from clipmill.stages.stage import Stage

    if name == "ingest_video":
        typer.echo(f"{inspect.getdoc(ingest_video)}\n")
        _settings(ingest_video.Settings)
        return
    kind = load(name)
    typer.echo(f"{inspect.getdoc(kind)}\n")
    if issubclass(kind, Stage):
        typer.echo(f"works on   a {kind.unit}")
        typer.echo(f"reads      {', '.join(sorted(kind.needs)) or 'nothing'}")
        typer.echo(f"adds       {', '.join(sorted(kind.provides)) or 'nothing'}")
        typer.echo(f"resources  {kind.resources.cpus:g} cpus, {kind.resources.gpus:g} gpus")
        for module, extra in sorted(kind.packages.items()):
            typer.echo(f"package    {module} (pip install 'clipmill[{extra}]')")
    else:
        typer.echo("a decision over the finished tables")
    _settings(kind.Settings)


def _settings(model: type[BaseModel], indent: str = "") -> None:
    from clipmill.pipeline.recipe.typed_settings import models_in

    if not indent:
        typer.echo("settings")
    for key, info in model.model_fields.items():
        default = info.get_default(call_default_factory=True)
        inner = list(models_in(info.annotation))
        kind = _type_name(info.annotation)
        required = info.is_required()
        shown = "" if inner else " (required)" if required else f" = {default!r}"
        typer.echo(f"{indent}  {key}: {kind}{shown}")
        for line in (info.description or "").splitlines():
            typer.echo(f"{indent}      {line}")
        for other in inner:
            _settings(other, indent + "    ")


def _type_name(annotation: Any) -> str:
    """A type as a recipe's author thinks of it: `mean | max`, `str | None`, `list of int`."""
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if origin is Literal:
        return " | ".join(str(argument) for argument in arguments)
    if origin in (Union, UnionType):
        return " | ".join(_type_name(argument) for argument in arguments)
    if origin in (list, tuple):
        return f"list of {_type_name(arguments[0])}"
    if origin is dict:
        return f"map to {_type_name(arguments[1])}"
    return "None" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))


def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A built-in recipe, to print.")
    ] = None,
) -> None:
    """List the built-in recipes and their variants, or print one as a start for your own.

    Example:

        clipmill recipes core/footage > mine.yaml
    """
    from clipmill.pipeline.recipe.recipe_file import builtin_recipes, read_recipe
    from clipmill.pipeline.recipe.registry import nearest

    builtin = builtin_recipes()
    if name is None:
        width = max(map(len, builtin))
        for known in builtin:
            root = read_recipe(known)[1].root
            variants = "".join(f" @{variant}" for variant in root.get("variants") or ())
            typer.echo(
                f"{known:{width}} {root.get('about', '')}{variants and f' [{variants.strip()}]'}"
            )
    elif name in builtin:
        typer.echo(builtin[name].read_text(encoding="utf-8"), nl=False)
    else:
        raise RecipeError(
            f"there is no built-in recipe {name!r}",
            cure=nearest(name, builtin, "`clipmill recipes` lists them"),
        )


def schema() -> None:
    """Print the JSON Schema of recipes, for completion and checks in an editor.

    Example:

        clipmill schema > recipe.schema.json
    """
    from clipmill.pipeline.recipe.recipe_schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=1))
