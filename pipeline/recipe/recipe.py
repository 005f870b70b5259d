"""Recipes: YAML in, a typed and frozen chain of stages out, or an error that names the place.

    recipe: 1
    name: footage
    extends: core/base            # or a path; maps merge deeply, lists are replaced whole
    set: {stages.split_shots.min_seconds: 1}     # as `--set` on the command line
    variants: {tiny: {stages.embed.encoder.model: embedded}}    # such changes by name: footage@tiny
    input: {pattern: "**/*.mp4"}
    compose: {needles: {take: needles, count: 4}}   # videos made of the inputs, if any
    stages:
      - probe_media
      - split_shots: {detector: adaptive}
        resources: {cpus: 2}
    profiles: {usable: {motion: {min: 0.002}}}
    decide: [filter_scores: {profile: usable}]
    pack: {layer: shots, text: [caption, asr]}
    engine: {max_segments: 64}

Everything is checked by type while loading, so what is loaded can be run; whether the chain makes
sense as a chain is `pipeline.recipe.lint`'s question.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from clipmill.pipeline.engine.spending import Budget
from clipmill.pipeline.output.pack_settings import PackSettings
from clipmill.pipeline.recipe.recipe_file import (
    FORMAT,
    NAME,
    apply_sets,
    entry_names,
    expect,
    placed,
    read_recipe,
)
from clipmill.pipeline.recipe.registry import load_decision, load_stage, nearest
from clipmill.pipeline.recipe.typed_settings import find, models_in, validated
from clipmill.pipeline.recipe.yaml_places import Document, Keys, plain
from clipmill.schemas.profiles import Profile
from clipmill.stages.compose.arrangements import Arrangement
from clipmill.stages.decision import Decision
from clipmill.stages.source.ingest_video import Settings as IngestSettings
from clipmill.stages.stage import Resources, Stage, StageSettings


class EngineSettings(BaseModel):
    """How a run divides and repeats work."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    max_segments: int = Field(default=64, ge=1, le=10_000)
    """Segments in one part, the unit that is worked on and committed."""
    max_part_mb: int = Field(default=256, ge=1)
    """Megabytes of frames and sound one part may carry between stages."""
    attempts: int = Field(default=2, ge=1, le=20)
    """How often a part may crash or hang before its input is quarantined."""
    budget: Budget = Budget()
    """What the teachers of one run may use. A run that has used it stops with exit code 4, and the
    same command goes on from there with the budget anew."""
    keep_replies: bool = True
    """Remember teachers' replies in the output, so that none is paid for twice."""


class ResourceSettings(BaseModel):
    """What one actor of a stage occupies; what is not written stays as the stage declares it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    cpus: float | None = Field(default=None, ge=0)
    """CPU cores; fractions share a core."""
    gpus: float | None = Field(default=None, ge=0)
    """GPUs; fractions share one."""
    memory_gb: float | None = Field(default=None, ge=0)
    """Memory in gigabytes that the scheduler sets aside."""
    timeout_s: float | None = Field(default=None, gt=0)
    """Wall clock for one part in seconds; past it the actor is killed."""
    parts: int | None = Field(default=None, ge=1)
    """Parts an actor works on at a time."""


@dataclass(frozen=True, slots=True)
class StageEntry:
    """A stage in its place in a recipe, with what the engine was told about it."""

    name: str
    operator: str  # as in the recipe: a name, module:Class or path/to/file.py:Class
    stage: Stage[Any]
    when: Profile | None
    when_name: str | None
    resources: Resources
    actors: tuple[int, int] | None
    commit: bool
    env: str | None
    line: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe ready to run. `resolved` is the whole of it, defaults included, as plain values."""

    name: str
    about: str
    path: str
    input: IngestSettings
    compose: dict[str, Arrangement]
    stages: tuple[StageEntry, ...]
    profiles: dict[str, Profile]
    decide: tuple[Decision[Any], ...]
    pack: PackSettings
    engine: EngineSettings
    resolved: dict[str, Any]
    document: Document = field(repr=False, compare=False)  # says where each value was written


def load_recipe(recipe: str | Path, sets: Sequence[str] = ()) -> Recipe:
    """The recipe in a file or of a built-in name, with `a.b=value` changes applied.

    Raises RecipeError for the first thing that is wrong, with file, line, key and cure.
    """
    path, document = read_recipe(recipe, sets)
    return _build(document, str(path))


def load_resolved(resolved: dict[str, Any], origin: str, sets: Sequence[str] = ()) -> Recipe:
    """The recipe of a `resolved` form, e.g. the one an output folder remembers."""
    document = plain(deepcopy(resolved), origin)
    apply_sets(document, sets)
    return _build(document, origin)


