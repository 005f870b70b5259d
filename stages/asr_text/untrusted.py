"""Text from strangers, made safe to store, print and put into a prompt.

Titles, descriptions and subtitles are written by whoever uploaded a file. What is removed here is
invisible: control characters, lone surrogates and the bidirectional overrides that make a text
read differently from what it says. Marks that real scripts need, such as joiners, stay.
"""

from __future__ import annotations

import re
import unicodedata

_HIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]")
_SPACES = re.compile(r"[^\S\n]+")
_BLANK_LINES = re.compile(r" ?\n(?: ?\n)+ ?")


def clean(text: str, limit: int) -> str:
    """`text` without hidden characters, its spaces joined, at most `limit` characters long.

    Line breaks stay, though never more than two in a row. Composed form (Unicode NFC).
    """
    text = text[: 4 * limit].replace("\r\n", "\n").replace("\r", "\n")
    text = "".join(" " if _invisible(letter) else letter for letter in _HIDDEN.sub("", text))
    text = unicodedata.normalize("NFC", text)
    return _BLANK_LINES.sub("\n\n", _SPACES.sub(" ", text)).strip()[:limit].strip()


def clean_line(text: str, limit: int) -> str:
    """As `clean`, in one line."""
    return " ".join(clean(text, limit).split())


def _invisible(letter: str) -> bool:
    return letter != "\n" and unicodedata.category(letter) in ("Cc", "Cs")
