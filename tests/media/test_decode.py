"""The door itself: what is left out to open it quickly changes nothing behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from clipmill.stages.media.coded import Unclear, again, index
from clipmill.stages.media.decode import Decoding, open_input
from clipmill.stages.media.probe import probe
from tests.media.conftest import FILMS
from tests.rendered import Rendered

Film = Callable[[str], Rendered]


def frames(path: Path, picture: int, probed: bool) -> list[tuple[int, bytes]]:
    """(tick, luma) of every frame."""
    with open_input(path, probed=probed) as container:
        decoding = Decoding(container, container.streams[picture], 10**9)
        return [(tick, bytes(frame.planes[0])) for tick, frame in decoding]


@pytest.mark.parametrize("name", FILMS)
def test_a_known_file_opened_quickly_gives_the_same_frames_at_the_same_times(
    film: Film, name: str
) -> None:
    path = film(name).path
    picture = probe(path).picture.index
    plain = frames(path, picture, probed=False)
    assert len(plain) == len(film(name).ticks)
    assert frames(path, picture, probed=True) == plain


def test_packets_read_again_are_those_that_were_listed(film: Film) -> None:
    path = film("plain").path
    facts = probe(path)
    with open_input(path) as container:
        found = index(container, facts, None, None)
        starts = [n for n, coded in enumerate(found) if coded.clean]
        for first, last in zip(starts, [*starts[1:], len(found)], strict=True):
            ticks = [coded.tick for coded in found[first:last]]
            assert [packet.pts for packet in again(container, facts, ticks)] == ticks


def test_packets_that_have_changed_since_are_not_taken_for_those_listed(film: Film) -> None:
    path = film("plain").path
    facts = probe(path)
    with open_input(path) as container:
        ticks = [coded.tick for coded in index(container, facts, None, None)]
        for wrong in ([ticks[0], ticks[2]], [ticks[0] + 1], [*ticks, ticks[-1] + 1]):
            with pytest.raises(Unclear):
                list(again(container, facts, wrong))
