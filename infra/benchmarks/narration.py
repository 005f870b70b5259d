"""Does each step from narration to captions pay? The claim of HowToCaption and HowToStep, measured.

    python infra/benchmarks/narration.py            # with the models that ship
    python infra/benchmarks/narration.py --page     # written into recipes/speech/README.md

Rendered films whose narration lags or leads by up to 8 s, three sentences in ten about nothing
seen. Every arm has its texts and spans from one run of the chain; the evaluator looks at other
features than the scorer and at the same gallery for all arms, every scene of the other films.
Intervals are bootstraps over films, those of gains paired. Prints Markdown.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests" / "speech"))

from arms import ARMS, Item, Scored, annotate, arms, interval, scored
from narrated import LAGGING, rendered
from speech import into_page

LEAST = -0.1  # the filter's threshold on the embedded encoder's score, chosen on the tests' films
NAMES = {
    "raw": "speech",
    "captions": "captions at the times of the speech",
    "reader_times": "captions at the teacher's times",
    "retimed": "re-timed, `offset`",
    "filtered": "filtered",
}


def measured(count: int, seed: int) -> tuple[dict[str, list[Item]], dict[str, Scored]]:
    """The arms of so many films, annotated by the models that ship."""
    plan = LAGGING.model_copy(update={"count": count, "seed": seed})
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        videos = rendered(plan, Path(folder) / "v")
        parts = [annotate(v, patch, encoder="embedded", teacher="embedded") for v in videos]
        made = arms(videos, parts, LEAST)
        return made, scored(made, videos, parts)


def table(made: dict[str, list[Item]], figures: dict[str, Scored], videos: int) -> str:
    def bounds(value: Callable[[np.ndarray], float], form: str) -> str:
        low, high = interval(value, videos)
        return f"[{low:{form}}, {high:{form}}]"

    lines = [
        "| arm | texts | not seen | start error | R@1 | R@10 | gain in R@1 |",
        "|---|---|---|---|---|---|---|",
    ]
    pairs = itertools.pairwise([None, *ARMS])
    for before, arm in pairs:
        own = figures[arm]
        gain = "-"
        if before is not None:
            other = figures[before]
            gain = f"{own.recall(1) - other.recall(1):+.2f} " + bounds(
                lambda drawn, a=own, b=other: a.recall(1, drawn) - b.recall(1, drawn), "+.2f"
            )
        unseen = np.mean([item.filler for item in made[arm]])
        lines.append(
            f"| {NAMES[arm]} | {len(own.rank)} | {unseen:.0%} | {own.start_error():.2f} s"
            f" {bounds(own.start_error, '.2f')} | {own.recall(1):.2f}"
            f" {bounds(lambda drawn, a=own: a.recall(1, drawn), '.2f')} | {own.recall(10):.2f} |"
            f" {gain} |"
        )
    first, last = figures["raw"], figures["filtered"]
    whole = bounds(lambda drawn: last.recall(1, drawn) - first.recall(1, drawn), "+.2f")
    ratio = bounds(lambda drawn: last.start_error(drawn) / first.start_error(drawn), ".2f")
    lines += [
        "",
        f"{videos} films. From speech to filtered captions R@1 gains"
        f" {last.recall(1) - first.recall(1):+.2f} {whole}, the start error becomes"
        f" {last.start_error() / first.start_error():.2f} {ratio} of what it was,"
        f" and {len(last.rank) / len(first.rank):.0%} of the texts are kept.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--films", type=int, default=16)
    parser.add_argument("--seed", type=int, default=45, help="other films than the tests'")
    parser.add_argument("--page", action="store_true", help="write the table into the page")
    wanted = parser.parse_args()
    made, figures = measured(wanted.films, wanted.seed)
    found = table(made, figures, wanted.films)
    if wanted.page:
        into_page("arms", found)
    else:
        print(found)


if __name__ == "__main__":
    main()
