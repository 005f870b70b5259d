"""Narration to captions on rendered speech that lags or leads by up to 8 s: the family's bars.

The reader and the eye stand at the edge and read prompts and pixels only; sentences, events,
timeline, grounding and filter are the product's.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from arms import ARMS, Item, Scored, annotate, arms, interval, item, scored, start_errors
from narrated import LAGGING, Eye, rendered

from clipmill.schemas.records import Part
from clipmill.stages.compose.render_synthetic import RenderedVideo
from clipmill.stages.ground import ground_text, verify_span
from clipmill.stages.ground.verify_span import Settings, VerifySpan


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[RenderedVideo]:
    return rendered(LAGGING, tmp_path_factory.mktemp("lagging") / "v")


@pytest.fixture(scope="module")
def parts(videos: list[RenderedVideo]) -> list[Part]:
    with pytest.MonkeyPatch.context() as patch:
        return [annotate(video, patch) for video in videos]


@pytest.fixture(scope="module")
def made(videos: list[RenderedVideo], parts: list[Part]) -> dict[str, list[Item]]:
    return arms(videos, parts)


@pytest.fixture(scope="module")
def figures(
    videos: list[RenderedVideo], parts: list[Part], made: dict[str, list[Item]]
) -> dict[str, Scored]:
    return scored(made, videos, parts)


def test_retiming_at_least_halves_the_start_error_of_speech(figures: dict[str, Scored]) -> None:
    raw = figures["raw"].start_error()
    assert raw > 2, "the narration must really lag"
    assert figures["retimed"].start_error() <= 0.5 * raw
    assert figures["retimed"].start_error() <= figures["reader_times"].start_error()
    assert figures["filtered"].start_error() <= 0.25 * raw


def test_each_step_is_at_least_as_good_as_the_one_before(figures: dict[str, Scored]) -> None:
    claim(figures)
    errors = [figures[arm].start_error() for arm in ARMS]
    assert all(after <= before + 0.05 for before, after in itertools.pairwise(errors))


def claim(figures: dict[str, Scored]) -> None:
    """Rewritten and re-timed text beats raw speech, arm after arm, and not by chance."""
    rates = [figures[arm].recall(1) for arm in ARMS]
    print({arm: (len(own.rank), round(own.start_error(), 2), round(own.recall(1), 2),
                 round(own.recall(10), 2)) for arm, own in figures.items()})  # fmt: skip
    assert rates == sorted(rates), rates
    first, last = figures["raw"], figures["filtered"]
    videos = int(first.owners.max()) + 1
    low, _ = interval(lambda drawn: last.recall(1, drawn) - first.recall(1, drawn), videos)
    assert low > 0, "the gain of the whole chain must not be chance"
    assert last.recall(10) >= first.recall(10)
    assert last.start_error() <= 0.5 * first.start_error()


def _told(videos: list[RenderedVideo]) -> int:
    return sum(line.scene is not None for v in videos for line in v.truth.narration)


def _in_place(items: list[Item], videos: list[RenderedVideo]) -> set[tuple[int, int]]:
    """Scenes that an item about them covers by half or more."""
    return {
        (own.video, own.scene)
        for own in items
        if own.scene is not None
        and _covers(own, videos[own.video].truth.scenes[own.scene].start_s,
                    videos[own.video].truth.scenes[own.scene].end_s)
    }  # fmt: skip


def test_what_is_seen_is_found_and_what_is_not_seen_is_left_out(
    made: dict[str, list[Item]], videos: list[RenderedVideo]
) -> None:
    assert len(_in_place(made["filtered"], videos)) >= 0.8 * _told(videos)
    share = np.mean([own.filler for own in made["raw"]])
    assert share >= 0.25
    assert np.mean([own.filler for own in made["filtered"]]) <= share / 3
    assert any(own.filler for own in made["captions"]), "the reader must have let some through"


SHIPPED_LEAST = -0.1
"""Chosen on these films: what is seen scores -0.18 and up, nearly all above 0, the rest below."""


@pytest.mark.models
def test_the_models_that_ship_keep_the_same_bars(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Teacher and encoder have seen neither these films nor these sentences."""
    plan = LAGGING.model_copy(update={"count": 6})
    videos = rendered(plan, tmp_path_factory.mktemp("shipped") / "v")
    with pytest.MonkeyPatch.context() as patch:
        parts = [annotate(video, patch, encoder="embedded", teacher="embedded") for video in videos]
    made = arms(videos, parts, SHIPPED_LEAST)
    figures = scored(made, videos, parts)
    claim(figures)
    errors = {arm: own.start_error() for arm, own in figures.items()}
    assert errors["raw"] > 2 and errors["retimed"] <= 0.5 * errors["raw"]
    assert errors["retimed"] <= errors["reader_times"]
    share = np.mean([own.filler for own in made["raw"]])
    assert share >= 0.25 and np.mean([own.filler for own in made["filtered"]]) <= share / 3
    assert len(_in_place(made["filtered"], videos)) >= 0.8 * _told(videos)


