"""One row of published annotations: what its parts are called, and what it says.

An event (a text with its time), a rated stretch, or a question with its answer. What is wrong with
a row is said in one word, so that rows of no use can be counted by reason; none is mended.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clipmill.stages.asr_text.untrusted import clean_line

MAX_S = 1_000_000.0  # eleven days; later times are no seconds
MAX_LABEL = 100

_CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2}(?:[.,]\d{1,6})?)")


@dataclass(frozen=True, slots=True)
class Names:
    """What the parts of a row are called in a file; an empty name is not looked for."""

    video: str
    text: str
    start: str  # where no time is named, rows are about the whole video
    end: str
    span: str = ""  # a pair (start, end) in place of the two
    duration: str = ""
    labels: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()  # names of the values of a row that is a list
    root: str = ""
    rows: str = ""
    keyed: bool = True  # the keys of an object of objects are names of videos
    open_end: bool = False  # a row without an end lasts to the video's end; else it is a moment
    boxes: str = ""  # rows of (second, left, top, right, bottom), in shares of the picture
    rating: str = ""  # a number, or those of several raters, whose mean is meant
    question: str = ""
    answer: str = "answer"  # one of the options, its letter, or its place from 0
    options: tuple[str, ...] = ("options",)  # one list, or a name for each
    asked: str = ""  # when a question is asked
    answered: str = ""  # and answered
    max_chars: int = 500

    @property
    def wanted(self) -> tuple[str, ...]:
        """What some row of the file must have; nothing where only its videos are looked for."""
        if self.question or not self.text:
            return (self.question,) if self.question else ()
        return tuple(filter(None, (self.text, self.span or self.start)))


Unfold = Callable[[Mapping[str, Any]], Iterator[Mapping[str, Any]]]
"""The rows that one published record stands for; a value REFUSED says why it is none."""

REFUSED = "\0refused"
KEY = "\0key"
"""The key that a record stood under, where keys are no names of videos."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a data set is laid out: its names, and what names alone do not say."""

    names: Names
    documented: str = ""  # where
    line: re.Pattern[str] | None = None  # of a .txt file; its groups are the values of a row
    unfold: Unfold | None = None
    once: bool = False  # of several records of a video, the first is meant


@dataclass(slots=True)
class Row:
    """One annotation as published; `refused` says why it is of no use."""

    number: int  # counted from 1 in its file; rows of one record share it
    text: str = ""
    start_s: float = 0.0
    end_s: float | None = 0.0  # None is the video's end
    duration_s: float | None = None  # of the video, as the file has it
    labels: dict[str, str] = field(default_factory=dict)
    refused: str | None = None
    rating: float | None = None
    question: str = ""
    answer: str = ""
    options: tuple[str, ...] = ()
    asked_s: float | None = None
    answered_s: float | None = None
    boxes: tuple[tuple[float, ...], ...] = ()


def row_of(number: int, values: Mapping[str, Any], names: Names) -> Row:
    row = Row(number, line_of(values.get(names.text), names.max_chars))
    row.duration_s = seconds(values.get(names.duration)) if names.duration else None
    row.labels = {name: line_of(values.get(name), MAX_LABEL) for name in names.labels}
    row.refused = values.get(REFUSED)
    if names.question:
        row.refused = row.refused or _ask(row, values, names) or _turn(row, values, names)
    elif not row.text:
        row.refused = row.refused or "no_text"
    if names.boxes and names.boxes in values:
        row.boxes = _boxes(values[names.boxes])
        row.refused = row.refused or (None if row.boxes else "no_box")
    untimed = _time(row, values, names)
    row.refused = row.refused or untimed
    if names.rating and names.rating in values:
        row.rating = _mean(values[names.rating])
        if row.rating is None:
            row.refused = row.refused or "no_rating"
    return row


