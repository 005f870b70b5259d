"""One pass over a film's frames that several readers share.

Decoding is most of what a film costs, so a stage that has to see every frame anyway, as shot
detection does, takes wishes of others along: each is a file in the scratch cache, made of frames
while they go by and before anybody knows which of them will count. Later stages look there first.
A file only ever spares work: what goes into it follows from the film alone, so where it is gone,
or on another machine, its reader decodes the frames that it needs and comes to the same result.

A pass with wishes runs at full quality and leaves out only frames that no other frame refers to.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import av

from clipmill.schemas.errors import NoSpace
from clipmill.schemas.records import Content, Probe
from clipmill.stages.media.source import make_room, scratch

See = Callable[[int, Any], None]
"""Takes the tick and the `av.VideoFrame` of each frame of a pass, in order."""


class Taker(Protocol):
    """Writes a file from the frames of a pass."""

    def see(self, tick: int, frame: Any) -> None:
        """To be called with every frame of the pass, in order."""

    def close(self) -> None:
        """Ends the file, whether or not the pass came to its end."""


class Wish(Protocol):
    """A file to be made in passing; travels to the process that decodes."""

    @property
    def path(self) -> Path | None:
        """Where the file belongs; None where there is no place for it."""

    def room(self, probe: Probe) -> int:
        """Bytes to set aside for it."""

    def begin(self, path: Path, probe: Probe) -> Taker: ...


def place(content: Content | None, probe: Probe, kind: str, *facts: Any) -> Path | None:
    """Where the file of a kind that follows from a film and `facts` lies, or would lie; None for a
    film without a known content."""
    if content is None:
        return None
    known = (content.size, content.digest, probe.picture.index, *facts, av.__version__)
    return scratch() / f"{blake2b(repr(known).encode(), digest_size=16).hexdigest()}.{kind}"


@dataclass(slots=True)
class _Begun:
    target: Path
    partial: Path
    taker: Taker
    lost: bool = False

    def see(self, tick: int, frame: Any) -> None:
        if not self.lost:
            try:
                self.taker.see(tick, frame)
            except OSError:  # a full disk, say: the pass goes on, and readers decode again
                self.lost = True

    def end(self, complete: bool) -> None:
        try:
            self.taker.close()
        except OSError:
            self.lost = True
        if complete and not self.lost:
            self.partial.replace(self.target)
        else:
            self.partial.unlink(missing_ok=True)


@contextmanager
def taking(wishes: Sequence[Wish], probe: Probe) -> Iterator[See | None]:
    """Who is to see the frames of one pass; files are there once it has ended well.

    None only without wishes. With a file that is there already frames are still asked for, or what
    the pass itself finds would depend on that.
    """
    begun: list[_Begun] = []
    complete = False
    try:
        for wish in wishes:
            target = wish.path
            if target is not None and not target.exists():
                partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
                with suppress(NoSpace):
                    make_room(wish.room(probe))
                    begun.append(_Begun(target, partial, wish.begin(partial, probe)))
        yield _all([each.see for each in begun]) if wishes else None
        complete = True
    finally:
        for each in begun:
            each.end(complete)


def _all(seeing: list[See]) -> See:
    def see(tick: int, frame: Any) -> None:
        for each in seeing:
            each(tick, frame)

    return see
