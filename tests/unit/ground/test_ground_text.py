"""Captions move to the moment that shows them; films of plain colours with known seconds."""

from __future__ import annotations

import pytest
from colours import Colours, film

from clipmill.schemas.records import Part, Segment
from clipmill.stages.ground import ground_text
from clipmill.stages.ground.ground_text import GroundText, Settings

#        0         10        20        30
FILM = "........rrrrrr......bbbb.....gggggg..."


@pytest.fixture(autouse=True)
def _sees_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ground_text.GroundText, "setup", lambda stage: vars(stage).update(encoder=Colours())
    )


def grounded(part: Part, **settings: object) -> list[Segment]:
    stage = GroundText(Settings(**settings))  # type: ignore[arg-type]
    stage.setup()
    stage.process(part)
    return part.video.layer("grounded")


def starts(segments: list[Segment]) -> list[float]:
    return [segment.span.start_s for segment in segments]


def test_a_caption_said_too_late_and_one_said_too_early_find_their_moment() -> None:
    part = film(FILM, [("a red one", 15, 19), ("the blue one", 13, 17)])
    found = grounded(part, window_s=4, span="grow")
    assert [(s.span.start_s, s.span.end_s) for s in found] == [(8, 14), (20, 24)]
    red = found[0]
    assert red.scores["grounding_shift_s"] == -7
    assert red.scores["grounding"] > red.scores["grounding_before"] + 0.5
    assert red.texts[0].text == "a red one"
    assert red.texts[0].author.model == "m", "the words are the teacher's, not the encoder's"
    assert red.texts[0].sources == ["events-00000/caption:write_events:0"]
    assert starts(part.video.layer("events")) == [15, 13], "what was written stays as it is"


def test_the_window_itself_is_the_span_where_the_recipe_wants_clips_of_one_length() -> None:
    [red] = grounded(film(FILM, [("red", 14, 18)]), window_s=8)
    assert red.span.duration_s == 8
    assert red.span.start_s <= 8 and red.span.end_s >= 14  # all of the red is in it


def test_nothing_is_moved_further_than_the_search_reaches() -> None:
    [far] = grounded(film(FILM, [("green", 2, 4)]), search_s=5, window_s=2)
    assert abs((far.span.start_s + far.span.end_s) / 2 - 3) <= 6
    assert far.scores["grounding"] < 0.3
    [near] = grounded(film(FILM, [("green", 21, 23)]), search_s=10, window_s=2)
    assert near.scores["grounding"] > 0.9


def test_a_caption_of_what_is_nowhere_seen_scores_low_wherever_it_lands() -> None:
    low, high = sorted(
        segment.scores["grounding"]
        for segment in grounded(film(FILM, [("a red one", 9, 12), ("my mother called", 9, 12)]))
    )
    assert low < 0.2 < 0.5 < high


def test_two_captions_of_one_moment_count_once() -> None:
    found = grounded(film(FILM, [("red here", 9, 12), ("this red", 13, 15), ("blue", 20, 23)]))
    labels = [segment.labels["grounding_nms"] for segment in found]
    assert sorted(labels) == ["doubled", "kept", "kept"]


def test_order_decides_between_moments_that_look_alike() -> None:
    twice = "...rrrr......bbbb......rrrr..."
    events = [("red", 13, 15), ("blue", 15, 17)]
    alone = grounded(film(twice, events), window_s=4, span="grow", search_s=14)
    inline = grounded(film(twice, events), window_s=4, span="grow", search_s=14, method="dtw")
    assert starts(inline) == [3, 13]
    assert starts(alone)[-1] in (3, 13, 23)


def test_a_part_without_frames_grounds_nothing_and_breaks_nothing() -> None:
    part = film(FILM, [("red", 9, 12)])
    part.frames.clear()
    assert grounded(part) == []
    assert grounded(film(FILM, [])) == []


def test_the_search_reaches_across_the_borders_of_windows() -> None:
    for windows in (3, 8, 40):
        [red] = grounded(film(FILM, [("red", 16, 18)], windows), window_s=4, span="grow")
        assert red.span.start_s == 8
