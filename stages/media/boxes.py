"""Two things of an MP4 that FFmpeg's muxer cannot be told and its demuxer says only by decoding.

How long the picture's edit lasts, which hides what a copied clip's end needs only for decoding, and
how a viewer is to turn the picture. For files of our own making, whose movie box stands in front.
Names are those of ISO/IEC 14496-12 (8.3.2 track header, 8.6.6 edit list).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def hide_after(path: Path, duration: int) -> None:
    """Shorten the picture's edit to `duration` movie ticks."""
    with path.open("r+b") as file:
        data = _head(file)
        for start, end in _picture_tracks(data):
            for edits, edits_end in _boxes(data, start, end, b"edts"):
                for entry, _ in _boxes(data, edits, edits_end, b"elst"):
                    size = 8 if data[entry] == 1 else 4
                    file.seek(entry + 8)
                    file.write(duration.to_bytes(size, "big"))


def matrix(path: Path) -> tuple[int, ...]:
    """The nine numbers of the picture's display matrix; none without a picture."""
    with path.open("rb") as file:
        data = _head(file)
    for start, end in _picture_tracks(data):
        for header, _ in _boxes(data, start, end, b"tkhd"):
            return struct.unpack_from(">9i", data, header + (52 if data[header] == 1 else 40))
    return ()


def _picture_tracks(data: bytes) -> Iterator[tuple[int, int]]:
    for start, end in _boxes(data, 0, len(data), b"moov"):
        for track, track_end in _boxes(data, start, end, b"trak"):
            if b"vide" in data[track:track_end]:
                yield track, track_end


def _head(file: BinaryIO) -> bytes:
    """A file up to where its media data begins."""
    at = 0
    while len(head := file.read(8)) == 8 and head[4:] != b"mdat":
        at += int.from_bytes(head[:4], "big")
        file.seek(at)
    file.seek(0)
    return file.read(at)


def _boxes(data: bytes, start: int, end: int, name: bytes) -> Iterator[tuple[int, int]]:
    """Bodies of the boxes of this name. The file is our own, so sizes are what they should be."""
    while start + 8 <= end:
        size = int.from_bytes(data[start : start + 4], "big")
        if size == 1:
            size = int.from_bytes(data[start + 8 : start + 16], "big")
        if data[start + 4 : start + 8] == name:
            yield start + 8, start + size
        start += max(8, size)
