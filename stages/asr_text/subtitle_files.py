"""Subtitle files as utterances: SubRip, WebVTT, SubStation and YouTube's json3.

A side file is untrusted input and often damaged: wrong encoding, cues out of order, times that run
backwards, megabytes of tags. So nothing here fails on content. Whatever reads as a cue is kept,
cleaned and sorted, the rest is passed over, and only sheer size is refused. SubRip and WebVTT are
read by one loose block reader of our own, because voices and per-word times are wanted and strict
readers lose a file to one bad line; SubStation is left to pysubs2.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pysubs2

from clipmill.schemas.errors import OverLimit
from clipmill.schemas.records import Utterance, Word
from clipmill.stages.asr_text.rolling_captions import Cue, Line, is_rolling, unrolled
from clipmill.stages.asr_text.untrusted import clean_line

MAX_BYTES = 16 << 20  # ten hours of json3 captions are about 8 MB
MAX_CUES = 100_000
MAX_CUE_CHARS = 10_000
MAX_CUE_LINES = 50
MAX_HOURS = 1000

_STAMP = r"(?:(\d{1,4}):)?(\d{1,3}):(\d{1,2})[.,](\d{1,3})"
_TIMING = re.compile(rf"^\s*(-?){_STAMP}\s*-{{1,2}}>\s*(-?){_STAMP}(?=\s|$)")
_MARK = re.compile(rf"<{_STAMP}>")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]{1,200})>|</v>")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,300}>|\{\\[^{}]{0,300}\}")
_LANGUAGE = re.compile(r"^language:\s*([A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*)\s*$", re.I | re.M)
_SOUND = re.compile(r"\[[^\]]{0,200}\]|\([^)]{0,200}\)|\*[^*]{0,200}\*")


@dataclass(slots=True)
class Subtitles:
    """What a subtitle file says, in time order, milliseconds from presentation zero."""

    utterances: list[Utterance] = field(default_factory=list)
    language: str | None = None  # as the file itself declares


def parse(data: bytes) -> Subtitles:
    """Read a subtitle file of any of the four forms, recognised by content, not by name.

    A file without a single cue gives no utterances. Raises `OverLimit` past `MAX_BYTES`.
    """
    if len(data) > MAX_BYTES:
        raise OverLimit(
            f"a subtitle file of {len(data) >> 20} MB",
            cure=f"subtitle files are read up to {MAX_BYTES >> 20} MB; check that this is one",
        )
    text = decoded(data)
    head = text[:4096].lstrip()
    if head.startswith("{"):
        return Subtitles(_finished(_json3(text)))
    if "[script info]" in head.lower() or "[events]" in head.lower():
        return Subtitles(_finished(_substation(text)))
    cues = list(_cues(text))
    declared = _LANGUAGE.search(head) if head.startswith("WEBVTT") else None
    spoken = unrolled(cues) if is_rolling(cues) else _plain(cues)
    return Subtitles(_finished(spoken), declared.group(1) if declared else None)


def decoded(data: bytes) -> str:
    """Bytes of unknown encoding as text: by mark, else UTF-8, else Windows Latin. Never fails."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # cp1252 leaves five bytes undefined; latin-1 defines all, as control characters.
        try:
            return data.decode("cp1252")
        except UnicodeDecodeError:
            return data.decode("latin-1")


def is_sound(text: str) -> bool:
    """Whether a cue describes a sound, such as `[music]` or `(LAUGHS)`, and quotes nobody."""
    left = _SOUND.sub("", text)
    return not any(letter.isalnum() for letter in left)


def cue_utterances(cues: Iterable[tuple[int, int, str]]) -> list[Utterance]:
    """Utterances of an embedded text track: (start ms, end ms, text with or without tags)."""
    lines = (
        Cue(start, end, [Line(line) for line in text.replace("\\N", "\n").splitlines()])
        for start, end, text in cues
    )
    return _finished(_plain(lines))


def _cues(text: str) -> Iterator[Cue]:
    """Every timing line with the lines below it, up to an empty line or the next timing line."""
    cue: Cue | None = None
    found = 0
    lines = text.splitlines()
    for number, line in enumerate(lines):
        timing = _TIMING.match(line) if "-->" in line else None
        if timing:
            if cue is not None:
                if cue.lines and cue.lines[-1].text.isdecimal():
                    cue.lines.pop()  # the number of this cue, where the blank line is missing
                yield cue
            found += 1
            if found > MAX_CUES:
                return
            first, second = timing.groups()[:5], timing.groups()[5:]
            cue = Cue(_milliseconds(*first), _milliseconds(*second))
        elif cue is not None:
            if line.strip() and len(cue.lines) < MAX_CUE_LINES:
                cue.lines.append(_line(line, cue.start))
            elif not line and (cue.lines or not _goes_on(lines, number)):
                yield cue
                cue = None
    if cue is not None:
        yield cue


def _goes_on(lines: list[str], blank: int) -> bool:
    """Whether a blank line right under a timing line is followed by the cue's text.

    SubRip exporters write such cues; the text is not the next cue's number or timing.
    """
    following = lines[blank + 1 : blank + 3]
    return bool(following and following[0].strip()) and not any("-->" in line for line in following)


