"""A whole selfcheck on three short films: honest bars hold, and fall with a truth that is not."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clipmill.pipeline.cli.app import app
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.pipeline.selfcheck.check import Checked, footage, measure, read_cases, selfcheck
from clipmill.pipeline.selfcheck.figures import Figure
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import InputError
from clipmill.stages.compose.scenes import Settings
from clipmill.stages.compose.truth import Truth

pytest.importorskip("pocketsphinx", reason="speech is read by it; install the extra [speech]")
pytest.importorskip("rapidocr", reason="screen text is read by it; install the extra [ocr]")
pytest.importorskip("torch", reason="captions are written by models; install [models]")

pytestmark = pytest.mark.timeout(900)

# This seed was chosen for what it plans, before anything was measured on it: five cuts, a dissolve,
# three flashes, four words on the screen, pans and a zoom. It plans no whip pan, because the
# detector is known to take some of them for dissolves; `clipmill selfcheck` shows how many.
FILMS = Settings(
    count=3,
    seed=22,
    min_scenes=2,
    max_scenes=3,
    min_seconds=3.0,
    max_seconds=3.2,
    gradual=0.4,
    upsets=0.6,
    words=0.5,
    fillers=0.0,
)
CAPTIONED, SCRAMBLED, LATE = footage(2)[1:]
# Scrambled pixels keep their mean and spread, which tell a little: too few clips scatter too much.
NOISE = SCRAMBLED.model_copy(update={"count": 6})
PLAN = [FILMS, CAPTIONED.model_copy(update={"count": 10}), NOISE, LATE]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("selfcheck")


@pytest.fixture(scope="module")
def checked(folder: Path) -> Checked:
    return selfcheck(load_recipe("core/selfcheck"), folder, PLAN, engine="inline")


def value(found: list[Figure], name: str) -> float:
    (figure,) = [figure for figure in found if name in figure.name]
    assert figure.value is not None, figure
    return figure.value


def test_the_run_comes_through_and_the_bars_hold(checked: Checked) -> None:
    assert checked.summary.ok
    assert sum(checked.summary.inputs.values()) == sum(plan.count for plan in PLAN)
    for name, least in (
        ("hard cuts", 0.99),
        ("dissolves", 0.9),
        ("flashes", 0.95),
        ("with their own shot", 0.9),
        ("camera", 0.6),
        ("colour named", 0.5),
        ("screen read", 0.7),
        ("false text", 0.7),
        ("object right", 0.8),
        ("colour right", 0.9),
        ("motion right", 0.8),
        ("background right", 0.9),
        ("that of another", 1.0),
        ("above another scene's caption", 0.98),
        ("above wrong object caption", 0.9),
        ("above wrong colour caption", 0.9),
        ("above wrong background caption", 0.9),
        ("schema", 1.0),
    ):
        assert value(checked.figures, name) >= least, name
    for stage in ("template_qa", "text_qa"):
        asked = [figure for figure in checked.figures if figure.stage == stage]
        assert value(asked, "answers right") >= 0.8 and value(asked, "evidence") >= 0.9
    for stage, least in (("filter", 8), ("judge", 3)):
        planted = [figure for figure in checked.figures if figure.stage == stage]
        assert sum(figure.count for figure in planted) >= least
        assert all(figure.value is None or figure.value >= 0.75 for figure in planted), planted
    written = [figure for figure in checked.figures if figure.stage == "write_events"]
    assert all(figure.value is None or figure.value >= 0.6 for figure in written), written
    assert checked.timed and any(own.seen_s is not None for own in checked.timed)
    (noise,) = [figure for figure in checked.figures if "scrambled" in figure.name]
    assert noise.met
    assert value(checked.figures, "moved error / spoken error") <= 0.5
    assert value(checked.figures, "error rate") <= 0.15
    assert value(checked.figures, "word starts") <= 0.1
    (words,) = [figure for figure in checked.figures if figure.stage == "assign_speech"]
    assert words.value is not None and words.value >= words.ceiling - 0.05


def test_nothing_the_run_wrote_knows_the_truth_or_the_real_names(
    folder: Path, checked: Checked
) -> None:
    given = sorted(path.name for path in (folder / "footage").glob("*.mp4"))
    assert all(re.fullmatch(r"[0-9a-f]{12}\.mp4", name) for name in given)
    assert len(given) == sum(plan.count for plan in PLAN)
    assert not list(folder.rglob("studio"))
    names = [Truth.load(path).name.encode() for path in (folder / "truth").iterdir()]
    for path in [path for path in (folder / "out").rglob("*") if path.is_file()]:
        data = path.read_bytes()
        assert not any(name in data for name in names), path
        assert b"truth" not in data, path


def test_the_same_records_beside_another_films_truth_are_wrong(
    folder: Path, checked: Checked
) -> None:
    store = Store.open(str(folder / "out"))
    cases = read_cases(store, folder / "truth", "shots")
    truths = [case.truth for case in cases]
    swapped = [
        replace(case, truth=truth)
        for case, truth in zip(cases, [*truths[1:], truths[0]], strict=True)
    ]
    found = measure(swapped, store)
    assert value(found, "hard cuts") < 0.5
    assert value(found, "with their own shot") < 0.5
    assert value(found, "error rate") > 0.5
    assert value(found, "on the right scene") < 0.2
    assert value(found, "screen read") < 0.3


def test_the_command_prints_the_same_figures_without_working_again(
    folder: Path, checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipmill.pipeline.selfcheck.check.footage", lambda videos, seed: PLAN)
    arguments = ["selfcheck", str(folder), "--recipe", "core/selfcheck", "--engine", "inline"]
    printed = CliRunner().invoke(app, [*arguments, "--json"])
    told = json.loads(printed.stdout)
    assert printed.exit_code == (0 if told["ok"] else 1)
    assert told["ok"] == checked.ok
    assert told["run"]["seconds"] < checked.summary.seconds / 3
    assert [(f["name"], f["value"]) for f in told["figures"]] == [
        (figure.name, figure.value) for figure in checked.figures
    ]
    table = CliRunner().invoke(app, arguments).stdout
    assert "word error rate" in table and "(AUC)" in table


def test_captions_that_come_with_videos_reach_only_a_recipe_that_reads_them(
    folder: Path, checked: Checked, tmp_path: Path
) -> None:
    file = tmp_path / "given.yaml"
    file.write_text(
        "{recipe: 1, name: given, about: x, stages: [probe_media, split_shots, given_caption]}"
    )
    small = {"count": 2, "width": 64, "height": 48, "variants": ("wrong_caption",)}
    films = [
        CAPTIONED.model_copy(update=small),
        SCRAMBLED.model_copy(update={"count": 1, "width": 64, "height": 48}),
        FILMS.model_copy(update={"count": 1, "width": 64, "height": 48}),
    ]
    given = selfcheck(load_recipe(file), tmp_path / "check", films, engine="inline")
    cases = read_cases(Store.open(given.summary.out), tmp_path / "check" / "truth", "shots")
    known = sorted(case.truth.variant for case in cases)
    assert known == ["clean", "clean", "scrambled", "wrong_caption"]
    for case in cases:
        if case.truth.variant == "scrambled" or len(case.truth.scenes) > 1:
            assert not any(shot.texts_of("given") for shot in case.shots)
            continue
        told = {text.text for shot in case.shots for text in shot.texts_of("given")}
        assert told == {case.truth.given_caption}
        right = case.truth.given_caption in case.truth.scenes[0].brief
        assert right == (case.truth.variant == "clean")
    assert {f.note for f in given.figures if f.stage == "filter"} == {"not in this recipe"}


def test_a_folder_with_something_else_is_left_alone(folder: Path, checked: Checked) -> None:
    recipe = load_recipe("core/selfcheck")
    with pytest.raises(InputError, match="something else"):
        selfcheck(recipe, folder, [FILMS.model_copy(update={"seed": 23})], engine="inline")
    assert len(list((folder / "footage").glob("*.mp4"))) == sum(plan.count for plan in PLAN)
