"""Lint: a chain is refused for what it lacks, and only for that."""

from __future__ import annotations

from typing import Any

import pytest

from clipmill.pipeline.recipe.lint import lint
from clipmill.pipeline.recipe.recipe import Recipe, load_resolved
from clipmill.schemas.errors import RecipeError

OWN = """\
from clipmill import Stage, StageSettings

class Settings(StageSettings):
    reads: list[str] = []
    adds: list[str] = []
    package: str = ""

class Own(Stage[Settings]):
    unit = "part"

    def reads(self):
        return frozenset(self.settings.reads)

    def adds(self):
        return frozenset(self.settings.adds)

    def requires(self):
        return {self.settings.package: "models"} if self.settings.package else {}
"""


@pytest.fixture
def chain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Builds a recipe of stages that read and add what the test says."""
    path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(OWN)

    def build(*entries: dict[str, Any], **blocks: Any) -> Recipe:
        stages = [
            {
                str(path): {k: v for k, v in entry.items() if k in ("reads", "adds", "package")},
                **{k: v for k, v in entry.items() if k not in ("reads", "adds", "package")},
            }
            for entry in entries
        ]
        pack = {"layer": "shots", "text": ["caption"]}
        return load_resolved(
            {"recipe": 1, "name": "x", "stages": stages, "pack": pack, **blocks}, "here"
        )

    return build


WHOLE = {"adds": ["segments:shots", "texts:caption", "scores:motion"]}


def messages(errors: list[RecipeError]) -> list[str]:
    return [f"{error.key}: {error.message} / {error.cure}" for error in errors]


def test_a_chain_in_which_everything_is_provided_is_accepted(chain: Any) -> None:
    assert messages(lint(chain(WHOLE, {"reads": ["scores:motion"]}))) == []


def test_every_problem_is_reported_at_once(chain: Any) -> None:
    found = lint(chain({"reads": ["probe", "frames"]}, {"package": "no_such_package_here"}))
    assert len(found) == 5  # two needs, the layer, the text, the package


def test_a_need_of_a_stage_before_its_provider_names_the_provider(chain: Any) -> None:
    (error,) = lint(chain({"reads": ["scores:motion"], "name": "first"}, {**WHOLE, "name": "late"}))
    assert "first needs scores:motion" in error.message
    assert error.cure == "move late up, it provides scores:motion"


def test_a_need_that_an_installed_operator_provides_names_it(chain: Any) -> None:
    (error,) = lint(chain(WHOLE, {"reads": ["labels:camera"]}))
    assert error.cure == "add describe_clip before it"


def test_a_misspelt_token_gets_the_nearest_that_is_made(chain: Any) -> None:
    (error,) = lint(chain(WHOLE, {"reads": ["segments:shoots"]}))
    assert error.cure == "did you mean 'segments:shots'?"


@pytest.mark.parametrize("token", ["scores:a", "labels:a", "embeddings:a", "segments:a"])
def test_what_has_one_provider_may_not_have_two(chain: Any, token: str) -> None:
    (error,) = lint(chain(WHOLE, {"adds": [token], "name": "a"}, {"adds": [token], "name": "b"}))
    assert error.message == f"b provides {token}, which a has provided"


@pytest.mark.parametrize("token", ["texts:a", "samples:a", "transcripts"])
def test_texts_and_samples_may_have_many_providers(chain: Any, token: str) -> None:
    assert lint(chain(WHOLE, {"adds": [token]}, {"adds": [token]})) == []


def test_a_profile_may_judge_only_what_is_known_by_then(chain: Any) -> None:
    profiles = {"fast": {"motion": {"min": 1}, "seconds": {"min": 2}}}
    (error,) = lint(chain({"when": "fast"}, WHOLE, profiles=profiles))
    assert error.key == "stages[0].when"
    assert "profile 'fast' judges scores:motion" in error.message
    assert lint(chain(WHOLE, {"when": "fast"}, profiles=profiles)) == []


def test_a_decision_may_read_only_what_some_stage_makes(chain: Any) -> None:
    decide = [{"filter_scores": {"profile": {"beauty": {"min": 1}}}}]
    (error,) = lint(chain(WHOLE, decide=decide))
    assert error.key == "decide[0].filter_scores"
    assert "scores:beauty" in error.message


def test_the_packed_layer_texts_and_embedding_must_be_made(chain: Any) -> None:
    pack = {"layer": "shot", "text": ["captions", "caption"], "embedding": "clip"}
    found = messages(lint(chain(WHOLE, pack=pack)))
    assert [text.split(":")[0] for text in found] == [
        "pack.layer",
        "pack.text[0]",
        "pack.embedding",
    ]
    assert "did you mean 'shots'?" in found[0]
    assert "did you mean 'caption'?" in found[1]


def test_of_the_default_texts_one_is_enough(chain: Any) -> None:
    assert lint(chain(WHOLE, pack={})) == []
    (error,) = lint(chain({"adds": ["segments:shots", "texts:other"]}, pack={}))
    assert error.key == "pack.text"


def test_a_missing_package_names_the_extra_that_installs_it(chain: Any) -> None:
    (error,) = lint(chain(WHOLE, {"package": "no_such_package_here"}))
    assert error.cure == "pip install 'clipmill[models]'"
    assert lint(chain(WHOLE, {"package": "json"})) == []
    assert lint(chain(WHOLE, {"package": "no_such.sub_package"})) != []


def test_packages_of_another_environment_are_not_looked_for_here(chain: Any) -> None:
    assert lint(chain(WHOLE, {"package": "no_such_package_here", "env": "whisperx"})) == []


@pytest.mark.parametrize(
    ("resources", "bad"),
    [
        ({"cpus": 3}, ["cpus"]),
        ({"gpus": 0.5}, ["gpus"]),
        ({"memory_gb": 9}, ["memory_gb"]),
        ({"cpus": 2, "memory_gb": 8}, []),
    ],
)
def test_what_no_machine_offers_cannot_be_asked_for(
    chain: Any, resources: dict[str, float], bad: list[str]
) -> None:
    recipe = chain(WHOLE, {"resources": resources, "name": "big"})
    assert lint(recipe) == []
    errors = lint(recipe, cluster={"CPU": 2, "memory": 8e9})
    assert [error.key for error in errors] == [f"stages[1].resources.{key}" for key in bad]
    assert all("--set stages.big.resources." in error.cure for error in errors)
