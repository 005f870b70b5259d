"""The door itself: what is left out to open it quickly changes nothing behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clipmill.stages.media import decode
from clipmill.stages.media.coded import Unclear, again, index
from clipmill.stages.media.decode import Decoding, open_input
from clipmill.stages.media.probe import probe
from tests.media.conftest import FILMS
from tests.rendered import Rendered

Film = Callable[[str], Rendered]


def frames(path: Path, picture: int, probed: str = "") -> list[tuple[int, bytes]]:
    """(tick, luma) of every frame."""
    with open_input(path, probed=probed) as container:
        decoding = Decoding(container, container.streams[picture], 10**9)
        return [(tick, bytes(frame.planes[0])) for tick, frame in decoding]


@pytest.mark.parametrize("name", FILMS)
def test_a_known_file_opened_quickly_gives_the_same_frames_at_the_same_times(
    film: Film, name: str
) -> None:
    path = film(name).path
    facts = probe(path).picture
    plain = frames(path, facts.index)
    assert len(plain) == len(film(name).ticks)
    assert frames(path, facts.index, probed=facts.codec) == plain


@pytest.mark.parametrize(("codec", "opened"), [("h264", [True]), ("vp9", [False]), ("", [False])])
def test_a_file_is_opened_once_by_what_its_codec_is_known_to_declare(
    film: Film, monkeypatch: pytest.MonkeyPatch, codec: str, opened: list[bool]
) -> None:
    blind: list[bool] = []
    plainly = decode._open

    def noted(path: Path, blindly: bool, brief: bool = False) -> Any:
        blind.append(blindly)
        return plainly(path, blindly, brief)

    monkeypatch.setattr(decode, "_open", noted)
    with open_input(film("plain").path, probed=codec):
        assert blind == opened


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
