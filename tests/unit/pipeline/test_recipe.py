"""Recipes: what is loaded is what was written, on top of what it extends, with changes applied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from clipmill.pipeline.recipe.lint import lint
from clipmill.pipeline.recipe.recipe import load_recipe, load_resolved
from clipmill.pipeline.recipe.recipe_file import builtin_recipes, read_recipe
from clipmill.pipeline.recipe.yaml_places import MAX_BYTES, Place, plain, read_text
from clipmill.schemas.errors import RecipeError
from clipmill.stages.stage import Resources

BASE = """\
recipe: 1
name: base
about: the base
stages:
  - describe_clip: {fps: 4}
    when: usable
    resources: {cpus: 2}
  - score_alignment
  - score_alignment: {name: again, pooling: max}
    actors: [1, 8]
    commit: true
profiles:
  usable: {motion: {min: 0.002}, camera: {in: [static, pan]}}
decide:
  - filter_scores: {profile: usable}
engine: {attempts: 3}
"""


def written(folder: Path, text: str, name: str = "recipe.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_what_is_written_is_loaded_with_its_types(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, BASE))
    first, second, third = recipe.stages
    assert [entry.name for entry in recipe.stages] == [
        "describe_clip",
        "score_alignment",
        "score_alignment-2",
    ]
    assert first.stage.settings.fps == 4
    assert first.when == recipe.profiles["usable"]
    assert first.resources == Resources(cpus=2)
    assert (first.line, second.line, third.line) == (5, 8, 9)
    assert third.actors == (1, 8)
    assert third.commit
    assert second.actors is None and not second.commit
    assert recipe.engine.attempts == 3
    assert recipe.decide[0].settings.profile == recipe.profiles["usable"]
    assert recipe.decide[0].reads() == {"scores:motion", "labels:camera"}


def test_maps_merge_deeply_and_lists_are_replaced_whole(tmp_path: Path) -> None:
    written(tmp_path, BASE, "base.yaml")
    child = load_recipe(
        written(
            tmp_path,
            "recipe: 1\nname: child\nextends: base.yaml\n"
            "stages: [describe_clip]\nprofiles: {usable: {motion: {max: 0.5}}}\n",
        )
    )
    assert child.name == "child"
    assert child.about == "the base"
    assert [entry.name for entry in child.stages] == ["describe_clip"]
    motion = child.profiles["usable"].rules["motion"]
    assert (motion.min, motion.max) == (0.002, 0.5)
    assert "camera" in child.profiles["usable"].rules


def test_an_error_in_the_base_names_the_file_of_the_base(tmp_path: Path) -> None:
    base = written(tmp_path, BASE.replace("fps: 4", "fsp: 4"), "base.yaml")
    child = written(tmp_path, "recipe: 1\nname: child\nextends: base.yaml\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(child)
    assert (caught.value.file, caught.value.line) == (str(base), 5)


def test_set_finds_an_entry_by_its_name(tmp_path: Path) -> None:
    recipe = load_recipe(
        written(tmp_path, BASE),
        [
            "stages.describe_clip.fps=12.5",
            "stages.score_alignment-2.name=third",
            "stages.score_alignment.resources.gpus=0.5",
            "stages.score_alignment.when=usable",
            "profiles.usable.motion.min=0.1",
            "decide.filter_scores.top_k={by: motion, count: 5}",
            "engine.max_segments=7",
            "about=two words",
        ],
    )
    first, second, third = recipe.stages
    assert first.stage.settings.fps == 12.5
    # Where a setting of the stage and a key of the engine share a name, the setting is meant.
    assert third.stage.settings.name == "third"
    assert third.name == "score_alignment-2"
    assert second.resources.gpus == 0.5
    assert second.when is not None and second.when.rules["motion"].min == 0.1
    assert recipe.decide[0].settings.top_k.count == 5
    assert recipe.engine.max_segments == 7
    assert recipe.about == "two words"


@pytest.mark.parametrize(
    ("change", "message", "cure"),
    [
        ("stages.describe_clip.fsp=4", "has no setting 'fsp'", "did you mean 'fps'?"),
        ("stages.describe_cilp.fps=4", "there is no entry", "did you mean 'describe_clip'?"),
        ("stages.describe_clip=4", "set entry by entry", "stages.NAME.key"),
        ("engin.attempts=4", "there is no 'engin'", "did you mean 'engine'?"),
        ("engine.attempts=many", '"many"', "attempts: How often"),
        ("engine.attempts", "changes nothing", "--set key.of.value=VALUE"),
        ("about.more=4", "this is not a map", "set it as a whole"),
        ("about=!!python/name:os.system", "is not allowed", "write a plain value"),
    ],
)
def test_a_wrong_set_is_refused_by_name(
    tmp_path: Path, change: str, message: str, cure: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(written(tmp_path, BASE), [change])
    assert message in caught.value.message
    assert cure in caught.value.cure
    assert (caught.value.file or "").startswith("--set")


def test_a_recipe_can_change_one_value_of_what_it_extends(tmp_path: Path) -> None:
    written(tmp_path, BASE, "base.yaml")
    child = written(
        tmp_path,
        "recipe: 1\nname: child\nextends: base.yaml\nset:\n  stages.describe_clip.fps: 9\n",
    )
    assert load_recipe(child).stages[0].stage.settings.fps == 9
    assert load_recipe(child, ["stages.describe_clip.fps=10"]).stages[0].stage.settings.fps == 10


VARIED = """\
recipe: 1
name: varied
extends: recipe.yaml
variants:
  small:
    stages.score_alignment.encoder.model: embedded
    engine.attempts: 1