def _time(row: Row, values: Mapping[str, Any], names: Names) -> str | None:
    """Fill in start and end; returns what is wrong with them."""
    start, end = values.get(names.start), values.get(names.end)
    if names.span:
        pair = values.get(names.span)
        start, end = pair if isinstance(pair, Sequence) and len(pair) == 2 else (None, None)
    named = names.start or names.span
    if not named or (names.question and start in (None, "") and end in (None, "")):
        row.end_s = None  # it is about all of the video
        return None
    first, ends = seconds(start), end not in (None, "")
    if first is not None and not ends and names.open_end:
        row.start_s, row.end_s = first, None
        return None
    last = seconds(end) if ends else first
    if first is None or last is None:
        return "no_time"
    if last < first:
        return "backwards"
    row.start_s, row.end_s = first, last
    return None


def _turn(row: Row, values: Mapping[str, Any], names: Names) -> str | None:
    """Fill in when a question is asked and answered; returns what is wrong with it."""
    told = [values.get(name) if name else None for name in (names.asked, names.answered)]
    row.asked_s, row.answered_s = map(seconds, told)
    read = zip(told, (row.asked_s, row.answered_s), strict=True)
    return "no_turn" if any(at is None and when not in (None, "") for when, at in read) else None


def _boxes(value: object) -> tuple[tuple[float, ...], ...]:
    """Boxes in time order; none where one is none, or lies outside the picture."""
    found = []
    for one in value if isinstance(value, list) else ():
        if not isinstance(one, list) or len(one) != 5 or _mean(one) is None:
            return ()
        at, left, top, right, bottom = map(float, one)
        if not (at >= 0 and 0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            return ()
        found.append((round(at, 3), *(round(side, 4) for side in (left, top, right, bottom))))
    return tuple(sorted(found))


def _ask(row: Row, values: Mapping[str, Any], names: Names) -> str | None:
    """Fill in question, options and answer; returns what is wrong with them."""
    row.question = line_of(values.get(names.question), names.max_chars)
    given: Any = [values.get(name) for name in names.options]
    if len(given) == 1:
        given = given[0]
    letters = [str(name) for name in given] if isinstance(given, Mapping) else []
    listed = list(given.values()) if isinstance(given, Mapping) else given
    texts = [line_of(one, names.max_chars) for one in listed] if isinstance(listed, list) else []
    row.options = tuple(text for text in texts if text)
    answer = values.get(names.answer)
    row.answer = line_of(answer, names.max_chars)
    if not row.question:
        return "no_question"
    if not row.answer:
        return "no_answer"
    if not texts:
        return None  # an open question
    if len(row.options) < 2 or len(set(row.options)) < len(texts):
        return "bad_options"
    if row.answer in row.options:
        return None
    place = _place(row.answer, letters)
    if place is None or place >= len(row.options):
        return "answer_is_no_option"
    row.answer = row.options[place]
    return None


def _place(answer: str, letters: Sequence[str]) -> int | None:
    """The place that an answer such as 2, B or (B) names, from 0."""
    name = answer.strip("(). ")
    if name in letters:
        return letters.index(name)
    if name.isdecimal() and name.isascii():
        return int(name[:4])
    return ord(name) - ord("A") if len(name) == 1 and "A" <= name <= "Z" else None


def _mean(value: object) -> float | None:
    """The mean of numbers, or the number itself; None where one is none."""
    given = value if isinstance(value, list) else [value]
    numbers = [
        float(one)
        for one in given
        if isinstance(one, int | float) and not isinstance(one, bool) and abs(one) <= MAX_S
    ]
    return sum(numbers) / len(numbers) if numbers and len(numbers) == len(given) else None


def seconds(value: object) -> float | None:
    """A time as a number of seconds or as h:mm:ss.fff; None if it is neither, or no time."""
    if isinstance(value, str):
        if clock := _CLOCK.fullmatch(value.strip()):
            hours, minutes, rest = clock.groups()
            value = int(hours or 0) * 3600 + int(minutes) * 60 + float(rest.replace(",", "."))
        else:
            try:
                value = float(value[:40])
            except ValueError:
                return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return float(value) if 0 <= value <= MAX_S else None


def line_of(value: object, limit: int) -> str:
    if isinstance(value, bool | int | float):
        value = json.dumps(value)
    return clean_line(value, limit) if isinstance(value, str) else ""
