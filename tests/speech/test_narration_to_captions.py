"""Narration to captions on rendered speech that lags or leads by up to 8 s: the family's bars.

The reader and the eye stand at the edge and read prompts and pixels only; sentences, events,
timeline, grounding and filter are the product's.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from arms import ARMS, Item, annotate, arms, hits, interval, start_errors
from narrated import LAGGING, rendered

from clipmill.schemas.records import Part
from clipmill.stages.compose.render_synthetic import RenderedVideo


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


def mean_error(items: list[Item], videos: list[RenderedVideo]) -> float:
    return float(start_errors(items, videos).mean())


def test_retiming_at_least_halves_the_start_error_of_speech(
    made: dict[str, list[Item]], videos: list[RenderedVideo]
) -> None:
    raw = mean_error(made["raw"], videos)
    assert raw > 2, "the narration must really lag"
    assert mean_error(made["retimed"], videos) <= 0.5 * raw
    assert mean_error(made["retimed"], videos) <= mean_error(made["reader_times"], videos)
    assert mean_error(made["filtered"], videos) <= 0.25 * raw


def test_each_step_is_at_least_as_good_as_the_one_before(
    made: dict[str, list[Item]], videos: list[RenderedVideo], parts: list[Part]
) -> None:
    found = hits(made, videos, parts)
    rates = [float(found[arm].mean()) for arm in ARMS]
    errors = [mean_error(made[arm], videos) for arm in ARMS]
    print({arm: (len(made[arm]), round(e, 2), round(r, 2)) for arm, e, r in
           zip(ARMS, errors, rates, strict=True)})  # fmt: skip
    assert rates == sorted(rates), rates
    assert all(after <= before + 0.05 for before, after in itertools.pairwise(errors))

    def gain(drawn: np.ndarray) -> float:
        def rate(arm: str) -> float:
            owners = np.array([own.video for own in made[arm]])
            picked = np.concatenate([found[arm][owners == number] for number in drawn])
            return float(picked.mean())

        return rate("filtered") - rate("raw")

    low, _ = interval(gain, len(videos))
    assert low > 0, "the gain of the whole chain must not be chance"


def test_what_is_seen_is_found_and_what_is_not_seen_is_left_out(
    made: dict[str, list[Item]], videos: list[RenderedVideo]
) -> None:
    told = sum(line.scene is not None for v in videos for line in v.truth.narration)
    in_place = {
        (own.video, own.scene)
        for own in made["filtered"]
        if own.scene is not None
        and _covers(own, videos[own.video].truth.scenes[own.scene].start_s,
                    videos[own.video].truth.scenes[own.scene].end_s)
    }  # fmt: skip
    assert len(in_place) >= 0.8 * told
    share = np.mean([own.filler for own in made["raw"]])
    assert share >= 0.25
    assert np.mean([own.filler for own in made["filtered"]]) <= share / 3
    assert any(own.filler for own in made["captions"]), "the reader must have let some through"


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
