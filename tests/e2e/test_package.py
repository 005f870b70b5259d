"""The wheel holds everything under one name, and a user's own folders shadow nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

CHECK = """
import sys, clipmill
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.stages.split.split_shots import SplitShots
recipe = load_recipe("core/footage")
assert issubclass(SplitShots, clipmill.Stage)
assert not {"stages", "pipeline", "schemas"} & set(sys.modules), "a bare folder was imported"
print(clipmill.__file__, len(recipe.stages))
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # From a copy: setuptools builds inside the source tree and would pick up what it left there.
    source = folder / "source"
    spared = shutil.ignore_patterns(
        ".*", "__pycache__", "build", "dist", "*.egg-info", "demo", "out"
    )
    shutil.copytree(ROOT, source, symlinks=True, ignore=spared)
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--wheel-dir", str(folder), str(source)),
        ],
        check=True,
        cwd=folder,
        stderr=subprocess.PIPE,
    )
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        names = wheel.namelist()
        assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"clipmill"}
        wheel.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_imports_beside_a_users_own_stages_folder(unpacked: Path, tmp_path: Path) -> None:
    for name in ("stages", "pipeline", "schemas", "recipes"):
        decoy = tmp_path / name
        decoy.mkdir()
        (decoy / "__init__.py").write_text("raise ImportError('the decoy was imported')\n")
    done = subprocess.run(
        [sys.executable, "-c", CHECK],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{unpacked}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(unpacked))


def test_prompts_recipes_and_shipped_sounds_are_in_the_wheel(unpacked: Path) -> None:
    package = unpacked / "clipmill"
    for folder, kinds in {
        "recipes": {".yaml", ".txt"},
        "stages/compose": {".json", ".opus"},
    }.items():
        there = {
            path.relative_to(package)
            for path in (package / folder).rglob("*")
            if path.suffix in kinds
        }
        wanted = {
            path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.suffix in kinds
        }
        assert wanted and wanted <= there
