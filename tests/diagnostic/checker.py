"""An independent checker: the answer to a question, computed from the pixels of the packed clip.

It reads the question as a person would and knows neither the manifest nor the records; of the
inputs it knows the captions alone. A question it cannot read is an error, never a pass.
"""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipmill.stages.compose.noise import mask
from tests.diagnostic.marked import CAPTIONS, FPS, REVERSED, Run, decode, moving, runs

Sample = dict[str, Any]
Picture = NDArray[np.uint8]
_TIMES = re.compile(r"from ([\d.]+)(%| s) to ([\d.]+)(%| s)")


def right(sample: Sample, clip: Path) -> bool:
    """Whether the answer and the evidence hold."""
    pictures, shown = watched(clip)
    task, question, answer = sample["labels"]["task"], sample["question"], sample["answer"]
    if sample["options"] and sample["options"].count(answer) != 1:
        return False
    if task == "recognition":
        seen = moving(pictures, 1)
        overlaps = {o: overlap(seen, mask(o, *seen.shape[::-1])) for o in sample["options"]}
        return max(overlaps, key=overlaps.__getitem__) == answer
    total = len(pictures)
    cards = [run for run in shown if isinstance(run.name, str)]
    told = [text_of(run) for run in shown]
    order = [run.first for run in shown]
    if task in ("retrieval", "counting", "ordering") and cards:
        names = [str(name) for name, _ in itertools.groupby(cards, key=lambda run: run.name)]
        if task == "retrieval":
            return answer in names and not set(names) & (set(sample["options"]) - {answer})
        if task == "counting":
            [asked] = [name for name in set(names) if name in question]
            separate = sum(run.name == asked for run in cards)
            return answer == str(separate) and proven(sample, cards, asked)
        return answer == "; ".join(names)
    if task == "ordering":
        return answer == "; ".join(told)
    if task == "fragments":
        return answer == str(len(shown))
    if task == "consistency":
        return answer == yes(len({run.name for run in shown}) == 1)
    if task == "disorder":
        return answer == yes(order == sorted(order))
    if task == "rearrangement":
        places = sorted(range(len(shown)), key=order.__getitem__)
        return answer == ", ".join(str(place + 1) for place in places)
    if task == "odd_one":
        [odd] = [r for r in shown if sum(o.name == r.name for o in shown) == 1]
        return at(answer, total, (odd.start, odd.end))
    if task == "playback":
        return answer == ("forwards" if shown[0].first < shown[0].last else "backwards")
    if task == "speed":
        pace = abs(shown[0].last - shown[0].first) / (total - 1)
        return answer == (
            "faster than normal" if pace > 1.3 else "slower than normal" if pace < 0.8
            else "at normal speed"
        )  # fmt: skip
    if task in ("captioning", "caption_match"):
        return answer == ", then ".join(told)
    if task == "before":
        first, second = sorted((t for t in told if t in question), key=question.find)
        return answer == yes(told.index(first) < told.index(second))
    if task == "localisation":
        [run] = [run for run, text in zip(shown, told, strict=True) if text in question]
        return at(answer, total, (run.start, run.end)) and proven(sample, shown, run.name)
    if task == "span_caption":
        return any(
            text == answer and at(question, total, (run.start, run.end))
            for run, text in zip(shown, told, strict=True)
        )
    if task == "timeline":
        lines = answer.split("; ")
        return len(lines) == len(shown) and all(
            line.endswith(f": {text}") and at(line, total, (run.start, run.end))
            for line, run, text in zip(lines, shown, told, strict=True)
        )
    raise ValueError(f"the checker cannot read {task!r}")


@lru_cache(maxsize=2)
def watched(clip: Path) -> tuple[list[Picture], list[Run]]:
    """Every picture, and what is shown; a frame or two between two runs is a blend of both."""
    pictures = decode(clip)
    return pictures, [run for run in runs(pictures) if run.end - run.start >= 3]


def text_of(run: Run) -> str:
    if isinstance(run.name, str):
        return run.name
    return (CAPTIONS if run.last > run.first else REVERSED)[run.name]


def at(text: str, total: int, frames: tuple[int, int]) -> bool:
    """Whether the times in a text are those frames, within one frame and what rounding hides."""
    found = _TIMES.search(text)
    assert found, text
    for value, unit, frame in zip(found.group(1, 3), found.group(2, 4), frames, strict=True):
        stated = float(value) / 100 * total if unit == "%" else float(value) * FPS
        rounding = total * 0.0005 if unit == "%" else 0.05 * FPS
        if abs(stated - frame) > 1 + rounding:
            return False
    return True


def proven(sample: Sample, shown: list[Run], name: int | str) -> bool:
    """Whether the evidence is where that name is shown, within one frame."""
    spans = [(round(e["start_s"] * FPS), round(e["end_s"] * FPS)) for e in sample["evidence"]]
    true = [(run.start, run.end) for run in shown if run.name == name]
    return len(spans) == len(true) and bool((np.abs(np.subtract(spans, true)) <= 1).all())


def overlap(one: Any, two: Any) -> float:
    return float((one & two).sum() / max(1, (one | two).sum()))


def yes(value: bool) -> str:
    return "yes" if value else "no"
