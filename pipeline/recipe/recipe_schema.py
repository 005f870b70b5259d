"""A JSON Schema of recipes, so that an editor completes keys and marks mistakes while writing.

It is derived from the very types that check a recipe when it is loaded. Operators whose packages
are not installed are listed without their settings; users' own operators are allowed as they come.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from clipmill.pipeline.output.pack_settings import PackSettings
from clipmill.pipeline.recipe.recipe import EngineSettings, ResourceSettings
from clipmill.pipeline.recipe.recipe_file import ENGINE_KEYS, FORMAT
from clipmill.pipeline.recipe.registry import load, operators
from clipmill.schemas.errors import ClipmillError
from clipmill.schemas.profiles import Profile
from clipmill.stages.compose.arrangements import Arrangement
from clipmill.stages.source.ingest_video import Settings as IngestSettings
from clipmill.stages.stage import Stage

_REF = "#/$defs/{model}"
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_PROFILE_NAME = {"type": "string", "description": "The name of a profile."}


def json_schema() -> dict[str, Any]:
    """The schema of a recipe file (draft 2020-12)."""
    stages: dict[str, type[BaseModel] | None] = {}
    decisions: dict[str, type[BaseModel] | None] = {}
    about: dict[str, str] = {}
    for name, entry in operators().items():
        about[name] = entry.summary()
        try:
            kind = load(name)
        except ClipmillError:
            stages[name] = decisions[name] = None
            continue
        (stages if issubclass(kind, Stage) else decisions)[name] = kind.Settings
    blocks: list[type[BaseModel]] = [
        IngestSettings,
        Arrangement,
        PackSettings,
        EngineSettings,
        ResourceSettings,
        Profile,
    ]
    models = [*blocks, *(model for model in (*stages.values(), *decisions.values()) if model)]
    refs, definitions = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(models)], ref_template=_REF
    )
    reference = {model: refs[(model, "validation")] for model in models}
    engine_keys: dict[str, Any] = {
        "name": {"type": "string"},
        "when": _PROFILE_NAME,
        "resources": reference[ResourceSettings],
        "actors": {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
            ]
        },
        "commit": {"type": "boolean"},
        "env": {"type": "string"},
    }
    assert set(engine_keys) == set(ENGINE_KEYS)
    return {
        "$schema": _DRAFT,
        "title": "Clipmill recipe",
        "type": "object",
        "additionalProperties": False,
        "required": ["recipe"],
        "properties": {
            "recipe": {"const": FORMAT},
            "name": {"type": "string"},
            "about": {"type": "string"},
            "extends": {"type": "string"},
            "set": {"type": "object"},
            "variants": {"type": "object", "additionalProperties": {"type": "object"}},
            "input": reference[IngestSettings],
            "compose": {"type": "object", "additionalProperties": reference[Arrangement]},
            "stages": _entries(stages, about, reference, engine_keys),
            "profiles": {"type": "object", "additionalProperties": reference[Profile]},
            "decide": _entries(decisions, about, reference, {}),
            "pack": reference[PackSettings],
            "engine": reference[EngineSettings],
        },
        "$defs": _naming_profiles(definitions.get("$defs", {}), reference[Profile]),
    }


def _naming_profiles(definitions: dict[str, Any], profile: Any) -> dict[str, Any]:
    """Where an operator's setting is a profile, the name of one will do, as in the loader."""
    for definition in definitions.values():
        for key, value in definition.get("properties", {}).items():
            if value.get("$ref") == profile["$ref"]:
                definition["properties"][key] = {"anyOf": [value, _PROFILE_NAME]}
    return definitions


def _entries(
    kinds: dict[str, type[BaseModel] | None],
    about: dict[str, str],
    reference: dict[type[BaseModel], Any],
    engine_keys: dict[str, Any],
) -> dict[str, Any]:
    """The schema of a list of operators: a bare name, or a map of one operator to its settings."""
    operator = {
        name: {
            "description": about[name],
            "anyOf": [reference[model] if model else {"type": "object"}, {"type": "null"}],
        }
        for name, model in kinds.items()
    }
    user = r"(:|\.py$)"
    return {
        "type": "array",
        "items": {
            "anyOf": [
                {"type": "string", "anyOf": [{"enum": sorted(kinds)}, {"pattern": user}]},
                {
                    "type": "object",
                    "properties": {**operator, **engine_keys},
                    "patternProperties": {user: {"type": ["object", "null"]}},
                    "additionalProperties": False,
                },
            ]
        },
    }
