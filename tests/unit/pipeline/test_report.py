from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from clipmill.pipeline.output.decide import decide
from clipmill.pipeline.output.pack import pack
from clipmill.pipeline.output.pack_settings import PackSettings
from clipmill.pipeline.output.report import write_report
from clipmill.pipeline.output.tables import compact
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import StoreError
from clipmill.schemas.shards import clip_key
from clipmill.stages.filter.filter_scores import FilterScores
from clipmill.stages.filter.filter_scores import Settings as FilterSettings
from tests.unit.pipeline.fake_pack import AUTHOR, FakeCutter, library


class Page(HTMLParser):
    """The words of a page, and the tags that could make it do something."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture
def out(tmp_path: Path) -> Store:
    """20 clips of four films in shards of three; blurred ones are dropped, one has an evil text."""
    store = Store.open(tmp_path / "out")
    videos = library(tmp_path / "in")
    videos[0].segments[0].texts[-1].text = "<script>alert(1)</script>"
    videos[1].segments[4].texts[-1].text = "</table><script>alert(2)</script>"
    compact(store, videos, "g1")
    settings = {"profile": {"blur": {"max": 0.4}}, "profile_name": "sharp"}
    verdicts = decide(store, [FilterScores(FilterSettings.model_validate(settings))], "shots")
    pack(store, PackSettings(max_clips=3), verdicts, cutter=FakeCutter())
    return store


def page(store: Store, clips: int = 12) -> Page:
    write_report(store, clips)
    return Page(store.get("report.html").decode())


def test_a_report_shows_clips_of_all_shards_and_dropped_ones_beside_their_reason(
    out: Store,
) -> None:
    shown = page(out, clips=7)
    assert shown.tags.count("video") == 7
    assert "4 by filter_scores: blur > 0.4" in shown.text
    for number in range(4):
        assert clip_key(f"films/v{number}.mp4", "shots-00004") in shown.text
    assert "caption 4 of 0" in shown.text, "what was dropped is named by its text"


def test_words_of_strangers_stay_words(out: Store) -> None:
    shown = page(out, clips=20)
    assert "script" not in shown.tags
    assert "<script>alert(1)</script>" in shown.text and "alert(2)" in shown.text


def test_an_output_that_is_not_packed_has_a_report_too_and_none_has_none(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    with pytest.raises(StoreError, match="holds no output"):
        write_report(store)
    compact(store, library(tmp_path / "in"), "g1")
    shown = page(store)
    assert "annotated" in shown.text and "video" not in shown.tags


def test_a_pack_without_media_that_drops_nothing_has_a_report(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    compact(store, library(tmp_path / "in"), "g1")
    pack(store, PackSettings(media=False), decide(store, [], "shots"), cutter=FakeCutter())
    shown = page(store, clips=20)
    assert "video" not in shown.tags and "no media to show here" in shown.text
    assert "caption 4 of 0" in shown.text


def test_bills_of_all_runs_are_added_up(out: Store) -> None:
    bill = {"stage": "caption_clip", "teacher": "tiny", "requests": 3, "prompt_tokens": 40}
    bill |= {"completion_tokens": 2, "rejected": 1, "cost": 0.5}
    for run in ("a", "b"):
        out.put(f"usage/{run}.json", json.dumps({"work": {}, "teachers": [bill]}).encode())
    assert "6 requests, 2 rejected, 80 + 4 tokens, cost 1" in page(out).text


def test_questions_are_shown_by_their_labels_and_the_places_of_their_answers(
    tmp_path: Path,
) -> None:
    store = Store.open(tmp_path / "out")
    videos = library(tmp_path / "in", videos=1)
    for place, segment in enumerate(videos[0].segments):
        segment.add_sample("qa", "?", "a", AUTHOR, options=["<b>", "a"],
                           labels={"blind": f"0.{place}", "task": "</table><script>"})  # fmt: skip
    compact(store, videos, "g1")
    shown = page(store)
    assert "script" not in shown.tags and "</table><script>" in shown.text
    assert "qa: blind" in shown.text and "0 to 0.4, 5 questions" in shown.text
    assert "2 of 2" in shown.text
