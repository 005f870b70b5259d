"""The family's measurement: clips of which two in five have one planted defect, and a profile.

Everything is real but the films: the chain of `planted.yaml` runs from files to shards with the
small encoder that ships. `CLIPMILL_CLIPS=1000 pytest tests/generation -s` is the full size.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from defects import DEFECTS, FILMS, SOUND, plant
from narrated import Eye
from shards import packed_clips

from clipmill.pipeline.engine.events import Summary
from clipmill.pipeline.engine.run import run
from clipmill.pipeline.output.decide import decide, read_verdicts
from clipmill.pipeline.output.tables import read_table, read_videos
from clipmill.pipeline.output.verify import verify
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.pipeline.store.store import Store
from clipmill.schemas.profiles import Profile
from clipmill.schemas.records import Part
from clipmill.stages.compose.render_synthetic import render
from clipmill.stages.filter.dedup import Dedup
from clipmill.stages.filter.dedup import Settings as Near
from clipmill.stages.filter.filter_scores import FilterScores, Settings
from clipmill.stages.frames.sample_frames import SampleFrames
from clipmill.stages.frames.sample_frames import Settings as Frames
from clipmill.stages.models import encoder_stage

torch = pytest.importorskip("torch", reason="needs the [models] extra")
torch.set_num_threads(1)  # a small model loses more to waiting threads than it wins by them
pytestmark = [pytest.mark.models, pytest.mark.timeout(3600)]

CLIPS = int(os.environ.get("CLIPMILL_CLIPS", "40"))
RECIPE = Path(__file__).with_name("planted.yaml")
RULES = {
    "low_resolution": "short_side",
    "wrong_aspect": "aspect",
    "watermark": "overlay",
    "text_heavy": "text_area",
    "static": "consistency",
    "too_fast": "motion",
    "two_scenes": "cuts",
    "wrong_caption": "alignment",
}
"""The rule that is meant for each defect."""
LOST = 0.06
"""Share of sound clips that may go. The aim is 0.05: the family's page says what falls short."""


@dataclass
class Curated:
    """What was planted, and what the chain made of it."""

    out: Path
    planted: Counter[str]
    summary: Summary
    clips: pa.Table  # of the layer, with `label_defect`

    def reasons(self, profile: Profile) -> list[tuple[str, str | None]]:
        """(defect, reason) of every clip under a profile."""
        decision = FilterScores(Settings(profile=profile))
        reasons = decision.decide(self.clips)["reason"].to_pylist()
        return list(zip(self.clips["label_defect"].to_pylist(), reasons, strict=True))


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Curated:
    pytest.importorskip("rapidocr", reason="needs the [ocr] extra")
    folder = tmp_path_factory.mktemp("planted")
    planted = plant(folder / "in", CLIPS)
    summary = run(load_recipe(RECIPE), str(folder / "in"), str(folder / "out"), engine="inline")
    clips = read_table(Store.open(str(folder / "out")), "segments")
    clips = clips.filter(pa.compute.equal(clips["layer"], "clips"))
    return Curated(folder / "out", planted, summary, clips)


def loose() -> Profile:
    return load_recipe(RECIPE).profiles["loose"]


def only(*scores: str) -> Profile:
    rules = {name: rule for name, rule in loose().rules.items() if name in scores}
    return Profile(missing="keep", **rules)


def shares(judged: list[tuple[str, str | None]]) -> dict[str, float]:
    """Share dropped of the clips of each defect, and of the sound ones."""
    dropped = Counter(defect for defect, reason in judged if reason is not None)
    return {kind: dropped[kind] / n for kind, n in Counter(kind for kind, _ in judged).items()}


def test_every_planted_defect_goes_and_sound_clips_stay(curated: Curated) -> None:
    found = shares(curated.reasons(loose()))
    print("recall by defect, false drop:", {kind: round(share, 3) for kind, share in found.items()})
    assert set(found) == {*DEFECTS, SOUND}
    assert found.pop(SOUND) <= LOST
    assert min(found.values()) >= 0.95, found


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_is_found_by_the_rule_that_is_meant_for_it(
    curated: Curated, defect: str
) -> None:
    """So the defect is missed where the operator behind the rule is left out."""
    found = shares(curated.reasons(only(RULES[defect])))
    print(defect, {kind: round(share, 3) for kind, share in found.items() if share})
    assert found[defect] >= 0.95 and found[SOUND] <= LOST


