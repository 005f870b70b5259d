"""A recipe run from files to shards on the inline engine, and read back."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

from clipmill.pipeline.engine.run import run
from clipmill.pipeline.output.verify import verify
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.pipeline.store.store import Store


def here(recipe: str) -> list[str]:
    """Settings that name the backend installed for tests; what answers is replaced at the edge."""
    return [
        f"stages.{entry.name}.teacher.backend=transformers"
        for entry in load_recipe(recipe).stages
        if "teacher" in type(entry.stage.settings).model_fields
    ]


def packed(recipe: str, source: Path, out: Path, *sets: str) -> list[dict[str, Any]]:
    """Run a recipe; every clip's facts with its text as `said` and the sizes of its media."""
    summary = run(
        load_recipe(recipe, [*here(recipe), *sets]), str(source), str(out), engine="inline"
    )
    assert set(summary.inputs) == {"packed"}, summary
    assert verify(Store.open(str(out))).ok
    return list(packed_clips(out).values())


def packed_clips(out: Path) -> dict[str, dict[str, Any]]:
    """Facts of every clip in the shards, by key."""
    members: dict[str, dict[str, Any]] = {}
    for shard in sorted((out / "shards").glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar.getmembers():
                key, _, form = member.name.partition(".")
                file = tar.extractfile(member)
                assert file is not None
                data = file.read()
                if form == "json":
                    members.setdefault(key, {}).update(json.loads(data))
                elif form == "txt":
                    members.setdefault(key, {})["said"] = data.decode()
                else:
                    members.setdefault(key, {})[form] = len(data)
    return members


def texts(clip: dict[str, Any], role: str) -> list[str]:
    return [text["text"] for text in clip["texts"] if text["role"] == role]
