"""The registry: every operator file is found, users' stages travel, names are suggested."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import clipmill
from clipmill.pipeline.recipe.registry import load, load_stage, nearest, operators, providers
from clipmill.schemas.errors import RecipeError
from clipmill.stages.decision import Decision
from clipmill.stages.stage import Stage

STAGES = Path(str(clipmill.__file__)).parent / "stages"


@pytest.mark.parametrize("name", sorted(operators()))
def test_an_operator_has_its_file_s_name_and_a_docstring(name: str) -> None:
    entry = operators()[name]
    kind = load(name)
    assert issubclass(kind, Stage | Decision)
    assert kind.name() == name == entry.path.stem
    assert entry.summary() == (kind.__doc__ or "").strip().split("\n")[0] != ""
    # Settings without a docstring would leave a hole in help and in the schema.
    assert all(field.description for field in kind.Settings.model_fields.values())


def test_helpers_of_stages_are_no_operators() -> None:
    assert {"describe_clip", "filter_scores"} <= operators().keys()
    assert not {"camera", "light", "stage", "decision", "teacher", "ingest_video"} & set(
        operators()
    )


def test_listing_operators_imports_none_of_them() -> None:
    code = (
        "import sys; from clipmill.pipeline.recipe.registry import operators; assert operators(); "
        "bad = [m for m in sys.modules if m in ('torch', 'ray', 'cv2', 'av') "
        "or m.startswith('clipmill.stages.') and m.split('.')[2] not in ('stage', 'decision')]; "
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_misspelt_operator_gets_the_nearest_name() -> None:
    with pytest.raises(RecipeError) as caught:
        load("descibe_clip")
    assert caught.value.cure == "did you mean 'describe_clip'?"


def test_a_decision_is_no_stage() -> None:
    with pytest.raises(RecipeError, match="is a decision"):
        load_stage("filter_scores")


def test_providers_are_found_by_token_also_where_a_setting_names_it() -> None:
    assert providers("scores:motion") == ["describe_clip"]
    assert providers("embeddings:clip") == ["embed"]
    assert "embed" in providers("embeddings:other")
    assert providers("nothing:like_this") == []


def test_nearest_lists_everything_where_nothing_is_near() -> None:
    assert nearest("zzz", ["b", "a"]) == "valid here: a, b"
    assert nearest("zzz", ["b", "a"], "look there") == "look there"


OWN = """\
from clipmill import Part, Stage, StageSettings
from near_by import double

class Settings(StageSettings):
    sigma: float = 1.0

class Blur(Stage[Settings]):
    provides = {"scores:blur"}

    def process(self, part: Part) -> Part:
        for segment in part.video.segments:
            segment.scores["blur"] = double(self.settings.sigma)
        return part
"""


def test_a_stage_of_ones_own_works_in_a_process_that_cannot_import_it(tmp_path: Path) -> None:
    (tmp_path / "near_by.py").write_text("def double(x):\n    return 2 * x\n")
    (tmp_path / "score_blur.py").write_text(OWN)
    kind = load(f"{tmp_path}/score_blur.py:Blur")
    assert kind is load(f"{tmp_path}/score_blur.py")
    assert kind.name() == "score_blur"
    from ray import cloudpickle

    (tmp_path / "stage.pickle").write_bytes(cloudpickle.dumps(kind(kind.Settings(sigma=4))))
    code = (
        "import pickle, sys\n"
        "from clipmill import Part, Segment, Span, Video\n"
        "stage = pickle.load(open(sys.argv[1], 'rb'))\n"
        "segment = Segment('s', 'shots', Span.of_seconds(0, 1))\n"
        "part = stage.process(Part(Video('v', 'v', segments=[segment])))\n"
        "print(part.video.segments[0].scores['blur'], stage.name())\n"
    )
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "stage.pickle"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == ["8.0", "score_blur"]


def test_two_files_of_one_name_are_two_operators(tmp_path: Path) -> None:
    for folder, sigma in (("a", 1.0), ("b", 2.0)):
        (tmp_path / folder).mkdir()
        text = OWN.replace("from near_by import double\n", "").replace("1.0", str(sigma))
        (tmp_path / folder / "score_blur.py").write_text(text)
    one, other = (load(f"{tmp_path}/{folder}/score_blur.py") for folder in "ab")
    assert one.Settings().model_dump() == {"sigma": 1.0}
    assert other.Settings().model_dump() == {"sigma": 2.0}


def test_clipmill_s_own_stages_travel_by_reference() -> None:
    assert len(pickle.dumps(load("describe_clip"))) < 200


@pytest.mark.parametrize(
    ("text", "spec", "message"),
    [
        ("import no_such_module_at_all\n", "own.py", "cannot be imported"),
        ("def broken(:\n", "own.py", "cannot be imported"),
        ("x = 1\n", "own.py", "defines 0 operators"),
        (OWN.replace("from near_by import double\n", ""), "own.py:Blurr", "no Stage or Decision"),
    ],
)
def test_a_bad_file_of_ones_own_is_refused_with_its_reason(
    tmp_path: Path, text: str, spec: str, message: str
) -> None:
    (tmp_path / "own.py").write_text(text)
    with pytest.raises(RecipeError, match=message) as caught:
        load(f"{tmp_path}/{spec}")
    assert caught.value.cure


def test_a_module_is_loaded_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "near_by.py").write_text("def double(x):\n    return 2 * x\n")
    (tmp_path / "blur_by_module.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    assert load("blur_by_module:Blur").name() == "blur_by_module"
    with pytest.raises(RecipeError, match="cannot be imported"):
        load("no_such_module_here:Blur")
