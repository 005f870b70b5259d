"""`clipmill new stage NAME`: a stage of one's own that runs as written, and a test that passes."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from clipmill.schemas.errors import InputError

_STAGE = Template('''\
"""$title: say here what it does, and why this way."""

from __future__ import annotations

from clipmill import Part, Stage, StageSettings


class Settings(StageSettings):
    layer: str = "shots"
    """Layer whose segments are scored."""
    full: float = 10.0
    """Seconds from which a segment scores 1."""


class $class_name(Stage[Settings]):
    """Score how long a segment is: 0 for empty, 1 from `full` seconds on."""

    settings: Settings
    needs = frozenset({"segments:{layer}"})
    provides = frozenset({"scores:$name"})

    def process(self, part: Part) -> Part:
        for segment in part.video.layer(self.settings.layer):
            segment.scores["$name"] = min(segment.span.duration_s / self.settings.full, 1.0)
        return part
''')

_TEST = Template('''\
"""Tests of $name. Run them with: pytest test_$name.py"""

from $name import Settings, $class_name

from clipmill import Part, Segment, Span, Video


def scored(*seconds: float, **settings: float) -> list[float]:
    segments = [
        Segment(f"shots-{number:05d}", "shots", Span.of_seconds(0, length))
        for number, length in enumerate(seconds)
    ]
    part = Part(Video("a.mp4", "a.mp4", segments=segments))
    $class_name(Settings(**settings)).process(part)
    return [segment.scores["$name"] for segment in part.video.segments]


def test_a_longer_segment_scores_higher() -> None:
    assert scored(0, 5, 10) == [0.0, 0.5, 1.0]


def test_no_score_is_above_one() -> None:
    assert scored(60) == [1.0]


def test_full_says_where_one_is_reached() -> None:
    assert scored(5, full=5) == [1.0]
''')


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Write the beginning of something of your own.", no_args_is_help=True)
    group.command("stage")(new_stage)
    app.add_typer(group, name="new")


def new_stage(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A verb and a noun, as in score_blur.")
    ],
    folder: Annotated[
        Path, typer.Option("--folder", help="Where to write the two files.", file_okay=False)
    ] = Path(),
) -> None:
    """Write a stage and its test. Both work as written; change them from there.

    Example:

        clipmill new stage score_blur && pytest test_score_blur.py
    """
    from clipmill.pipeline.recipe.registry import operators

    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise InputError(
            f"{name!r} is no name for a stage", cure="use small letters and _, as in score_blur"
        )
    if name in operators() or name in sys.stdlib_module_names:
        raise InputError(f"the name {name!r} is taken", cure="choose another one")
    class_name = "".join(word.capitalize() for word in name.split("_"))
    title = name.replace("_", " ").capitalize()
    files = {folder / f"{name}.py": _STAGE, folder / f"test_{name}.py": _TEST}
    for path in files:
        if path.exists():
            raise InputError(
                "the file is there already", input=str(path), cure="choose another name or --folder"
            )
    folder.mkdir(parents=True, exist_ok=True)
    for path, template in files.items():
        text = template.substitute(name=name, class_name=class_name, title=title)
        path.write_text(text, encoding="utf-8")
        typer.echo(path)
    typer.echo(f"in a recipe: `- {name}.py:{class_name}`; next: pytest test_{name}.py", err=True)