"""


def test_a_variant_is_a_set_of_changes_by_name(tmp_path: Path) -> None:
    written(tmp_path, BASE)
    path = written(tmp_path, VARIED, "varied.yaml")
    plain = ["stages.score_alignment.encoder.model=embedded", "engine.attempts=1"]
    varied = load_recipe(f"{path}@small")
    assert varied.resolved == load_recipe(path, plain).resolved != load_recipe(path).resolved
    assert varied.stages[1].stage.settings.encoder.model == "embedded"
    assert varied.stages[2].stage.settings.encoder.model != "embedded"
    assert load_recipe(f"{path}@small", ["engine.attempts=9"]).engine.attempts == 9


def test_what_extends_a_recipe_has_its_variants_and_may_build_on_one(tmp_path: Path) -> None:
    written(tmp_path, BASE)
    written(tmp_path, VARIED, "varied.yaml")
    extends = "recipe: 1\nname: third\nextends: varied.yaml\n"
    heir = written(tmp_path, extends, "heir.yaml")
    assert load_recipe(f"{heir}@small").stages[1].stage.settings.encoder.model == "embedded"
    # Written again it is another one: a list of stages of its own may lack those changed below.
    more = written(tmp_path, f"{extends}variants: {{small: {{engine.attempts: 7}}}}\n", "more.yaml")
    assert load_recipe(f"{more}@small").engine.attempts == 7
    assert load_recipe(f"{more}@small").stages[1].stage.settings.encoder.model != "embedded"
    on_top = written(tmp_path, extends.replace("varied.yaml", "varied.yaml@small"), "top.yaml")
    assert load_recipe(on_top).engine.attempts == 1


def test_an_unknown_variant_and_a_change_of_nothing_name_their_place(tmp_path: Path) -> None:
    base = written(tmp_path, BASE)
    path = written(tmp_path, VARIED, "varied.yaml")
    with pytest.raises(RecipeError, match=r"(?s)no variant 'smal'.*write one of: small") as wrong:
        load_recipe(f"{path}@smal")
    assert (wrong.value.file, wrong.value.line) == (str(path), 4)
    with pytest.raises(RecipeError, match=r"(?s)no variant 'small'.*leave out the @"):
        load_recipe(f"{base}@small")
    path.write_text(VARIED.replace("score_alignment.encoder", "score_alinment.encoder"))
    load_recipe(path)
    with pytest.raises(RecipeError, match="did you mean 'score_alignment'") as wrong:
        load_recipe(f"{path}@small")
    assert wrong.value.line == 6


def test_every_variant_that_comes_with_clipmill_can_run() -> None:
    for name in builtin_recipes():
        for variant in read_recipe(name)[1].root.get("variants") or ():
            assert lint(load_recipe(f"{name}@{variant}")) == []


def test_a_stage_of_ones_own_is_found_from_the_folder_of_its_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / "mine").mkdir(parents=True)
    (home / "mine" / "score_blur.py").write_text(
        "from clipmill import Part, Stage, StageSettings\n"
        "class Settings(StageSettings):\n    sigma: float = 1.0\n"
        "class Blur(Stage[Settings]):\n    provides = {'scores:blur'}\n"
        "    def process(self, part: Part) -> Part:\n        return part\n"
    )
    text = "recipe: 1\nname: own\nstages:\n  - mine/score_blur.py:Blur: {sigma: 3}\n"
    written(home, text, "base.yaml")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    child = written(elsewhere, "recipe: 1\nname: child\nextends: ../home/base.yaml\n")
    for recipe in (load_recipe(home / "base.yaml"), load_recipe(child)):
        (entry,) = recipe.stages
        assert entry.name == "score_blur"
        assert entry.stage.name() == "score_blur"
        assert entry.stage.settings.sigma == 3
        assert entry.stage.adds() == {"scores:blur"}
    with pytest.raises(RecipeError, match="unknown key") as caught:
        load_recipe(written(home, text.replace("sigma", "sgma")))
    assert caught.value.line == 4
    assert caught.value.cure == "did you mean 'sigma'?"


def test_a_profile_changed_in_a_resolved_recipe_changes_what_is_decided(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, BASE))
    changed = load_resolved(recipe.resolved, "out", ["profiles.usable.motion.min=0.5"])
    assert changed.decide[0].settings.profile.rules["motion"].min == 0.5
    assert changed.stages[0].when == changed.profiles["usable"]
    assert changed.decide[0].fingerprint() != recipe.decide[0].fingerprint()
    resolved = dict(recipe.resolved, profiles={**recipe.resolved["profiles"], "any": {}})
    other = load_resolved(resolved, "out", ["decide.filter_scores.profile=any"])
    assert other.decide[0].settings.profile_name == "any"
    assert other.decide[0].settings.profile.rules == {}


NAMES = st.text("abcdefgh", min_size=1, max_size=6)
NUMBERS = st.floats(0, 100, allow_nan=False) | st.integers(0, 100)
BOUNDS = st.fixed_dictionaries({"min": NUMBERS}) | st.fixed_dictionaries({"max": NUMBERS})
WORDS = st.fixed_dictionaries({"in": st.lists(NAMES, min_size=1, max_size=3)})
PROFILES = st.dictionaries(NAMES, st.dictionaries(NAMES, BOUNDS | WORDS), min_size=1, max_size=3)


@st.composite
def recipes(draw: st.DrawFn) -> dict[str, Any]:
    profiles = draw(PROFILES)
    profile = st.sampled_from(sorted(profiles))
    stages: list[Any] = []
    for number in range(draw(st.integers(1, 4))):
        entry: dict[str, Any] = draw(
            st.sampled_from([{"describe_clip": {"fps": 2}}, {"score_alignment": None}])
        )
        more = st.fixed_dictionaries(
            {},
            optional={
                "name": st.just(f"entry-{number}"),
                "when": profile,
                "actors": st.integers(1, 9) | st.just([1, 3]),
                "commit": st.booleans(),
                "env": NAMES,
                "resources": st.fixed_dictionaries({}, optional={"cpus": NUMBERS, "gpus": NUMBERS}),
            },
        )
        stages.append({**entry, **draw(more)})
    return {
        "recipe": 1,
        "name": draw(NAMES),
        "about": draw(st.text(st.characters(codec="utf-8", categories=("L", "N")), max_size=20)),
        "stages": stages,
        "profiles": profiles,
        "decide": draw(st.lists(st.builds(lambda p: {"filter_scores": {"profile": p}}, profile))),
        "engine": draw(st.fixed_dictionaries({}, optional={"attempts": st.integers(1, 20)})),
    }


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(recipes())
def test_a_resolved_recipe_loads_to_itself(
    tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any]
) -> None:
    recipe = load_resolved(value, "drawn")
    again = load_resolved(recipe.resolved, "again")
    path = tmp_path_factory.mktemp("recipe") / "resolved.yaml"
    with path.open("w") as file:
        YAML().dump(recipe.resolved, file)
    from_file = load_recipe(path)
    for other in (again, from_file):
        assert other.resolved == recipe.resolved
        assert other.profiles == recipe.profiles
        assert [e.stage.fingerprint() for e in other.stages] == [
            e.stage.fingerprint() for e in recipe.stages
        ]
        assert [d.fingerprint() for d in other.decide] == [d.fingerprint() for d in recipe.decide]
        assert [(e.name, e.resources, e.actors, e.when) for e in other.stages] == [
            (e.name, e.resources, e.actors, e.when) for e in recipe.stages
        ]
        assert len(lint(other)) == len(lint(recipe))


# YAML folds Unicode's own line breaks into spaces when it is read; nobody's recipe means them.
TEXT = st.text(st.characters(exclude_characters="\x85\u2028\u2029"), max_size=8)


@settings(max_examples=60)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | TEXT | NUMBERS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=12,
    )
)
def test_yaml_values_come_back_as_they_were_and_all_have_a_place(value: Any) -> None:
    from io import StringIO

    stream = StringIO()
    YAML(typ="safe", pure=True).dump({"top": value}, stream)
    document = read_text(stream.getvalue(), "x.yaml")
    assert document.root == {"top": value}
    assert all(isinstance(place.line, int) for place in document.places.values())


def test_a_merged_document_keeps_the_place_of_every_value() -> None:
    base = read_text("a: {x: 1, y: 2}\nb: [1, 2]\nc: {d: 1}\n", "base")
    base.merge(read_text("a:\n  y: 3\nb: [4]\nc: 5\n", "child"))
    assert base.root == {"a": {"x": 1, "y": 3}, "b": [4], "c": 5}
    assert base.place(("a", "x")) == Place("base", 1)
    assert base.place(("a", "y")) == Place("child", 2)
    assert base.place(("b", 0)) == Place("child", 3)
    assert base.place(("c", "d")) == Place("child", 4)


def test_a_value_set_below_a_missing_map_makes_the_map() -> None:
    document = plain({"a": None}, "here")
    document.put(("a", "b", "c"), 1, Place("there"))
    assert document.root == {"a": {"b": {"c": 1}}}
    assert document.place(("a", "b", "c", "d")) == Place("there")
    assert document.place(("a", "z")) == Place("here")


@pytest.mark.parametrize(
    "text",
    ["[" * 5000, "a: &a [*a]", "a: \x00", "- 1\n--- \n- 2", "", "a: 1" + "0" * 5000, "? {a: 1}\n"],
    ids=["deep", "endless", "nul", "two", "empty", "digits", "key"],
)
def test_hostile_yaml_is_refused_and_never_crashes(text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read_text(text, "x.yaml")
    assert caught.value.file == "x.yaml"
    assert caught.value.cure


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path, "#" * (MAX_BYTES + 1))
    with pytest.raises(RecipeError, match="larger than 1 MB"):
        load_recipe(path)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="not UTF-8"):
        load_recipe(path)