def _covers(own: Item, start: float, end: float) -> bool:
    return min(own.end, end) - max(own.start, start) >= 0.5 * (end - start)


def test_sentences_are_found_at_their_borders(
    made: dict[str, list[Item]], videos: list[RenderedVideo]
) -> None:
    near = []
    for number, video in enumerate(videos):
        borders = [b for own in made["raw"] if own.video == number for b in (own.start, own.end)]
        for line in video.truth.narration:
            near += [min(abs(b - at) for b in borders) for at in (line.start_s, line.end_s)]
    assert np.mean(np.array(near) <= 0.2) >= 0.95


def test_doubts_tell_spans_in_place_from_spans_beside_it(
    videos: list[RenderedVideo], parts: list[Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    """verify_span, looking at other slots than the search did, on re-timed and on speech times."""
    monkeypatch.setattr(
        verify_span.VerifySpan,
        "setup",
        lambda stage: vars(stage).update(encoder=Eye("colour", "shape")),
    )
    margins: dict[bool, list[float]] = {True: [], False: []}
    for number, (video, part) in enumerate(zip(videos, parts, strict=True)):
        for layer in ("grounded", "events"):
            stage = VerifySpan(Settings(layer=layer, name=layer))
            stage.setup()
            stage.process(part)
            for segment in part.video.layer(layer):
                own = item(number, segment.texts_of("caption")[0].text, segment, video.truth)
                if own.scene is None or f"{layer}_margin" not in segment.scores:
                    continue
                scene = video.truth.scenes[own.scene]
                shared = min(own.end, scene.end_s) - max(own.start, scene.start_s)
                in_place = shared >= 0.5 * (own.end - own.start)
                margins[in_place].append(segment.scores[f"{layer}_margin"])
    right, beside = np.array(margins[True]), np.array(margins[False])
    print(f"in place {len(right)}, beside {len(beside)}: "
          f"{(right >= 0).mean():.2f} and {(beside >= 0).mean():.2f} pass")  # fmt: skip
    assert len(beside) >= 10
    assert (right >= 0).mean() >= 0.75 and (beside >= 0).mean() <= 0.1


def test_texts_that_compete_for_frames_are_placed_best(
    videos: list[RenderedVideo], parts: list[Part], made: dict[str, list[Item]],
    figures: dict[str, Scored], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(
        ground_text.GroundText,
        "setup",
        lambda stage: vars(stage).update(encoder=Eye("colour", "backdrop")),
    )
    found: list[Item] = []
    for number, (video, part) in enumerate(zip(videos, parts, strict=True)):
        stage = ground_text.GroundText(
            ground_text.Settings(layer="timeline", into="joint", method="joint", name="joint",
                                 window_s=2.0, span="grow", prior="start")
        )  # fmt: skip
        stage.setup()
        stage.process(part)
        for segment in part.video.layer("joint"):
            segment.scores["grounding_shift_s"] = segment.scores["joint_shift_s"]
            text = segment.texts_of("caption")[0].text
            found.append(item(number, text, segment, video.truth))
    assert len(found) == len(made["retimed"])
    assert np.nanmean(start_errors(found, videos)) <= 0.25 * figures["raw"].start_error()
