"""Every recipe of the family from films to shards: as its variant with the models that ship."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from defects import FILMS
from shards import packed_clips, texts

from clipmill.pipeline.engine.run import run
from clipmill.pipeline.output.decide import read_verdicts
from clipmill.pipeline.output.tables import read_table
from clipmill.pipeline.output.verify import verify
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.pipeline.store.store import Store
from clipmill.stages.compose.render_synthetic import RenderedVideo, render
from clipmill.stages.compose.truth import SceneTruth

torch = pytest.importorskip("torch", reason="needs the [models] extra")
pytest.importorskip("rapidocr", reason="needs the [ocr] extra")
pytestmark = [pytest.mark.models, pytest.mark.timeout(600)]

SHOTS = FILMS.model_copy(
    update={"seed": 77, "fps": 12, "min_scenes": 4, "max_scenes": 4, "min_seconds": 1.6,
            "max_seconds": 2.0}
)  # fmt: skip


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[RenderedVideo]:
    """A sound film, and one of the same length with a watermark."""
    torch.set_num_threads(1)
    plan = SHOTS.model_copy(update={"count": 2, "variants": ("watermark",), "variant_share": 0.5})
    folder = tmp_path_factory.mktemp("films")
    return render(plan, folder / "in", folder / "truth")


def curated(recipe: str, source: Path, out: Path, *sets: str, **more: Any) -> list[dict[str, Any]]:
    """Run a recipe, check its account, and return the facts of what it packed."""
    loaded = load_recipe(recipe, sets)
    summary = run(loaded, str(source), str(out), engine="inline", **more)
    store = Store.open(str(out))
    verdicts = read_verdicts(store)
    assert summary.ok and verify(store).ok and verdicts is not None
    layer = read_table(store, "segments")
    assert len(verdicts.table) == pc.sum(pc.equal(layer["layer"], loaded.pack.layer)).as_py()
    assert verdicts.kept + verdicts.reasons.total() == len(verdicts.table)
    clips = list(packed_clips(out).values())
    assert len(clips) == verdicts.kept > 0, verdicts.reasons
    return clips


def shown(clip: dict[str, Any], films: list[RenderedVideo]) -> SceneTruth:
    """The scene in the middle of a clip."""
    truth = {film.path.name: film.truth for film in films}[Path(clip["video"]["id"]).name]
    middle = (clip["span"]["start_s"] + clip["span"]["end_s"]) / 2
    return next(scene for scene in truth.scenes if scene.start_s <= middle < scene.end_s)


def colours_named(clips: list[dict[str, Any]], films: list[RenderedVideo]) -> float:
    """Share of clips whose text names the colour of what they show."""
    named = [shown(clip, films).things[0].colour in clip["said"].split() for clip in clips]
    return sum(named) / len(named)


def marked(clips: list[dict[str, Any]], films: list[RenderedVideo]) -> int:
    variants = {film.path.name: film.truth.variant for film in films}
    return sum(variants[clip["video"]["id"]] == "watermark" for clip in clips)


def source(films: list[RenderedVideo]) -> Path:
    return films[0].path.parent


def test_hd_vg_keeps_what_has_no_watermark_and_tells_it_in_a_sentence(
    films: list[RenderedVideo], tmp_path: Path
) -> None:
    clips = curated("generation/hd_vg_130m@embedded", source(films), tmp_path)
    assert marked(clips, films) == 0 and colours_named(clips, films) >= 0.75
    assert {"aesthetic", "alignment", "text_area", "motion"} <= set(clips[0]["scores"])
    subset = curated(
        "generation/hd_vg_130m@embedded", source(films), tmp_path,
        "decide.filter_scores-2.profile=subset", "profiles.subset.aesthetic.min=0",
        annotate=False, repack=True,
    )  # fmt: skip
    assert {clip["key"] for clip in subset} <= {clip["key"] for clip in clips}


def test_vimeo25m_takes_the_better_half_and_as_many_of_every_topic(
    films: list[RenderedVideo], tmp_path: Path
) -> None:
    clips = curated(
        "generation/vimeo25m@embedded", source(films), tmp_path,
        "decide.balance.per_label={topic: 1}", "profiles.whole.seconds.min=1",
        "decide.filter_scores-2.percentile.aesthetic.top_percent=75",
    )  # fmt: skip
    assert colours_named(clips, films) >= 0.75
    store = Store.open(str(tmp_path))
    [key] = [item.key for item in store.list("decisions/cluster_corpus-")]
    path = store.local_path(key)
    assert path is not None
    rows = pq.read_table(path).to_pylist()
    topics = {(row["video"], row["segment"]): row["label_topic"] for row in rows}
    kept = Counter(topics[clip["video"]["id"], clip["segment"]] for clip in clips)
    assert set(kept.values()) == {1} and set(kept) == set(topics.values())


def test_svd_tells_clips_twice_and_cuts_a_share_of_every_score(
    films: list[RenderedVideo], tmp_path: Path
) -> None:
    clips = curated("generation/svd@embedded", source(films), tmp_path)
    for clip in clips:
        assert texts(clip, "caption:frame") and clip["said"] == texts(clip, "caption:video")[0]
    half = "decide.filter_scores-2.percentile.motion.top_percent=50"
    fewer = curated("generation/svd@embedded", source(films), tmp_path, half, annotate=False,
                    repack=True)  # fmt: skip
    assert {clip["key"] for clip in fewer} < {clip["key"] for clip in clips}
    slowest = min(clip["scores"]["motion"] for clip in fewer)
    assert slowest > min(clip["scores"]["motion"] for clip in clips)


def test_openvid_keeps_clips_that_hold_together_and_tells_them(
    films: list[RenderedVideo], tmp_path: Path
) -> None:
    clips = curated("generation/openvid@embedded", source(films), tmp_path,
                    "profiles.steady.seconds.min=1")  # fmt: skip
    assert colours_named(clips, films) >= 0.7
    for clip in clips:
        assert 0.5 <= clip["scores"]["consistency"] <= 0.999
        assert 0.004 <= clip["scores"]["motion"] <= 0.3


def test_step_video_tightens_its_profile_without_a_model(
    films: list[RenderedVideo], tmp_path: Path
) -> None:
    recipe = "generation/step_video@embedded"
    early = curated(recipe, source(films), tmp_path)
    for clip in early:
        assert texts(clip, "caption:short") and texts(clip, "caption:dense")
        assert clip["labels"]["safety"] == "safe"
    stages = [early]
    for profile in ("middle", "late"):
        stages.append(
            curated(
                recipe, source(films), tmp_path, f"decide.filter_scores.profile={profile}",
                f"profiles.{profile}.seconds.min=1", f"profiles.{profile}.blur.max=0.8",
                f"profiles.{profile}.alignment.min=0.1", "profiles.late.aesthetic.min=0",
                "profiles.late.saturation={min: 0, max: 1}", "profiles.late.text_area.max=0.1",
                annotate=False, repack=True,
            )
        )  # fmt: skip
    keys = [{clip["key"] for clip in clips} for clips in stages]
    assert keys[2] <= keys[1] < keys[0]
    assert marked(stages[0], films) > 0 == marked(stages[1], films) == marked(stages[2], films)


def test_videoufo_keeps_clips_on_their_topic_and_drops_what_another_set_has(
    films: list[RenderedVideo], tmp_path: Path
) -> None:
    listed = tmp_path / "videos.csv"
    with listed.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "topic"])
        for film in films:  # found by what one of its scenes shows
            rows.writerow([film.path, film.truth.scenes[1].brief[0]])
    recipe, out = "generation/videoufo@embedded", tmp_path / "out"
    clips = curated(recipe, listed, out)
    assert Counter(shown(clip, films).index for clip in clips).most_common(1) == [(1, 2)]
    assert len(clips) <= 3
    assert all(texts(clip, "caption:brief") and clip["said"] for clip in clips)
    # One vector of its own as the set of another: what is there already goes.
    first = clips[0]
    [vectors] = (out / "tables" / "embeddings").glob("*.parquet")
    table = pq.read_table(vectors)
    other = tmp_path / "other.parquet"
    named = (pc.equal(table[name], value) for name, value in
             (("video", first["video"]["id"]), ("segment", first["segment"])))  # fmt: skip
    pq.write_table(table.filter(pc.and_(*named)), other)
    fewer = curated(recipe, listed, out, f"decide.dedup.reference={other}", annotate=False,
                    repack=True)  # fmt: skip
    gone = {clip["key"] for clip in clips} - {clip["key"] for clip in fewer}
    assert first["key"] in gone
    verdicts = read_verdicts(Store.open(str(out)))
    assert verdicts is not None
    assert verdicts.reasons["dedup", "near the reference set"] == len(gone)


def test_cfc_vids_goes_from_coarse_to_fine_and_parts_the_set(
    films: list[RenderedVideo], tmp_path: Path
) -> None:
    clips = curated("generation/cfc_vids@embedded", source(films), tmp_path)
    assert marked(clips, films) == 0 and colours_named(clips, films) >= 0.75
    for clip in clips:
        assert clip["labels"]["part"].startswith("stage_") and clip["scores"]["judged"] >= 0.5
    # The model was spared on what the scores had dropped.
    segments = read_table(Store.open(str(tmp_path)), "segments")
    asked = dict(
        zip(segments["video"].to_pylist(), segments["score_judged"].to_pylist(), strict=True)
    )
    assert [name for name, score in asked.items() if score is None] == [films[1].path.name]


def test_slowfast_keeps_windows_without_a_cut(films: list[RenderedVideo], tmp_path: Path) -> None:
    window = "stages.split_uniform.window_s=1.5"
    clips = curated("generation/slowfast_vgen@embedded", source(films), tmp_path, window)
    for clip in clips:
        scene = shown(clip, films)
        assert scene.start_s - 0.2 <= clip["span"]["start_s"]
        assert clip["span"]["end_s"] <= scene.end_s + 0.2
    segments = read_table(Store.open(str(tmp_path)), "segments")
    cuts = [n for n in segments["score_cuts"].to_pylist() if n is not None]
    assert 0 < sum(n > 0 for n in cuts) < len(cuts)


def test_videolq_finds_the_blurred_film_among_sharp_ones(
    films: list[RenderedVideo], tmp_path: Path
) -> None:
    import av
    import cv2

    from clipmill.stages.media.frames import scan
    from clipmill.stages.media.probe import probe
    from clipmill.stages.media.write import write_video

    folder = tmp_path / "in"
    folder.mkdir()
    for film in films:
        (folder / film.path.name).symlink_to(film.path)
    assert av.__version__
    pictures = [picture for _, picture in scan(films[0].path, probe(films[0].path))]
    soft = (cv2.GaussianBlur(picture, (0, 0), 2.5) for picture in pictures)
    write_video(folder / "soft.mp4", soft, SHOTS.fps)
    clips = curated("generation/videolq", folder, tmp_path / "out",
                    "profiles.low.seconds.min=1")  # fmt: skip
    # One of a video, and the most blurred clip of all is of the film that was blurred.
    assert len({clip["video"]["id"] for clip in clips}) == len(clips)
    worst = max(clips, key=lambda clip: clip["scores"]["blur"])
    assert worst["video"]["id"] == "soft.mp4"
