"""The command line: exit codes, messages with a cure, and files that work as written."""

from __future__ import annotations

import io
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
from rich.console import Console
from ruamel.yaml import YAML
from typer.testing import CliRunner

from clipmill.pipeline.cli import app, progress
from clipmill.pipeline.cli.jobs import entrypoint
from clipmill.pipeline.cli.messages import exit_code, printable
from clipmill.pipeline.cli.progress import Counts, remaining
from clipmill.pipeline.engine.events import Event
from clipmill.pipeline.engine.parcel import Lap, Receipt
from clipmill.pipeline.recipe.recipe_file import builtin_recipes
from clipmill.pipeline.recipe.registry import operators
from clipmill.schemas.errors import (
    AccountingError,
    ClipmillError,
    Conflict,
    InputError,
    MissingExtra,
    RecipeError,
    Unreadable,
)
from clipmill.schemas.records import Failure
from clipmill.stages.models.tab import Bill

REPOSITORY = Path(__file__).parents[3]
BROKEN = REPOSITORY / "tests" / "broken_recipes"


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_help_answers_within_a_second_and_tells_the_exit_codes() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "clipmill.pipeline.cli", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time, because other work on the machine is not ours to measure.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0
    assert "Exit codes" in done.stdout


def test_help_loads_neither_ray_nor_torch() -> None:
    code = (
        "import sys; from clipmill.pipeline.cli import app; "
        "bad = {'ray', 'torch', 'cv2', 'av', 'pyarrow'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


COMMANDS = "run retry pack submit try check plan stages recipes schema stats explain verify"


@pytest.mark.parametrize("command", COMMANDS.split())
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"clipmill {command}" in out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RecipeError("x"), 2),
        (InputError("x"), 2),
        (MissingExtra("x"), 2),
        (Conflict("x"), 3),
        (AccountingError("x"), 3),
        (Unreadable("x"), 1),
        (ClipmillError("x"), 1),
    ],
)
def test_every_error_has_an_exit_code(error: ClipmillError, code: int) -> None:
    assert exit_code(error) == code


def test_a_broken_recipe_is_a_message_with_a_cure_and_no_traceback(tmp_path: Path) -> None:
    path = BROKEN / "misspelt_key.yaml"
    code, _, err = run("run", path, tmp_path, "--out", tmp_path / "out")
    assert code == 2
    assert f"{path}:7: stage: unknown key" in err
    assert "cure: did you mean 'stages'?" in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_check_goes_through_all_recipes_and_fails_if_one_is_broken(tmp_path: Path) -> None:
    good = tmp_path / "good.yaml"
    good.write_text(
        "recipe: 1\nname: good\nstages: [own.py]\npack: {layer: shots, text: [caption]}\n"
    )
    (tmp_path / "own.py").write_text(
        "from clipmill import Stage, StageSettings\n"
        "class Settings(StageSettings):\n    pass\n"
        "class Own(Stage[Settings]):\n    provides = {'segments:shots', 'texts:caption'}\n"
    )
    assert run("check", good) == (0, f"{good}: ok\n", "")
    bad = BROKEN / "no_format.yaml"
    code, out, err = run("check", bad, good)
    assert code == 2
    assert out == f"{bad}: 1 problems\n{good}: ok\n"
    assert "write `recipe: 1` on top" in err


@pytest.mark.parametrize(
    "command", ["retry", "pack", "explain", "stats", "report", "verify", "audit", "compare"]
)
def test_what_is_no_output_is_refused_and_nothing_is_left_behind(
    command: str, tmp_path: Path
) -> None:
    missing = tmp_path / "missing"
    for place in (tmp_path, missing):
        more = {"explain": ["key"], "compare": [place]}.get(command, [])
        code, _, err = run(command, place, *more)
        assert code == 2, err
        assert "cure: check the path" in err
    assert not missing.exists()


def test_a_misspelt_option_is_bad_usage() -> None:
    assert run("run", "core/footage", "videos", "--ot", "x")[0] == 2
    assert run("rnu")[0] == 2