def _line(raw: str, start: int) -> Line:
    """A line of a cue, with the words that carry a time of their own."""
    raw = raw[:MAX_CUE_CHARS]
    pieces = _MARK.split(raw)  # text, then four groups and a text per mark
    line = Line(raw)
    if len(pieces) > 1:
        timed = [(start, pieces[0])]
        for at in range(1, len(pieces), 5):
            timed.append((_milliseconds("", *pieces[at : at + 4]), pieces[at + 4]))
        line.words = [
            (time, word) for time, piece in timed for word in _stripped(piece).split() if word
        ]
        line.raw = _MARK.sub("", raw)
    line.text = clean_line(_stripped(line.raw), MAX_CUE_CHARS)
    return line


def _plain(cues: Iterable[Cue]) -> Iterator[Utterance]:
    """One utterance per cue, or one per voice where a cue holds several."""
    for cue in cues:
        speaker: str | None = None
        said: list[tuple[str | None, str]] = []
        raw = "\n".join(line.raw for line in cue.lines)[:MAX_CUE_CHARS]
        at = 0
        for voice in _VOICE.finditer(raw):
            said.append((speaker, raw[at : voice.start()]))
            speaker = clean_line(html.unescape(voice.group(1)), 100) if voice.group(1) else None
            at = voice.end()
        said.append((speaker, raw[at:]))
        for name, text in said:
            yield Utterance(_stripped(text), cue.start, cue.end, speaker=name)


def _substation(text: str) -> Iterator[Utterance]:
    try:
        # Formats with frame numbers need a rate; only SubStation comes here.
        events = pysubs2.SSAFile.from_string(text, format_="ass").events
    except (ValueError, IndexError, KeyError, OverflowError, pysubs2.exceptions.Pysubs2Error):
        return
    for event in events[:MAX_CUES]:
        if event.type == "Dialogue" and not event.is_drawing:
            name = clean_line(event.name, 100) or None
            yield Utterance(event.plaintext, event.start, event.end, speaker=name)


def _json3(text: str) -> Iterator[Utterance]:
    """YouTube's own form: events of segments, each with an offset in milliseconds."""
    try:
        events = json.loads(text).get("events", [])
    except (ValueError, RecursionError, AttributeError):
        return
    if not isinstance(events, list):
        return
    for event in events[:MAX_CUES]:
        pieces = event.get("segs") if isinstance(event, dict) else None
        if not isinstance(pieces, list):
            continue
        start, length = _whole(event.get("tStartMs")), _whole(event.get("dDurationMs"))
        words: list[Word] = []
        for piece in pieces[:1000]:
            if not isinstance(piece, dict) or not isinstance(piece.get("utf8"), str):
                continue
            at = start + _whole(piece.get("tOffsetMs"))
            words.extend(Word(word, at, start + length) for word in piece["utf8"].split())
        said = " ".join(word.text for word in words)
        timed = any(isinstance(p, dict) and "tOffsetMs" in p for p in pieces)
        yield Utterance(said, start, start + length, words if timed else [])


def _finished(found: Iterable[Utterance]) -> list[Utterance]:
    """Cleaned, sorted, inside the time line, each word with an end."""
    kept: list[Utterance] = []
    for utterance in found:
        utterance.text = clean_line(utterance.text, MAX_CUE_CHARS)
        utterance.start = max(utterance.start, 0)
        if utterance.text and utterance.start < utterance.end <= MAX_HOURS * 3_600_000:
            kept.append(utterance)
    kept.sort(key=lambda utterance: (utterance.start, utterance.end))
    for utterance, following in zip(kept, [*kept[1:], None], strict=False):
        if utterance.words:
            # Timed captions stay on the screen while the next line is being spoken.
            last = utterance.end if following is None else min(utterance.end, following.start)
            utterance.end = max(last, utterance.words[-1].start + 1)
            utterance.words = _ended(utterance.words, utterance.start, utterance.end)
    return kept


def _ended(words: list[Word], start: int, end: int) -> list[Word]:
    """Words in order, cleaned, each lasting until the next one begins, for a second at most.

    Captions mark beginnings only, and hardly a word takes longer than that: the rest is a pause.
    """
    cleaned = [
        Word(clean_line(word.text, 200), min(max(word.start, start), end), end) for word in words
    ]
    cleaned = sorted((word for word in cleaned if word.text), key=lambda word: word.start)
    for word, following in zip(cleaned, [*cleaned[1:], None], strict=False):
        word.end = min(following.start if following else end, word.start + 1000)
    return cleaned


def _stripped(text: str) -> str:
    return html.unescape(_TAG.sub("", text))


def _milliseconds(sign: str, hours: str | None, minutes: str, seconds: str, part: str) -> int:
    whole = (int(hours or 0) * 60 + int(minutes)) * 60 + int(seconds)
    time = whole * 1000 + int(part.ljust(3, "0"))
    return -time if sign else time


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and abs(value) < 1e12 else 0
