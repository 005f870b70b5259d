"""`recipe.json`: what an output was made by, for commands that go on with it or name it."""

from __future__ import annotations

import json
from typing import Any, TypedDict

from clipmill.pipeline.output import pack, tables
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import InputError

KEY = "recipe.json"


class MadeBy(TypedDict):
    """The recipe in resolved form, the source as it was named, and the limit on inputs."""

    recipe: dict[str, Any]
    source: str
    limit: int | None


def keep_made_by(store: Store, made: MadeBy) -> None:
    """In the order of the recipe: of a profile's rules the first that fails is the reason."""
    store.put(KEY, json.dumps(made, indent=1).encode())


def made_by(store: Store) -> MadeBy | None:
    """None where no run has written into the output."""
    data = store.find(KEY)
    made: MadeBy | None = json.loads(data) if data is not None else None
    return made


def opened(out: str) -> Store:
    """The store of an earlier run, to be looked at; InputError where none has written.

    Nothing is created, so that a misspelt path leaves no folder behind.
    """
    store = Store.open(out, existing=True)
    # Any of the three will do: an output may have been moved in parts.
    if not any(store.exists(key) for key in (KEY, tables.MANIFEST, pack.MANIFEST)):
        raise InputError("this is no output of a run", input=out, cure="check the path")
    return store