def test_hostile_names_cannot_command_the_terminal() -> None:
    assert printable("a\x1b[31mb\u202ec\nd") == "a?[31mb?c\nd"


def test_stages_lists_every_operator_and_explains_each_setting() -> None:
    code, out, _ = run("stages")
    assert code == 0
    assert all(f"  {name} " in out for name in operators())
    _, out, _ = run("stages", "describe_clip")
    assert "fps: float = 8.0" in out
    assert "Frames measured per second" in out
    assert "scores:motion" in out
    code, _, err = run("stages", "describe_clp")
    assert (code, "did you mean 'describe_clip'?" in err) == (2, True)
    _, out, _ = run("stages", "ingest_video")
    assert "pattern: str" in out


def test_recipes_lists_the_built_in_ones_and_prints_one() -> None:
    _, out, _ = run("recipes")
    assert [line.split()[0] for line in out.splitlines()] == list(builtin_recipes())
    _, out, _ = run("recipes", "core/footage")
    assert out == builtin_recipes()["core/footage"].read_text()
    code, _, err = run("recipes", "core/fotage")
    assert (code, "did you mean 'core/footage'?" in err) == (2, True)


def test_the_schema_accepts_the_built_in_recipes_and_refuses_misspelt_ones() -> None:
    _, out, _ = run("schema")
    validator = jsonschema.Draft202012Validator(json.loads(out))
    validator.check_schema(validator.schema)
    yaml = YAML(typ="safe", pure=True)
    for path in builtin_recipes().values():
        validator.validate(yaml.load(path))
    for name in (
        "misspelt_key", "misspelt_operator", "misspelt_setting", "misspelt_engine_key",
        "misspelt_resource", "misspelt_bound", "word_that_is_no_choice", "number_in_quotes",
        "number_out_of_range", "no_format", "misspelt_setting_of_a_model",
    ):  # fmt: skip
        assert not validator.is_valid(yaml.load(BROKEN / f"{name}.yaml")), name


def test_a_new_stage_and_its_test_work_as_written(tmp_path: Path) -> None:
    code, out, err = run("new", "stage", "score_blur", "--folder", tmp_path)
    assert code == 0
    assert "score_blur.py:ScoreBlur" in err
    assert [Path(line).name for line in out.splitlines()] == ["score_blur.py", "test_score_blur.py"]
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_score_blur.py"],
        cwd=tmp_path,
        check=True,
        timeout=60,
    )
    ruff = Path(sys.executable).with_name("ruff")
    # How imports are grouped depends on the project around them.
    for check in (["check", "--ignore", "I"], ["format", "--check", "--line-length", "100"]):
        subprocess.run([ruff, *check, "--isolated", tmp_path], check=True, timeout=60)
    code, _, err = run("new", "stage", "score_blur", "--folder", tmp_path)
    assert (code, "the file is there already" in err) == (2, True)


@pytest.mark.parametrize("name", ["ScoreBlur", "2nd", "class", "describe_clip", "json", "a-b"])
def test_a_name_that_would_not_work_is_refused(tmp_path: Path, name: str) -> None:
    code, _, err = run("new", "stage", name, "--folder", tmp_path)
    assert code == 2
    assert "cure:" in err
    assert list(tmp_path.iterdir()) == []


OWN = """\
from clipmill import Part, Span, Stage, StageSettings

class Settings(StageSettings):
    parts: int = 2

class Halve(Stage[Settings]):
    provides = {"segments:halves", "scores:size"}

    async def process(self, part: Part) -> Part:
        spans = [Span.of_seconds(n, n + 1) for n in range(self.settings.parts)]
        part.video.add_segments("halves", spans)
        for segment in part.video.segments:
            segment.scores["size"] = 0.25
        return part
"""


