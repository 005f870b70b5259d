"""Every error Clipmill raises on purpose.

    ClipmillError
    |-- RecipeError        a recipe or a command's settings cannot be run as written
    |-- MissingExtra       a stage needs an optional package that is not installed
    |-- InputError         the list of inputs is unusable (missing folder, doubled id)
    |-- MediaError         one input's media; `kind` is the counted class
    |   |-- Unreadable     no container, or nothing in it
    |   |-- NoVideo        readable, but without a picture stream
    |   |-- Undecodable    a picture stream of which not one frame decodes
    |   |-- Damaged        decodes in part; raised only where the recipe is strict
    |   |-- OverLimit      a cap on size, duration, pixels, rate or streams
    |   `-- DecoderLost    the decoding process crashed, hung or hit its limits
    |-- ModelError         a model or teacher answered wrongly
    |   `-- ReplyMismatch  replies lost, doubled or swapped
    |-- StoreError         the output store refused
    |   |-- LeaseLost      another run took the output over
    |   |-- NoSpace        the disk is (nearly) full
    |   `-- Conflict       the output holds work of another recipe, or the input changed
    |-- ClusterError       Ray does not start, or a cluster cannot be reached
    |-- AccountingError    inputs and outcomes do not add up
    `-- BudgetSpent        the teachers have used what the run may use

A message says what happened, `input` and `stage` say where, `cure` says what to do about it.
"""

from __future__ import annotations

from typing import ClassVar


class ClipmillError(Exception):
    """Base class; `kind` is the name under which outcomes of this error are counted."""

    kind: ClassVar[str] = "error"

    def __init__(
        self, message: str, *, cure: str = "", input: str | None = None, stage: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure
        self.input = input
        self.stage = stage

    def __str__(self) -> str:
        place = ", ".join(
            part
            for part in (
                f"input {self.input!r}" if self.input else "",
                f"stage {self.stage}" if self.stage else "",
            )
            if part
        )
        text = f"{self.message} ({place})" if place else self.message
        return f"{text}\n  cure: {self.cure}" if self.cure else text

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only fields would be lost by the default, and errors travel between processes.
        return (_rebuild, (type(self), self.__dict__))


def _rebuild(cls: type[ClipmillError], state: dict[str, object]) -> ClipmillError:
    error = cls.__new__(cls)
    Exception.__init__(error, state.get("message", ""))
    error.__dict__.update(state)
    return error


class RecipeError(ClipmillError):
    """A recipe that cannot be run; `file`, `line` and `key` name the place."""

    kind = "recipe"

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        key: str | None = None,
        cure: str = "",
        stage: str | None = None,
    ) -> None:
        super().__init__(message, cure=cure, stage=stage)
        self.file = file
        self.line = line
        self.key = key

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        key = f"{self.key}: " if self.key else ""
        text = f"{place}: {key}{self.message}" if place else f"{key}{self.message}"
        return f"{text}\n  cure: {self.cure}" if self.cure else text


class MissingExtra(ClipmillError):
    kind = "missing_extra"


class InputError(ClipmillError):
    kind = "input"


class MediaError(ClipmillError):
    kind = "media"


class Unreadable(MediaError):
    kind = "unreadable"


class NoVideo(MediaError):
    kind = "no_video"


class Undecodable(MediaError):
    kind = "undecodable"


class Damaged(MediaError):
    kind = "partial"


class OverLimit(MediaError):
    kind = "over_limit"


class DecoderLost(MediaError):
    """The child that decoded died or was killed; the input is tried again, then quarantined."""

    kind = "decoder_lost"


class ModelError(ClipmillError):
    kind = "model"


class ReplyMismatch(ModelError):
    kind = "reply_mismatch"


class StoreError(ClipmillError):
    kind = "store"


class LeaseLost(StoreError):
    kind = "lease_lost"


class NoSpace(StoreError):
    kind = "no_space"


class Conflict(StoreError):
    kind = "conflict"


class ClusterError(ClipmillError):
    kind = "cluster"


class AccountingError(ClipmillError):
    kind = "accounting"


class BudgetSpent(ClipmillError):
    """Ends the run, never an input: what is not asked yet is left for the next run."""

    kind = "budget"