def test_the_funnel_adds_up_to_what_came_in(curated: Curated) -> None:
    store = Store.open(str(curated.out))
    verdicts = read_verdicts(store)
    assert verdicts is not None and verify(store).ok
    assert Counter(curated.clips["label_defect"].to_pylist()) == curated.planted
    assert curated.planted.total() == CLIPS == len(verdicts.table)
    assert verdicts.kept + verdicts.reasons.total() == CLIPS
    assert curated.summary.clips == {"packed": verdicts.kept, "dropped": CLIPS - verdicts.kept}
    films = sum(len(list(kind.glob("*.mp4"))) for kind in (curated.out.parent / "in").iterdir())
    assert sum(curated.summary.inputs.values()) == films
    print(verdicts.reasons)


def test_what_is_kept_fits_its_caption_better_than_as_many_taken_blindly(curated: Curated) -> None:
    """To an evaluator that measures colours and backdrops and did not score."""
    fits: dict[tuple[str, str], float] = {}
    for video in read_videos(Store.open(str(curated.out))):
        video.segments = video.layer("clips")
        part = SampleFrames(Frames(layer="clips", policy="middle")).process(Part(video))
        for segment in video.segments:
            [picture] = Eye().images([part.frames[segment.id][0].jpeg])
            [words] = Eye().texts([segment.texts_of("given")[0].text])
            fits[video.id, segment.id] = float(picture @ words)
    verdicts = read_verdicts(Store.open(str(curated.out)))
    assert verdicts is not None and len(fits) == CLIPS
    kept = [fits[v, s] for v, names in verdicts.kept_ids().items() for s in names]
    values, draw = np.array(list(fits.values())), np.random.default_rng(0)
    blind = [draw.choice(values, len(kept), replace=False).mean() for _ in range(2000)]
    ahead = np.mean(kept) - np.quantile(blind, [0.025, 0.975])
    print(f"kept {np.mean(kept):.3f}, blind {np.mean(blind):.3f}, ahead {ahead[1]:.3f} or more")
    assert ahead[1] > 0


def test_the_strict_profile_is_packed_without_a_model_and_is_part_of_the_loose_one(
    curated: Curated, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Any:
        raise AssertionError("a model was asked for")

    monkeypatch.setattr(encoder_stage, "open_encoder", refuse)
    before = set(packed_clips(curated.out))
    source = str(curated.out.parent / "in")
    strict = load_recipe(RECIPE, ["decide.filter_scores.profile=strict"])
    summary = run(strict, source, str(curated.out), engine="inline", annotate=False, repack=True)
    after = set(packed_clips(curated.out))
    assert set() < after < before and len(after) == summary.clips["packed"]
    assert summary.clips["packed"] + summary.clips["dropped"] == CLIPS
    assert summary.teachers == []
    print(f"{len(after)} of {len(before)} clips are in the strict set")
    # For the tests that come after, and because there is a way back.
    run(load_recipe(RECIPE), source, str(curated.out), engine="inline", annotate=False, repack=True)
    assert set(packed_clips(curated.out)) == before


def test_copies_go_and_their_originals_stay(tmp_path: Path) -> None:
    """Two films, each with a copy that lost a border and was coded anew."""
    originals = []
    for seed in (901, 902):
        changes = {"seed": seed, "count": 2, "variants": ("duplicate",), "variant_share": 0.5}
        films = render(FILMS.model_copy(update=changes), tmp_path / "in", tmp_path / "truth")
        originals.append(films[0].path.name)
        for film in films:
            rows = [[s.brief[0], s.start_s, s.end_s] for s in film.truth.scenes]
            beside = film.path.with_suffix(".annotations.json")
            beside.write_text(json.dumps({film.truth.name: rows}))
    chain = tmp_path / "copies.yaml"
    chain.write_text(
        "recipe: 1\nname: copies\nstages: [probe_media, import_annotations: {layer: shots},"
        " sample_frames: {count: 4}, embed: {encoder: {model: embedded}}]"
        "\npack: {text: [caption]}\n"
    )
    run(load_recipe(chain), str(tmp_path / "in"), str(tmp_path / "out"), engine="inline")
    store = Store.open(str(tmp_path / "out"))
    near = {"threshold": 0.975}
    verdicts = decide(store, [Dedup(Near(**near))], "shots")
    rows = verdicts.table.to_pylist()
    dropped = Counter(row["video"] in originals for row in rows if not row["keep"])
    print(f"of 20 copies {dropped[False]} dropped, of 20 originals {dropped[True]}")
    assert len(rows) == 40 and dropped[False] >= 19 and dropped[True] <= 1
    inside = decide(store, [Dedup(Near(**near, within="video"))], "shots")
    assert inside.kept >= 38  # a copy is another video