def test_try_runs_one_stage_and_prints_what_it_added(tmp_path: Path) -> None:
    (tmp_path / "halve.py").write_text(OWN)
    (tmp_path / "a.mp4").touch()
    own = f"{tmp_path}/halve.py:Halve"
    code, out, err = run("try", own, tmp_path / "a.mp4", "--set", "parts=3")
    assert code == 0
    assert "halves-00002" in out and "halves-00003" not in out
    assert "size 0.25" in out
    code, out, _ = run("try", own, tmp_path / "a.mp4", "--json")
    added = json.loads(out)
    assert [(s["start_s"], s["end_s"]) for s in added["segments"]] == [(0.0, 1.0), (1.0, 2.0)]
    code, _, err = run("try", own, tmp_path / "a.mp4", "--set", "prats=3")
    assert (code, "did you mean 'parts'?" in err) == (2, True)


def test_try_names_the_stage_that_has_to_run_before(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "needy.py").write_text(
        "from clipmill import Stage, StageSettings\n"
        "class Settings(StageSettings):\n    pass\n"
        "class Needy(Stage[Settings]):\n    needs = {'labels:camera'}\n"
    )
    code, _, err = run("try", f"{tmp_path}/needy.py", tmp_path / "a.mp4")
    assert code == 2
    assert "add --chain to run describe_clip before it" in err


def test_a_submitted_run_survives_the_shell() -> None:
    import shlex

    line = entrypoint("r.yaml", "s3://b/a b", "s3://b/$HOME", ["about=it's; rm -rf /"])
    assert shlex.split(line) == [
        "clipmill", "run", "r.yaml", "s3://b/a b", "--out", "s3://b/$HOME",
        "--address", "auto", "--yes", "--set", "about=it's; rm -rf /",
    ]  # fmt: skip


def test_progress_adds_up_laps_and_failures() -> None:
    counts = Counts(["split_shots"])
    failure = Failure("failed", "unreadable", "probe_media", "no")
    laps = (Lap("split_shots", 10.0, 12.5, 4, "w1"), Lap("embed", 12.5, 13.0, 4, "w2"))
    counts.add(Event("annotate", done=1, total=2, laps=laps))
    counts.add(Event("annotate", receipt=Receipt("v", None, 1, 0, failure), laps=laps[:1]))
    split = counts.stages["split_shots"]
    assert (split.parts, split.segments, split.busy_s, split.workers) == (2, 8, 5.0, {"w1"})
    assert counts.stages["embed"].parts == 1
    assert counts.failed == {"unreadable": 1}
    assert counts.asked() == []


def test_progress_says_what_teachers_were_asked_and_how_long_it_will_take() -> None:
    counts = Counts(["caption"])
    counts.started -= 100.0
    first = Bill("qwen", 50, rejected=3, prompt_tokens=9000, completion_tokens=500, cost=0.25)
    for bill in (first, Bill("qwen", 150, retries=2, prompt_tokens=1000)):
        counts.add(Event("annotate", laps=(Lap("caption", 0, 1, 100, "w", (bill,)),)))
    (said,) = counts.asked()
    assert said == (
        "caption 200 requests, 3 rejected, 2 retries, 10000 + 500 tokens, cost 0.25, 2.0 segments/s"
    )
    assert remaining(600.0, 30, 120) == "about 30 min left"
    assert remaining(10.0, 1, 3) == "about 20 s left"
    assert remaining(10.0, 0, 3) == remaining(10.0, 3, 3) == ""


def test_parts_of_a_long_video_count_towards_what_is_left() -> None:
    counts = Counts(["caption"])
    for part in range(3):
        counts.add(Event("annotate", done=0, total=1, receipt=Receipt("film", part, 4, 64)))
    assert counts.begun == {"film": 0.75}
    counts.add(Event("annotate", done=1, total=1, receipt=Receipt("film", 3, 4, 64)))
    assert counts.begun == {}


def test_a_log_has_a_line_a_minute_while_a_long_video_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = io.StringIO()
    log = progress._Log(Console(file=file), Counts(["caption"]))
    clock = log.counts.started
    for minute in (0.0, 0.5, 1.1, 1.2, 2.3):
        monkeypatch.setattr(time, "monotonic", lambda now=clock + 60 * minute: now)
        log(Event("annotate", done=0, total=1, laps=(Lap("caption", 0, 1, 64, "w"),)))
    assert len(file.getvalue().splitlines()) == 3
