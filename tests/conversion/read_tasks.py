"""Reads a task back as a person would: which events, from when to when. Knows no code that asks.

A question it cannot read is an error, never a pass.
"""

from __future__ import annotations

import json
import re
from typing import Any

FORMS = {
    "seconds": r"([\d.]+) s",
    "clock": r"(\d\d:\d\d:\d\d)",
    "percent": r"([\d.]+)%",
    "bins": r"<(\d+)>",
    "digits": r"(\d{4}\.\d)",
    "placeholder": r"(<time>)",
}

Span = tuple[float, float]


class Reader:
    """Reads the times of one sample of a clip of `duration` seconds, in `bins` bins."""

    def __init__(self, sample: dict[str, Any], duration: float, bins: int = 100) -> None:
        self.sample, self.duration, self.bins = sample, duration, bins
        self.form = sample["labels"]["times"]
        one = FORMS[self.form]
        self.times = re.compile(f"(?:from {one} to {one}|at {one})")
        self.arrays = {
            name: iter(json.loads(sample["labels"].get(name, "[]"))) for name in ("src", "tgt")
        }

    def spans(self, text: str, array: str) -> list[Span]:
        """The spans that a text tells, in their order."""
        found = []
        for match in self.times.finditer(text):
            start, end, at = match.groups()
            first = self._second(start or at, array)
            found.append((first, self._second(end, array) if end else first))
        return found

    def listed(self) -> list[tuple[str, Span]]:
        """`TIME: text; TIME: text` of an answer."""
        found = []
        for line in self.sample["answer"].split("; "):
            match = self.times.match(line)
            assert match is not None, line
            [span] = self.spans(match.group(), "tgt")
            found.append((line[match.end() :].removeprefix(": "), span))
        return found

    def text(self) -> str:
        """What a question names behind its colon."""
        match = re.search(r": (.+)[.?]$", self.sample["question"])
        assert match is not None, self.sample["question"]
        told = match[1]
        return told[1:-1] if told[0] == told[-1] == '"' else told

    def _second(self, told: str, array: str) -> float:
        if self.form == "placeholder":
            return float(next(self.arrays[array]))
        if self.form == "clock":
            hours, minutes, seconds = map(int, told.split(":"))
            return 3600.0 * hours + 60 * minutes + seconds
        if self.form == "percent":
            return float(told) / 100 * self.duration
        if self.form == "bins":
            return (int(told) + 0.5) / self.bins * self.duration
        return float(told)

    def error(self) -> float:
        """The most that a time of this form may be off, in seconds."""
        if self.form == "placeholder":
            return 1e-9
        if self.form == "bins":
            return 0.5 * self.duration / self.bins + 1e-6
        return 0.5 + 1e-6
