from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from clipmill.pipeline.output.compare import ScoreChange, compare
from clipmill.pipeline.output.decide import decide
from clipmill.pipeline.output.tables import compact
from clipmill.pipeline.store.store import Store
from clipmill.schemas.clocks import Span
from clipmill.schemas.errors import StoreError
from clipmill.schemas.records import Video
from clipmill.stages.filter.filter_scores import FilterScores
from clipmill.stages.filter.filter_scores import Settings as FilterSettings
from tests.unit.pipeline.fake_pack import AUTHOR, CLOCK, library


def made(folder: Path, name: str, videos: list[Video], blur: float, layer: str = "shots") -> Store:
    """An output of `videos` in which clips above a blur are dropped."""
    store = Store.open(folder / name)
    settings = {"profile": {"blur": {"max": blur}}, "profile_name": "sharp"}
    compact(store, videos, name)
    decide(store, [FilterScores(FilterSettings.model_validate(settings))], layer)
    recipe = {"name": "mine", "stages": [{"name": "cut", "cut": {"pieces": 5}}], "blur": blur}
    store.put("recipe.json", json.dumps({"recipe": recipe}).encode())
    return store


def test_an_output_does_not_differ_from_itself(tmp_path: Path) -> None:
    store = made(tmp_path, "a", library(tmp_path / "in"), 0.3)
    found = compare(store, store)
    assert found.settings == {}
    assert found.videos == {"both": 4, "only_old": 0, "only_new": 0}
    assert found.clips == {"both": 20, "only_old": 0, "only_new": 0}
    assert found.verdicts == {"kept": 12, "dropped (filter_scores: blur > 0.3)": 8}
    assert found.scores["blur"] == ScoreChange(20, 0.25, 0.25, 0, 0.0)
    caption = found.texts["caption"]
    assert (caption.same, caption.changed, caption.only_old, caption.only_new) == (20, 0, 0, 0)


def test_every_planted_difference_is_found_on_its_own_clip(tmp_path: Path) -> None:
    old = made(tmp_path, "old", library(tmp_path / "in"), 0.3)
    videos = library(tmp_path / "in")[:3]  # one video less
    first = videos[0]
    # A cut more at the beginning: all numbers shift, and all later spans stay.
    shots = first.segments
    spans = [Span(CLOCK, 0, 20), Span(CLOCK, 20, 50), *(shot.span for shot in shots[1:])]
    first.segments = []
    first.add_segments("shots", spans)
    for segment, before in zip(first.segments[1:], shots, strict=True):
        segment.scores["blur"] = before.scores["blur"]
        segment.add_text("caption", before.texts[0].text, AUTHOR)
    first.segments[3].texts[-1].text = "another caption"
    first.segments[4].scores["blur"] += 0.25
    videos[1].segments[0].texts = []
    videos[2].segments[0].add_text("dense", "a long story", AUTHOR)
    new = made(tmp_path, "new", videos, 0.4)

    found = compare(old, new)
    assert found.settings == {"blur": [0.3, 0.4]}
    assert found.videos == {"both": 3, "only_old": 1, "only_new": 0}
    assert found.clips == {"both": 14, "only_old": 6, "only_new": 2}
    assert found.verdicts == {
        "kept": 8,
        "dropped (filter_scores: blur > 0.3) -> kept": 2,
        "dropped (filter_scores: blur > 0.3) -> dropped (filter_scores: blur > 0.4)": 4,
    }
    blur = found.scores["blur"]
    assert (blur.clips, blur.changed, blur.largest) == (14, 1, 0.25)
    assert blur.new_mean - blur.old_mean == pytest.approx(0.25 / 14)
    caption = found.texts["caption"]
    assert (caption.same, caption.changed, caption.only_old, caption.only_new) == (12, 1, 1, 0)
    assert caption.examples == [{"old": "caption 2 of 0", "new": "another caption"}]
    assert (found.texts["dense"].only_new, found.texts["dense"].same) == (1, 0)
    json.dumps(asdict(found), allow_nan=False)


def test_outputs_that_cannot_be_compared_say_why(tmp_path: Path) -> None:
    old = made(tmp_path, "old", library(tmp_path / "in"), 0.3)
    with pytest.raises(StoreError, match="not decided yet"):
        compare(old, Store.open(tmp_path / "none"))
    videos = library(tmp_path / "in")
    for video in videos:
        for segment in video.segments:
            segment.layer = "events"
    with pytest.raises(StoreError, match="'events'"):
        compare(old, made(tmp_path, "new", videos, 0.3, "events"))
