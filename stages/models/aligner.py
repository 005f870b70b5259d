"""Aligners: words that somebody wrote, and the sound they should be in; times and doubts out.

Recognition asks what is said and errs on one word in ten; alignment asks where, and whether, these
words are said, which is far easier: a small model that cannot hear `rabbit` still knows that what
it hears is no `dog`. Every engine is a file in `aligners/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from clipmill.stages.models.vad import Pcm


@dataclass(frozen=True, slots=True)
class Aligned:
    """A word's place in milliseconds from the beginning of the sound, and how well it fits there.

    `confidence` is near 1 where the sound is that word and near 0 where it is another; engines are
    not alike in what lies between.
    """

    start: int
    end: int
    confidence: float


class Aligner(Protocol):
    """A model that knows how words sound."""

    model: str
    revision: str
    longest_s: float  # of a stretch it takes

    def begin(self, language: str | None) -> bool:
        """Be ready for words in a language, None where it is not known; False: cannot be done."""
        ...

    def align(self, pcm: Pcm, words: Sequence[str]) -> list[Aligned | None]:
        """Per word its place in 16 kHz mono sound, in order; None for a word it cannot place.

        Sound may be empty.
        """
        ...
