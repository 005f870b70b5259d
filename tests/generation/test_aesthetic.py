"""Heads over vectors as they are published, refused where they do not fit, and two sentences."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import planted
import pytest
from narrated import Eye

from clipmill.schemas.errors import ModelError
from clipmill.schemas.records import Part
from clipmill.stages.frames.embed import Embed
from clipmill.stages.frames.embed import Settings as Embedding
from clipmill.stages.models import encoder_stage
from clipmill.stages.models.vector_head import load_head
from clipmill.stages.score.score_aesthetic import ScoreAesthetic, Settings

torch = pytest.importorskip("torch", reason="needs the [models] extra")
pytestmark = pytest.mark.models

WIDTH = Eye().texts(["a red circle"]).shape[1]


@pytest.fixture(autouse=True)
def eye(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_stage, "open_encoder", lambda _: Eye())


def published(width: int, relu: bool = False) -> Any:
    """A predictor of the published shape: five layers, dropout between them."""
    torch.manual_seed(1)
    sizes = (width, 64, 16, 12, 6, 1)
    layers: list[Any] = []
    for before, after in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(before, after), torch.nn.ReLU() if relu else torch.nn.Dropout()]

    class Predictor(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(*layers[:-1])

    return Predictor().eval()


def part() -> Part:
    return planted.painted(1, frames=3, seed=8, scenes=4).parts[0]


def scored(own: Part, **settings: object) -> list[float | None]:
    stage = ScoreAesthetic(Settings(**settings))
    stage.setup()
    stage.process(own)
    return [segment.scores.get("aesthetic") for segment in own.video.segments]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("form", ["pth", "safetensors"])
def test_a_published_head_scores_as_its_own_framework_does(
    tmp_path: Path, form: str, relu: bool
) -> None:
    model = published(WIDTH, relu)
    file = tmp_path / f"head.{form}"
    if form == "pth":
        torch.save(model.state_dict(), file)
    else:
        from safetensors.torch import save_file

        save_file(model.state_dict(), file)
    own = part()
    found = scored(own, head=str(file), relu=relu)
    for segment, score in zip(own.video.segments, found, strict=True):
        mean = Eye().images([frame.jpeg for frame in own.frames[segment.id]]).mean(axis=0)
        vector = torch.tensor(mean / np.linalg.norm(mean))[None]
        with torch.no_grad():
            assert score == pytest.approx(float(model.layers(vector)[0, 0]), abs=1e-5)


def test_one_linear_layer_is_a_head_and_a_stored_vector_serves_as_frames_do(tmp_path: Path) -> None:
    weight = np.zeros((1, WIDTH), np.float32)
    weight[0, 0] = 3.0  # the first colour that there is
    file = tmp_path / "linear.pth"
    torch.save({"weight": torch.tensor(weight), "bias": torch.tensor([2.0])}, file)
    own = part()
    by_frames = scored(own, head=str(file))
    embed = Embed(Embedding())
    embed.setup()
    embed.process(own)
    own.frames.clear()
    assert scored(own, head=str(file), embedding="clip") == pytest.approx(by_frames, abs=1e-5)
    stage = ScoreAesthetic(Settings(head=str(file), embedding="clip"))
    assert stage.reads() == {"segments:shots", "embeddings:clip"}
    moved = tmp_path / "moved.pth"
    moved.write_bytes(file.read_bytes())
    assert (
        ScoreAesthetic(Settings(head=str(moved))).identity()["settings"]["head"]
        == (stage.identity()["settings"]["head"])
    )


def test_what_is_no_head_for_this_encoder_is_refused_with_a_cure(tmp_path: Path) -> None:
    file = tmp_path / "head.pth"
    with pytest.raises(ModelError, match=r"no head: .*No such file[\s\S]*cure: give the file"):
        ScoreAesthetic(Settings(head=str(file))).identity()
    torch.save(published(768).state_dict(), file)
    with pytest.raises(ModelError, match=r"vectors of 768 numbers[\s\S]*cure: name the encoder"):
        scored(part(), head=str(file))
    for wrong in (
        {"layers.0.weight": torch.zeros(3, WIDTH), "layers.0.bias": torch.zeros(3)},
        {"layers.0.weight": torch.zeros(WIDTH)},
        {},
    ):
        torch.save(wrong, file)
        with pytest.raises(ModelError, match="no head"):
            load_head(str(file))
    file.write_bytes(b"no weights at all")
    with pytest.raises(ModelError, match="no head"):
        load_head(str(file))


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    file = tmp_path / "head.pth"
    file.write_bytes(pickle.dumps({"weight": Evil()}))
    with pytest.raises(ModelError, match="no head"):
        load_head(str(file))
    assert not (tmp_path / "ran").exists()


def test_without_a_head_the_sentences_decide(tmp_path: Path) -> None:
    world = planted.painted(6, frames=2, seed=9, scenes=4)
    colour = {"good": "a red circle", "bad": "a blue circle"}
    found: dict[str, list[float]] = {"red": [], "blue": []}
    for own in world.parts:
        for segment, score in zip(own.video.segments, scored(own, **colour), strict=True):
            shown = world.scenes[f"{own.video.id}/{segment.id}"].things[0].colour
            if shown in found and score is not None:
                found[shown].append(score)
    assert min(found["red"]) > 0.9 and max(found["blue"]) < 0.1
    bare = part()
    bare.frames.clear()
    assert scored(bare) == [None] * 4
