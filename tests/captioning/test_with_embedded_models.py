"""Panda-70M's recipe with the models that ship: real teachers and encoders on a rendered film."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from narrated import LAGGING

from clipmill.pipeline.engine.run import run
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.stages.compose.render_synthetic import RenderedVideo, render

pytestmark = [pytest.mark.models, pytest.mark.timeout(600)]

EMBEDDED = {"model": "embedded"}
VIEWS = [
    {
        "name": "hasty",
        "teacher": EMBEDDED,
        "frames": 4,
        "samples": 2,
        "temperature": 2.2,
        "max_tokens": 60,
    },
    {"name": "sure", "teacher": EMBEDDED, "frames": 4},
]
SETS = (
    "stages.transcribe.engine=subtitles",
    "stages.split_shots.detector=fast",
    "stages.split_shots.threshold=9",
    "stages.split_shots.force_s=30",
    *(f"stages.{name}.encoder={json.dumps(EMBEDDED)}"
      for name in ("merge_segments", "embed", "select_candidate", "score_alignment")),
    "stages.merge_segments.stitch=0",
    "stages.merge_segments.transition=2",
    f"stages.fan_out.views={json.dumps(VIEWS)}",
    'stages.select_candidate.roles=["candidate:hasty", "candidate:sure"]',
    "profiles.matched.seconds.min=1",
    "decide.filter_scores-2.percentile.alignment.top_percent=100",
    "decide.balance.per_video=100",
)  # fmt: skip


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[RenderedVideo]:
    plan = LAGGING.model_copy(
        update={"count": 1, "seed": 5, "width": 320, "height": 240, "narration": False,
                "gradual": 0.0, "min_scenes": 8, "max_scenes": 8, "min_seconds": 2.0,
                "max_seconds": 3.0, "moving_camera": 0.0}
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("films")
    return render(plan, folder / "in", folder / "truth")


def right(said: str, clip: dict[str, Any], films: list[RenderedVideo]) -> float:
    """Share of colour and shape of what a clip shows that its text names."""
    truth = {film.truth.name: film.truth for film in films}[Path(clip["video"]["id"]).stem]
    middle = (clip["span"]["start_s"] + clip["span"]["end_s"]) / 2
    [scene] = [s for s in truth.scenes if s.start_s <= middle < s.end_s]
    thing = scene.things[0]
    return sum(name in said.split() for name in (thing.colour, thing.shape)) / 2


def test_the_candidate_that_the_encoder_chooses_is_truer_than_those_it_chooses_among(
    films: list[RenderedVideo], tmp_path: Path
) -> None:
    summary = run(load_recipe("captioning/panda70m", SETS), str(films[0].path.parent),
                  str(tmp_path), engine="inline")  # fmt: skip
    assert set(summary.inputs) == {"packed"}, summary
    chosen, hasty = [], []
    for shard in sorted((tmp_path / "shards").glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar.getmembers():
                if not member.name.endswith(".json"):
                    continue
                clip = json.loads(tar.extractfile(member).read())  # type: ignore[union-attr]
                told = {}
                for text in clip["texts"]:
                    told.setdefault(text["role"], []).append(text["text"])
                hasty += [right(said, clip, films) for said in told["candidate:hasty"]]
                chosen.append(right(told["caption"][-1], clip, films))
    mean = sum(chosen) / len(chosen)
    print(f"{len(chosen)} clips: chosen {mean:.2f}, among {sum(hasty) / len(hasty):.2f}")
    assert len(chosen) >= 6
    assert mean >= 0.85 and mean >= sum(hasty) / len(hasty) + 0.1
