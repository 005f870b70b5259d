"""What uploaders write: weak labels, and chapter lists that keep the rules or count for nothing."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from clipmill.schemas.clocks import MILLISECONDS, Clock, Span
from clipmill.schemas.records import Part, Probe, Stream, Video
from clipmill.stages.source.parse_metadata import ParseMetadata, Settings, chapters


def parsed(embedded: dict[str, str] | None = None, seconds: float = 200.0, **meta: str) -> Video:
    picture = Stream(0, "video", "h264", Clock("v0", 1, 1000))
    video = Video("v", "v.mp4", meta=meta)
    video.probe = Probe("mp4", 1, seconds, 0, [picture], tags=embedded or {})
    ParseMetadata(Settings()).process(Part(video))
    return video


def starts(description: str, seconds: float = 200.0) -> list[tuple[float, str]]:
    return [(span.start_s, title) for span, title in chapters(description, seconds)]


LIST = """How to cook it.

0:00 Intro
1:30 - The knife
(2:05) Onions!
Serving 2:50

Music: https://example.org/a/12:30
"""


def test_a_chapter_list_becomes_segments_that_touch_and_end_with_the_video() -> None:
    layer = parsed(description=LIST, seconds=200.5).layer("chapters")
    assert [(s.span.start_s, s.span.end_s, s.texts[0].text) for s in layer] == [
        (0.0, 90.0, "Intro"),
        (90.0, 125.0, "The knife"),
        (125.0, 170.0, "Onions!"),
        (170.0, 200.5, "Serving"),
    ]
    assert layer[0].texts[0].role == "title"


def test_hours_ranges_and_numbered_lists_are_times_too() -> None:
    assert starts("1. 0:00 - 0:30 Hello\n2. 59:59 \u2013 1:00:10 Late\n3. [1:00:10] End", 4000) == [
        (0.0, "Hello"),
        (3599.0, "Late"),
        (3610.0, "End"),
    ]
    assert starts("0:00 \u7b2c\u4e00\u7ae0\n100:05 \u7d42\u308f\u308a", 7000)[1][0] == 6005.0


@pytest.mark.parametrize(
    ("description", "why"),
    [
        ("0:00 Everything", "one time is no list"),
        ("0:00 Intro\n1:00 Middle\n1:00 Again", "times must rise strictly"),
        ("1:00 Second\n0:30 First", "times must rise"),
        ("0:00 Intro\n3:20 At the very end", "a time must lie within the video"),
        ("0:00 Intro\n1:00", "every time wants a title"),
        ("0:00 1\n1:00 2", "a number is no title"),
        ("0:00 Part 1\n1:00 Part 2", "a numbering is no title"),
        ("0:00 Clip\n1:00 Clip", "titles that all agree say nothing"),
        ("0:00 Intro\n1:75 Odd", "75 seconds are no time, which leaves one"),
        ("see 0:10 and then 0:20 for it", "times in prose are not a list"),
        ("", "nothing is nothing"),
    ],
)
def test_a_list_that_breaks_one_rule_gives_no_chapters_at_all(description: str, why: str) -> None:
    assert starts(description) == [], why


def test_every_text_is_marked_as_a_weak_label_with_its_column() -> None:
    video = parsed({"title": "clip_0001", "comment": "made with"}, title="Soup", alt="A bowl")
    assert [(t.role, t.text, t.author.model, t.author.prompt) for t in video.texts] == [
        ("title", "Soup", "weak:manifest", "title"),
        ("title", "clip_0001", "weak:file", "title"),
        ("description", "A bowl", "weak:manifest", "alt"),
        ("description", "made with", "weak:file", "comment"),
    ]


def test_the_same_text_from_two_places_is_written_once() -> None:
    video = parsed({"TITLE": "Soup", "description": "d"}, title="Soup", description="d")
    assert [(t.role, t.author.model) for t in video.texts] == [
        ("title", "weak:manifest"),
        ("description", "weak:manifest"),
    ]


def test_hashtags_come_from_texts_and_columns_each_once() -> None:
    video = parsed(
        title="Soup #Cooking #vegan",
        description="a#b &#39; #cooking \u6599\u7406 #\u6599\u7406",
        tags="dinner; #Vegan, easy soup",
    )
    [text] = [t for t in video.texts if t.role == "hashtags"]
    assert text.text == "Cooking, vegan, \u6599\u7406, dinner, easy soup"


def test_hostile_text_is_cut_short_and_cleaned() -> None:
    video = parsed(title="a\x00b\x1b[2J\u202etxt" + "x" * 5000, description="y\r\n" * 100_000)
    title, description = video.texts[0].text, video.texts[1].text
    assert title.startswith("a b [2Jtxtxx")
    assert len(title) == 300
    assert len(description) <= 10_000
    assert not any(ord(letter) < 32 and letter != "\n" for letter in title + description)


def test_columns_become_labels_of_the_layer_that_is_named() -> None:
    video = Video("v", "v.mp4", meta={"category": " Food \x07 ", "views": "12"})
    video.add_segments("shots", [Span(MILLISECONDS, 0, 1000)])
    stage = ParseMetadata(Settings(labels=["category", "channel"], layer="shots"))
    stage.process(Part(video))
    assert video.layer("shots")[0].labels == {"category": "Food"}
    assert stage.reads() == {"probe", "segments:shots"}
    assert {"labels:category", "segments:chapters"} <= stage.adds()
    with pytest.raises(ValidationError, match="set layer"):
        Settings(labels=["category"])
