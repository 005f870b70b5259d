"""classify with the encoder that ships: films sorted by what they show, and what is dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from narrated import part_of
from pydantic import ValidationError

from clipmill.schemas.clocks import Span
from clipmill.schemas.profiles import Profile
from clipmill.schemas.records import Part, Segment
from clipmill.stages.compose.render_synthetic import RenderedVideo, Settings, render
from clipmill.stages.compose.world import BACKDROPS, COLOURS, SHAPES
from clipmill.stages.filter.filter_scores import FilterScores
from clipmill.stages.filter.filter_scores import Settings as Filter
from clipmill.stages.frames.classify import Classify
from clipmill.stages.frames.classify import Settings as Classes
from clipmill.stages.frames.sample_frames import SampleFrames
from clipmill.stages.frames.sample_frames import Settings as Frames
from clipmill.stages.models.encoder import EncoderSettings

pytestmark = pytest.mark.models

FILMS = Settings(
    count=8, seed=5, width=160, height=120, fps=6, min_scenes=4, max_scenes=4, min_seconds=1.0,
    max_seconds=1.5, narration=False, sounds=0.0, upsets=0.0, second_things=0.0, words=0.0,
    gradual=0.0, moving_camera=0.0,
)  # fmt: skip
PLACES = {
    "plain": "on a plain background",
    "gradient": "on a gradient background",
    "stripes": "in front of the stripes",
    "checker": "on the checkered floor",
    "grass": "over the grass",
    "sand": "over the sand",
    "water": "over the water",
    "sky": "in the sky",
}


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[RenderedVideo, Part]]:
    """Films with a segment, and its frames, per scene."""
    folder: Path = tmp_path_factory.mktemp("films")
    stage = SampleFrames(Frames(layer="scenes", policy="uniform", count=4, max_side=160))
    found = []
    for video in render(FILMS, folder / "v", folder / "truth"):
        part = part_of(video)
        spans = [Span.of_seconds(s.start_s, s.end_s) for s in video.truth.scenes]
        part.video.add_segments("scenes", spans)
        found.append((video, stage.process(part)))
    return found


def sort(sampled: list[tuple[RenderedVideo, Part]], **settings: Any) -> list[tuple[Any, Segment]]:
    """(scene as planned, its segment) of all films, with labels."""
    stage = Classify(Classes(encoder=EncoderSettings(model="embedded"), layer="scenes", **settings))
    stage.setup()
    return [
        (scene, segment)
        for video, part in sampled
        for scene, segment in zip(
            video.truth.scenes, stage.process(part).video.layer("scenes"), strict=True
        )
    ]


def test_scenes_are_sorted_by_colour_and_by_background(
    sampled: list[tuple[RenderedVideo, Part]],
) -> None:
    by_colour = {c: (f"a {c} circle", f"a {c} star", f"a {c} square") for c in COLOURS}
    coloured = sort(sampled, classes=by_colour, name="colour")
    right = [s.labels["colour"] == scene.things[0].colour for scene, s in coloured]
    assert len(right) == 32 and sum(right) >= 29
    placed = sort(sampled, classes={n: (f"a thing {PLACES[n]}",) for n in BACKDROPS}, name="place")
    right = [s.labels["place"] == scene.backdrop for scene, s in placed]
    assert sum(right) >= 26
    assert all(0.1 < s.scores["place"] <= 1 for _, s in placed)


def test_a_profile_drops_the_class_that_is_not_wanted_and_no_other(
    sampled: list[tuple[RenderedVideo, Part]],
) -> None:
    """As talking heads are dropped: one class against everything else there is."""
    of = {colour: tuple(f"a {colour} {shape}" for shape in SHAPES) for colour in COLOURS}
    rest = tuple(text for colour, texts in of.items() if colour != "red" for text in texts)
    found = sort(sampled, classes={"red": of["red"], "other": rest})
    table = pa.table(
        {
            "video": ["v"] * len(found),
            "segment": [f"{n}" for n in range(len(found))],
            "label_class": [segment.labels["class"] for _, segment in found],
        }
    )
    profile = Profile.model_validate({"class": {"not_in": ["red"]}})
    kept = FilterScores(Filter(profile=profile)).decide(table).to_pylist()
    planted = [scene.things[0].colour == "red" for scene, _ in found]
    assert sum(planted) >= 3
    assert [not row["keep"] for row in kept] == planted


def test_a_clip_without_frames_has_no_class(sampled: list[tuple[RenderedVideo, Part]]) -> None:
    video, part = sampled[0]
    bare = Part(part_of(video).video)
    bare.video.add_segments("scenes", [segment.span for segment in part.video.layer("scenes")])
    found = sort([(video, bare)], classes={"a": ("a star",), "b": ("a circle",)})
    assert all(not segment.labels and not segment.scores for _, segment in found)


def test_one_class_is_no_choice() -> None:
    with pytest.raises(ValidationError, match="two classes at least"):
        Classes(classes={"only": ("a star",)})
    with pytest.raises(ValidationError, match="two classes at least"):
        Classes(classes={"one": ("a star",), "other": ()})
