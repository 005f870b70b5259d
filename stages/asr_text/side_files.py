"""Subtitle files that belong to a video: named by the input, or lying beside it.

Downloaders write `NAME.vtt`, `NAME.en.vtt` or `NAME.en-orig.vtt` next to `NAME.mp4`. Only local
inputs are searched; listing a bucket for every video would cost more than it finds.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from clipmill.schemas.errors import OverLimit
from clipmill.stages.asr_text.languages import short_language
from clipmill.stages.asr_text.subtitle_files import MAX_BYTES
from clipmill.stages.media.source import local, local_path

FORMS = ("vtt", "srt", "ass", "ssa", "json3")
_CODE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8})*")


@dataclass(frozen=True, slots=True)
class Side:
    """A subtitle file, and the language its name declares."""

    uri: str
    language: str | None

    @property
    def form(self) -> str:
        return self.uri.rsplit(".", 1)[-1].lower()[:8]


def beside(source: str, wanted: str | None = None) -> list[Side]:
    """Subtitle files next to a local video, best first.

    The wanted language comes first, then files without one, then the rest; a file that holds
    word times (vtt, json3) is no better than another, so the order of `FORMS` and the name decide.
    """
    path = local_path(source)
    if path is None or not path.parent.is_dir():
        return []
    names = _subtitle_names(path.parent, path.parent.stat().st_mtime_ns)
    head = f"{path.stem}."
    found = []
    for name in names[bisect_left(names, head) :]:
        if not name.startswith(head):
            break
        code = name[len(head) :].rpartition(".")[0]
        if not code or _CODE.fullmatch(code):
            found.append(Side(str(path.parent / name), code or None))

    def rank(side: Side) -> tuple[int, int, str]:
        language = short_language(side.language)
        order = 1 if language is None else 0 if language == wanted else 2
        return order, FORMS.index(side.form), side.uri

    return sorted(found, key=rank)


@lru_cache(maxsize=16)
def _subtitle_names(folder: Path, changed: int) -> list[str]:
    """Names of a folder's subtitle files, sorted; listed once per change, not once per video."""
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.name.rpartition(".")[2].lower() in FORMS]
    return sorted(names)


def read_side(side: Side, video: str) -> bytes:
    """The bytes of a subtitle file. Raises `OverLimit` past `MAX_BYTES`, `Unreadable` if absent."""
    with local(side.uri) as path:
        if path.stat().st_size > MAX_BYTES:
            raise OverLimit(
                f"the subtitle file {Path(side.uri).name} has {path.stat().st_size >> 20} MB",
                cure=f"files up to {MAX_BYTES >> 20} MB are read; is this one of subtitles?",
                input=video,
                stage="transcribe",
            )
        return path.read_bytes()
