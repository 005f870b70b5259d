"""What the README shows is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer

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
