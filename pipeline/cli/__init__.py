"""The command line: `clipmill run RECIPE INPUT --out OUT`, and what looks before and after it.

Modules are imported by the commands that need them, because `clipmill --help` has to answer at
once while Ray and torch take seconds to load.
"""

from clipmill.pipeline.cli.app import app


def main() -> None:
    """Entry point of the `clipmill` program."""
    app(prog_name="clipmill")


__all__ = ["app", "main"]