def _build(document: Document, path: str) -> Recipe:
    for key in ("name", "stages"):
        if key not in document.root:
            raise document.error((key,), "required, but not written", f"add `{key}:`")
    name = expect(document, ("name",), str, "a word") or ""
    if not NAME.fullmatch(name):
        raise document.error(("name",), f"{name!r} is no name", "use letters, digits, - and _")
    about = expect(document, ("about",), str, "one line of text") or ""
    ingest = validated(IngestSettings, document, ("input",))
    compose = {
        key: validated(Arrangement, document, ("compose", key))
        for key in expect(document, ("compose",), dict, "a map of arrangements by name") or {}
    }
    profiles = {
        key: validated(Profile, document, ("profiles", key))
        for key in expect(document, ("profiles",), dict, "a map of profiles by name") or {}
    }
    stages = tuple(
        _stage_entry(document, index, entry_name, operator, profiles)
        for index, (entry_name, operator) in enumerate(entry_names(document, "stages").items())
    )
    if not stages:
        raise document.error(("stages",), "no stage is written", "list at least `- probe_media`")
    decided = [
        (operator, _decision(document, index, operator, profiles))
        for index, operator in enumerate(entry_names(document, "decide").values())
    ]
    pack = validated(PackSettings, document, ("pack",))
    engine = validated(EngineSettings, document, ("engine",))
    resolved = {
        "recipe": FORMAT,
        "name": name,
        "about": about,
        "input": _dump(ingest),
        "compose": {key: _dump(arrangement) for key, arrangement in compose.items()},
        "stages": [_resolved_entry(entry, document, i) for i, entry in enumerate(stages)],
        "profiles": {key: _dump(profile) for key, profile in profiles.items()},
        "decide": [
            {operator: _resolved_settings(decision.settings, document, ("decide", i, operator))}
            for i, (operator, decision) in enumerate(decided)
        ],
        "pack": _dump(pack),
        "engine": _dump(engine),
    }
    decisions = tuple(decision for _, decision in decided)
    return Recipe(
        name,
        about,
        path,
        ingest,
        compose,
        stages,
        profiles,
        decisions,
        pack,
        engine,
        resolved,
        document,
    )


def _stage_entry(
    document: Document, index: int, name: str, operator: str, profiles: dict[str, Profile]
) -> StageEntry:
    keys: Keys = ("stages", index)
    with placed(document, (*keys, operator)):
        kind = load_stage(operator)
    settings = _settings(kind.Settings, document, (*keys, operator), profiles)
    with placed(document, (*keys, operator)):
        stage = kind(settings)
    when = expect(document, (*keys, "when"), str, "the name of a profile")
    if when is not None and when not in profiles:
        raise document.error(
            (*keys, "when"), f"there is no profile {when!r}", _nearest_profile(when, profiles)
        )
    given = validated(ResourceSettings, document, (*keys, "resources"))
    commit = expect(document, (*keys, "commit"), bool, "true or false")
    return StageEntry(
        name=name,
        operator=operator,
        stage=stage,
        when=profiles[when] if when is not None else None,
        when_name=when,
        resources=replace(stage.resources, **given.model_dump(exclude_none=True)),
        actors=_actors(document, (*keys, "actors")),
        commit=stage.teacher if commit is None else commit,
        env=expect(document, (*keys, "env"), str, "the name of an environment"),
        line=document.place((*keys, operator)).line or 0,
    )


def _decision(
    document: Document, index: int, operator: str, profiles: dict[str, Profile]
) -> Decision[Any]:
    keys: Keys = ("decide", index, operator)
    with placed(document, keys):
        kind = load_decision(operator)
    settings = _settings(kind.Settings, document, keys, profiles)
    with placed(document, keys):
        return kind(settings)


def _settings(
    model: type[StageSettings], document: Document, keys: Keys, profiles: dict[str, Profile]
) -> StageSettings:
    """Settings of an operator; where one of them is a profile, its name will do."""
    names: dict[Keys, str] = {}
    for field_name, info in model.model_fields.items():
        named = find(document.root, (*keys, field_name))
        if not isinstance(named, str) or Profile not in set(models_in(info.annotation)):
            continue
        here = (*keys, field_name)
        if named not in profiles:
            raise document.error(
                here, f"there is no profile {named!r}", _nearest_profile(named, profiles)
            )
        names[here] = named
        document.put(here, _dump(profiles[named]), document.place(here))
        remembered = (*keys, f"{field_name}_name")
        if remembered[-1] in model.model_fields:
            document.put(remembered, named, document.place(here))
    settings = validated(model, document, keys)
    for here, named in names.items():
        document.put(here, named, document.place(here))
    return settings


def _nearest_profile(name: str, profiles: dict[str, Profile]) -> str:
    return nearest(name, profiles) or "define it under `profiles`"


def _actors(document: Document, keys: Keys) -> tuple[int, int] | None:
    value = find(document.root, keys)
    if value is None:
        return None
    pair = [value, value] if isinstance(value, int) else value
    if (
        isinstance(pair, list)
        and len(pair) == 2
        and all(type(end) is int for end in pair)
        and 1 <= pair[0] <= pair[1]
    ):
        return pair[0], pair[1]
    raise document.error(keys, f"{value!r} is no number of actors", "write 4, or [1, 8]")


def _resolved_settings(settings: BaseModel, document: Document, keys: Keys) -> dict[str, Any]:
    """All settings; a profile stays the name it was given by, so that changing it still counts."""
    dumped = _dump(settings)
    for key in dumped:
        named = find(document.root, (*keys, key))
        if isinstance(named, str) and isinstance(getattr(settings, key, None), Profile):
            dumped[key] = named
    return dumped


def _resolved_entry(entry: StageEntry, document: Document, index: int) -> dict[str, Any]:
    keys: Keys = ("stages", index, entry.operator)
    return {
        entry.operator: _resolved_settings(entry.stage.settings, document, keys),
        "name": entry.name,
        "when": entry.when_name,
        "resources": {
            name: value
            for name, value in asdict(entry.resources).items()
            if name in ResourceSettings.model_fields  # the rest is the stage's own to say
        },
        "actors": list(entry.actors) if entry.actors else None,
        "commit": entry.commit,
        "env": entry.env,
    }


def _dump(settings: BaseModel) -> dict[str, Any]:
    return settings.model_dump(mode="json", by_alias=True)
