from __future__ import annotations

import json
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from clipmill.schemas.records import Video
from clipmill.schemas.shards import clip_key, clip_manifest, video_key
from tests.unit.schemas.record_strategies import videos

SAFE = re.compile(r"[A-Za-z0-9_-]+")


@given(st.text(), st.text(min_size=1))
def test_a_key_is_a_safe_file_name_without_dots(video: str, segment: str) -> None:
    key = clip_key(video, segment)
    assert SAFE.fullmatch(key)
    assert len(video_key(video)) <= 53


@given(st.lists(st.text(), unique=True, max_size=50))
def test_different_videos_have_different_keys(ids: list[str]) -> None:
    assert len({video_key(name) for name in ids}) == len(ids)


def test_names_that_differ_only_in_what_a_slug_drops_stay_apart() -> None:
    assert video_key("a/b.mp4") != video_key("a_b.mp4") != video_key("A/B.mp4")


@settings(max_examples=40)
@given(videos)
def test_the_manifest_of_any_clip_is_json_and_hides_the_source_path(video: Video) -> None:
    video.source = "/home/someone/secret-place/movie.mp4"
    for segment in video.segments:
        text = json.dumps(clip_manifest(video, segment, {"frames": 1}), sort_keys=True)
        again = json.loads(text)
        assert "secret-place" not in text
        assert again["key"] == clip_key(video.id, segment.id)
        assert again["span"]["start"] == segment.span.start
        assert again["scores"].keys() == segment.scores.keys()
