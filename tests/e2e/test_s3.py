"""A whole run from bucket to bucket, on a server that enforces conditional puts."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from clipmill.pipeline.engine.run import run
from clipmill.pipeline.output.verify import verify
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.pipeline.store.store import Store
from tests.e2e.conftest import QUICK, shards
from tests.unit.pipeline.conftest import BUCKET, s3_endpoint, s3_environment

__all__ = ["s3_endpoint", "s3_environment"]  # fixtures


@pytest.mark.usefixtures("s3_environment")
def test_a_run_from_bucket_to_bucket_packs_what_a_local_run_packs(
    footage: Path, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPMILL_SCRATCH", str(tmp_path / "scratch"))
    source = Store.open(f"s3://{BUCKET}/{tmp_path.name}/in")
    for film in footage.glob("*.mp4"):
        source.put_file(film.name, film)
    out = f"s3://{BUCKET}/{tmp_path.name}/out"
    recipe = load_recipe(QUICK)
    summary = run(recipe, source.uri, out, engine="inline")
    store = Store.open(out)
    assert summary.ok and verify(store).ok
    packed = {
        item.key.removeprefix("shards/"): hashlib.sha256(store.get(item.key)).hexdigest()
        for item in store.list("shards/")
        if item.key.endswith(".tar")
    }
    assert packed == shards(curated / "out")
    before = {item.key: item.modified for item in store.list("units/")}
    again = run(recipe, source.uri, out, engine="inline")
    assert again.clips == summary.clips
    assert {item.key: item.modified for item in store.list("units/")} == before
