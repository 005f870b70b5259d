"""What the README shows is what happens."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from clipmill.pipeline.cli.app import app

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_loader_in_the_readme_reads_every_packed_clip(curated: Path) -> None:
    pytest.importorskip("torch", reason="the loader is PyTorch's; install the extra [models]")
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    program = next(block for block in blocks if "WebDataset" in block)
    assert len([line for line in program.splitlines() if line.strip()]) <= 15
    shards = sorted((curated / "out/shards").glob("*.tar"))
    last = f"{len(shards) - 1:06d}"
    program = program.replace("{000000..000000}", f"{{000000..{last}}}")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=curated, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    keys = {line.split()[0] for line in done.stdout.splitlines()}
    index = [
        pq.read_table(path)["key"].to_pylist()
        for path in (curated / "out/shards").glob("clips-*.parquet")
    ]
    assert keys == {key for part in index for key in part}


def test_stats_draw_a_score_on_one_line(curated: Path) -> None:
    told = CliRunner().invoke(app, ["stats", str(curated / "out")]).stdout
    exact = json.loads(CliRunner().invoke(app, ["stats", str(curated / "out"), "--json"]).stdout)
    line = next(line for line in told.splitlines() if line.startswith("  brightness: 0"))
    found = re.fullmatch(r"  brightness: (\S+) \|(.{10})\| (\S+), mean (\S+), of (\d+)", line)
    assert found is not None, line
    low, bars, high, mean, count = found.groups()
    truth = exact["scores"]["brightness"]
    assert [float(n) for n in (low, high, mean)] == pytest.approx(
        [truth["low"], truth["high"], truth["mean"]], rel=1e-3
    )
    assert int(count) == truth["count"]
    assert [bar != " " for bar in bars] == [n > 0 for n in truth["counts"]]
    assert bars[truth["counts"].index(max(truth["counts"]))] == "█"


def test_every_command_in_the_readme_exists() -> None:
    named = set(re.findall(r"^clipmill ([a-z]+)", README.read_text(), re.M))
    known = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert named and named <= known, named - known


def test_every_page_that_is_linked_is_there() -> None:
    for page in README.parent.rglob("*.md"):
        if any(part.startswith(".") for part in page.relative_to(README.parent).parts):
            continue
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links {target}"
