"""The contract of a decision: a pass over the finished tables that says what is kept, and why.

Decisions run after annotation, read columns only, call no model and change no record: what they
return is written beside the records as a table of its own. So a threshold can be moved, and the
shards rebuilt, without computing anything again. What can only be known of all clips together, such
as which of them are alike, is decided here too.
"""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

import pyarrow as pa

from clipmill.schemas.fingerprints import fingerprint
from clipmill.stages.stage import StageSettings, declared_settings

S = TypeVar("S", bound=StageSettings)

DECISION_SCHEMA = pa.schema(
    [
        pa.field("video", pa.string()),
        pa.field("segment", pa.string()),
        pa.field("keep", pa.bool_()),
        pa.field("reason", pa.string()),  # null where kept; else a short countable phrase
    ]
)


class Decision(Generic[S]):
    """Base class of all decisions: `class FilterScores(Decision[Settings])`."""

    Settings: ClassVar[type[StageSettings]] = StageSettings
    version: ClassVar[int] = 1

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.Settings = declared_settings(cls) or cls.Settings

    def __init__(self, settings: S) -> None:
        self.settings = settings

    @classmethod
    def name(cls) -> str:
        return cls.__module__.rsplit(".", 1)[-1]

    def reads(self) -> frozenset[str]:
        """Tokens the decision reads, as a stage's `needs`; linted with the recipe."""
        return frozenset()

    def adds(self) -> frozenset[str]:
        """Labels it gives, `labels:<name>`, to the decisions after it and to its own table."""
        return frozenset()

    def identity(self) -> dict[str, Any]:
        """What the outcome depends on besides the table; extended by those that read a file."""
        return {
            "operator": self.name(),
            "version": self.version,
            "settings": self.settings.model_dump(mode="json"),
        }

    def fingerprint(self) -> str:
        return fingerprint(self.identity())

    def decide(self, segments: pa.Table) -> pa.Table:
        """One row of `DECISION_SCHEMA` per row of `segments`, in the same order, and a column
        `label_<name>` for every label of `adds`.

        `segments` is the flat table: `video`, `segment`, `layer`, `start_s`, `end_s`,
        `score_<name>` (null = not computed), `label_<name>`, ... and `embedding_<name>` (null =
        none) for every embedding that `reads` asks for; its field's metadata name the `model`.
        """
        raise TypeError(f"{type(self).__qualname__} must implement decide()")
