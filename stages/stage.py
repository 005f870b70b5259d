"""The contract of a stage.

A stage declares what it reads (`needs`), what it adds (`provides`), what it runs on (`resources`)
and its typed settings, and does its work on one part at a time. Everything else, such as retries,
commits, skipping, timing and placement, belongs to the engine. Declared tokens are linted before
anything starts, so a recipe that cannot work is refused in a second and not after an hour.

Tokens name what a record holds: `probe`, `transcripts`, `segments:<layer>`, `texts:<role>`,
`scores:<name>`, `labels:<name>`, `embeddings:<name>`, `samples:<kind>`, and `frames`, which only
travels. A token may quote settings, as in `"segments:{layer}"`.
"""

from __future__ import annotations

import inspect
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict

from clipmill.schemas.fingerprints import fingerprint
from clipmill.schemas.records import Author, Part

IN_FLIGHT = frozenset({"frames"})
"""Tokens that are never stored; a resumed part gets them again from their provider."""


class StageSettings(BaseModel):
    """Settings of a stage. A recipe's keys are exactly these fields; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


@dataclass(frozen=True, slots=True)
class Resources:
    """What one actor of a stage occupies. A recipe can override every field."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_gb: float = 0.0
    timeout_s: float = 1800.0  # wall clock for one part; past it the actor is killed
    parts: int = 1  # parts an actor works on at a time; more than one needs a coroutine
    most: int | None = None  # actors where the recipe names no number; None is what fits


S = TypeVar("S", bound=StageSettings)


class Stage(Generic[S]):
    """Base class of all stages: `class SplitShots(Stage[Settings])`, declare, implement `process`.

    `unit = "video"` asks for the whole video (probe, split, transcribe); such stages stand first
    and carry no frames. `unit = "part"` stages see at most a bounded number of segments at once.
    `own_actor = True` keeps a model out of other stages' processes; `teacher = True` marks the
    expensive ones, whose results are also committed at once. Raise `schemas.errors.MediaError` for
    bad media; any other exception fails
    the part too, and only that part.
    """

    Settings: ClassVar[type[StageSettings]] = StageSettings  # set from Stage[...], see below
    unit: ClassVar[Literal["video", "part"]] = "part"
    needs: ClassVar[frozenset[str] | set[str]] = frozenset()
    provides: ClassVar[frozenset[str] | set[str]] = frozenset()
    resources: ClassVar[Resources] = Resources()
    version: ClassVar[int] = 1  # raise it when the same settings start to give other results
    teacher: ClassVar[bool] = False
    own_actor: ClassVar[bool] = False  # holds a model: never shares a process with other stages
    packages: ClassVar[dict[str, str]] = {}  # importable module -> extra that installs it

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.Settings = declared_settings(cls) or cls.Settings

    def __init__(self, settings: S) -> None:
        self.settings = settings
        self.label = self.name()  # the name of this entry in its recipe, set by the planner

    @classmethod
    def name(cls) -> str:
        """The operator's name: the module it lives in, e.g. `split_shots`."""
        return cls.__module__.rsplit(".", 1)[-1]

    def reads(self) -> frozenset[str]:
        """`needs` with settings filled in. Override where needs depend on a setting's value."""
        return self._filled(self.needs)

    def adds(self) -> frozenset[str]:
        """`provides` with settings filled in."""
        return self._filled(self.provides)

    def leaves(self) -> frozenset[str]:
        """What it leaves in the scratch cache for later stages, in words, e.g. `8 measures a
        second`. It spares them work and changes no result."""
        return frozenset()

    def takes(self) -> frozenset[str]:
        """What it looks for there, in the same words."""
        return frozenset()

    def identity(self) -> dict[str, Any]:
        """What the result depends on besides the input; extended by stages with models."""
        return {
            "operator": f"{self.name()}:{type(self).__qualname__}",
            "version": self.version,
            "settings": self.settings.model_dump(mode="json"),
        }

    def fingerprint(self, upstream: Iterable[str] = ()) -> str:
        """Digest of `identity` and of the fingerprints of the providers of its needs."""
        return fingerprint(self.identity(), sorted(upstream))

    def author(self, model: str = "", revision: str = "", prompt: str = "") -> Author:
        """The author of what this stage writes."""
        return Author(self.label, model, revision, prompt)

    def requires(self) -> dict[str, str]:
        """Importable module -> extra, as the settings need them; linted before anything starts."""
        return dict(self.packages)

    def setup(self) -> None:
        """Load models, open engines. Called once in every actor, before any part."""

    def process(self, part: Part) -> Part | Coroutine[Any, Any, Part]:
        """Do the work: add to the part's records and return it. May be a coroutine."""
        raise TypeError(f"{type(self).__qualname__} must implement process()")

    def close(self) -> None:
        """Release what `setup` took."""

    def _filled(self, tokens: Iterable[str]) -> frozenset[str]:
        values = self.settings.model_dump()
        return frozenset(token.format_map(values) for token in tokens)

    def __repr__(self) -> str:
        return f"{self.name()}({self.settings!r})"


def summary(stage: type[Stage[Any]]) -> str:
    """First line of a stage's docstring, for listings."""
    return (inspect.getdoc(stage) or "").split("\n", 1)[0]


def declared_settings(operator: type) -> type[StageSettings] | None:
    """The settings class between the brackets of `class Mine(Stage[Settings])`, if there is one."""
    for base in operator.__dict__.get("__orig_bases__", ()):
        for argument in get_args(base):
            if isinstance(argument, type) and issubclass(argument, StageSettings):
                return argument
    return None
