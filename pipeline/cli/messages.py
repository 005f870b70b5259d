"""What an error says on a terminal, and which exit code it stands for."""

from __future__ import annotations

import unicodedata

from clipmill.schemas.errors import (
    AccountingError,
    BudgetSpent,
    ClipmillError,
    ClusterError,
    InputError,
    MissingExtra,
    RecipeError,
    StoreError,
)

SOME_FAILED = 1
BAD_USAGE = 2
BAD_GROUND = 3
OVER_BUDGET = 4
INTERRUPTED = 130

EXIT_CODES = """\
Exit codes: 0 all is well; 1 some inputs failed, or a check found something wrong; 2 the command or
the recipe cannot be run as written; 3 the output store, its lease, its accounting or Ray is at
fault; 4 the budget of the teachers is spent, and the same command goes on; 130 interrupted.
"""


def exit_code(error: ClipmillError) -> int:
    """The exit code an error stands for."""
    if isinstance(error, StoreError | ClusterError | AccountingError):
        return BAD_GROUND
    if isinstance(error, BudgetSpent):
        return OVER_BUDGET
    if isinstance(error, RecipeError | InputError | MissingExtra):
        return BAD_USAGE
    return SOME_FAILED


def printable(text: str) -> str:
    """Text that may quote hostile input, made safe for a terminal."""
    return "".join(c if c == "\n" or unicodedata.category(c)[0] != "C" else "?" for c in text)
