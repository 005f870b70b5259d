"""A text that belongs to its span and nowhere else; films of plain colours."""

from __future__ import annotations

import pytest
from colours import Colours, film

from clipmill.schemas.records import Author, Part, Segment
from clipmill.stages.ground import verify_span
from clipmill.stages.ground.verify_span import Settings, VerifySpan

#        0         10        20        30
FILM = "........rrrr........bbbb....rrrr........"
BLUE_ONCE = (20.0, 24.0)


@pytest.fixture(autouse=True)
def _sees_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        verify_span.VerifySpan, "setup", lambda stage: vars(stage).update(encoder=Colours())
    )


def checked(part: Part, **settings: object) -> list[Segment]:
    stage = VerifySpan(Settings(layer="events", **settings))  # type: ignore[arg-type]
    stage.setup()
    return stage.process(part).video.layer("events")


def test_a_text_seen_once_retrieves_its_own_span() -> None:
    [segment] = checked(film(FILM, [("the blue one", *BLUE_ONCE)]))
    assert segment.scores["span_rank"] == 0
    assert segment.scores["span_margin"] > 0.4
    assert segment.scores["span_shifted"] > 0.3
    assert "span_agreement" not in segment.scores


def test_a_text_that_fits_elsewhere_as_well_is_not_unique() -> None:
    [segment] = checked(film(FILM, [("a red one", 8, 12)]))
    assert segment.scores["span_rank"] >= 1
    assert segment.scores["span_margin"] == pytest.approx(0, abs=1e-6)


def test_a_span_beside_its_moment_is_told_by_every_doubt() -> None:
    right, wrong = checked(film(FILM, [("blue", *BLUE_ONCE), ("blue", 23, 27)]))
    assert wrong.scores["span_rank"] > right.scores["span_rank"]
    assert wrong.scores["span_margin"] < 0 < right.scores["span_margin"]
    assert wrong.scores["span_fit"] < right.scores["span_fit"]


def test_paraphrases_that_look_elsewhere_disagree() -> None:
    part = film(FILM, [("blue", *BLUE_ONCE), ("blue", *BLUE_ONCE)])
    agree, differ = part.video.layer("events")
    for text in ("what is blue", "blue again"):
        agree.add_text("rewrite", text, Author("llm_rewrite"))
    differ.add_text("rewrite", "something red", Author("llm_rewrite"))
    checked(part, paraphrases=("rewrite",))
    assert agree.scores["span_agreement"] == 1
    assert differ.scores["span_agreement"] == 0
    assert "scores:span_agreement" in VerifySpan(Settings(paraphrases=("rewrite",))).adds()


def test_a_span_without_frames_has_no_scores() -> None:
    [segment] = checked(film(FILM, [("blue", 100, 104)]))
    assert segment.scores == {}
