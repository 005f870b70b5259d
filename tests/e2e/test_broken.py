"""All broken and odd files of the real media in one run: every one ends in the class it should."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from clipmill.pipeline.engine.account import read_inputs
from clipmill.pipeline.engine.run import run
from clipmill.pipeline.output.tables import read_videos
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.pipeline.store.store import Store

RECIPE = Path(__file__).with_name("probe.yaml")
FAILS = {"unreadable", "undecodable", "no_video"}

pytestmark = pytest.mark.timeout(600)


def test_every_broken_file_ends_in_its_class(real_media: Path, tmp_path: Path) -> None:
    expected = json.loads((real_media / "broken" / "EXPECTED.json").read_text())
    folder = tmp_path / "broken"
    folder.mkdir()
    for name in expected:
        (folder / name).symlink_to(real_media / "broken" / name)
    summary = run(load_recipe(RECIPE), str(folder), str(tmp_path / "out"), engine="inline")
    store = Store.open(tmp_path / "out")
    ended = {state.video: state for state in read_inputs(store)}
    assert set(ended) == set(expected) and sum(summary.inputs.values()) == len(expected)
    wrong = {}
    for name, truth in expected.items():
        state = ended[name]
        if truth["class"] in FAILS:
            got = state.kind if state.state == "failed" else "done"
        else:
            assert state.state == "dropped", (name, state)
            got = "partial" if state.damaged else "odd_but_usable"
        if got != truth["class"]:
            wrong[name] = (got, truth["class"], state.message)
    assert wrong == {}
    frames = {v.id: v.probe.decoded_frames for v in read_videos(store) if v.probe}
    assert frames == {
        name: truth["decoded_frames"]
        for name, truth in expected.items()
        if truth["class"] not in FAILS
    }

    strict = load_recipe(RECIPE, ["stages.probe_media.strict=true"])
    summary = run(strict, str(folder), str(tmp_path / "strict"), engine="inline")
    classes = Counter(truth["class"] for truth in expected.values())
    assert summary.failed == {kind: classes[kind] for kind in summary.failed}, (
        "under strict the damaged files fail, as `partial`"
    )
    assert summary.failed["partial"] == classes["partial"]
