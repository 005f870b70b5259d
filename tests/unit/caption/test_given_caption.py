"""A caption from the manifest becomes a text of its own role, cleaned, and nothing else changes."""

from __future__ import annotations

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Part, Video
from clipmill.stages.caption.given_caption import GivenCaption, Settings


def part(**meta: str) -> Part:
    video = Video("film", "film.mp4", meta=meta)
    video.add_segments("shots", [Span.of_seconds(0, 2), Span.of_seconds(2, 5)])
    video.add_segments("windows", [Span.of_seconds(0, 5)])
    return Part(video)


def test_every_clip_of_the_layer_gets_the_caption_in_a_role_of_its_own() -> None:
    video = GivenCaption(Settings()).process(part(given_caption="a red\u202e ring\n grows")).video
    texts = [[(text.role, text.text) for text in segment.texts] for segment in video.segments]
    assert texts == [[("given", "a red ring grows")]] * 2 + [[]]
    assert video.segments[0].texts[0].author.stage == "given_caption"


def test_a_video_that_came_without_a_caption_gets_none() -> None:
    for meta in ({}, {"given_caption": " \n"}, {"caption": "of another column"}):
        video = GivenCaption(Settings()).process(part(**meta)).video
        assert not any(segment.texts for segment in video.segments)


def test_a_long_caption_is_cut() -> None:
    made = GivenCaption(Settings(column="alt", max_chars=5)).process(part(alt="a b c d e f"))
    assert made.video.segments[0].texts[0].text == "a b c"
