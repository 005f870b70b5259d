"""Whatever goes wrong between source and clip is noticed when the clip is read back."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from clipmill.schemas.clocks import Span
from clipmill.schemas.errors import Damaged
from clipmill.schemas.records import Probe
from clipmill.stages.media import cut_copy, cut_smart, h264, join
from clipmill.stages.media.clip import ClipMedia, Encoding, Mode
from clipmill.stages.media.clip_check import thumb
from clipmill.stages.media.cut import cut_group
from clipmill.stages.media.join import Piece
from clipmill.stages.media.limits import Limits
from clipmill.stages.media.probe import probe
from clipmill.stages.media.reread import reread
from tests.media.conftest import SCENES
from tests.rendered import Rendered, render

Pieces = list[Piece]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    folder = tmp_path_factory.mktemp("film")
    return render(folder / "film.mp4", SCENES, bframes=3, beeps=[0.5, 2.0])


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the muxer write something else than it was given."""

    def plant(fault: Callable[[Pieces], Pieces] = list, record: Any = bytes) -> None:
        whole = join.join

        def spoiled(path: Path, template: Any, order: list[int], pieces: Any, *rest: Any) -> None:
            origin, end, given, *more = rest
            written = fault(list(pieces))
            ticks = [piece.tick for piece in written]
            whole(path, template, ticks, written, origin, end, record(given), *more)

        monkeypatch.setattr(cut_smart, "join", spoiled)

    return plant


def cut(truth: Rendered, folder: Path, mode: Mode = "smart") -> ClipMedia:
    """One clip; a smart one has a head, copied packets and a tail."""
    found: Probe = probe(truth.path)
    span = Span(found.picture.clock, truth.ticks[17], truth.ticks[95])
    made = cut_group(truth.path, found, {"clip": span}, folder, Encoding(mode=mode), Limits())
    return made["clip"]


def wrong_packet(pieces: Pieces) -> Pieces:
    """A copied packet is another one of the same film."""
    pieces[40] = Piece(pieces[40].tick, pieces[44].data, pieces[40].key)
    return pieces


def shifted(pieces: Pieces) -> Pieces:
    """The last frame comes one tick late."""
    last = max(range(len(pieces)), key=lambda place: pieces[place].tick)
    piece = pieces[last]
    pieces[last] = Piece(piece.tick + 1, piece.data, piece.key)
    return pieces


def missing(pieces: Pieces) -> Pieces:
    return pieces[:50] + pieces[51:]


def swapped(pieces: Pieces) -> Pieces:
    """Two encoded frames of the head stand at each other's time."""
    a, b = pieces[3], pieces[4]
    pieces[3], pieces[4] = Piece(a.tick, b.data, a.key), Piece(b.tick, a.data, b.key)
    return pieces


def one_bit(pieces: Pieces) -> Pieces:
    data = bytearray(pieces[60].data)
    data[-2] ^= 4
    pieces[60] = Piece(pieces[60].tick, bytes(data), pieces[60].key)
    return pieces


def lost_sets(record: bytes) -> bytes:
    """Our own parameter sets are left out, as if the source's fitted all."""
    found = h264.configuration(record)
    return h264.Configuration(
        found.head, found.length_size, found.sps[:1], found.pps[:1], found.rest
    ).record()


def test_an_unspoiled_clip_passes(film: Rendered, tmp_path: Path, spoil: Any) -> None:
    spoil()
    assert cut(film, tmp_path).mode == "smart"


@pytest.mark.parametrize("fault", [wrong_packet, shifted, missing, swapped, one_bit])
def test_a_clip_with_other_packets_is_not_delivered(
    film: Rendered, tmp_path: Path, spoil: Any, fault: Callable[[Pieces], Pieces]
) -> None:
    spoil(fault)
    assert cut(film, tmp_path).mode == "encode: smart failed its check"


def test_a_clip_without_its_parameter_sets_is_not_delivered(
    film: Rendered, tmp_path: Path, spoil: Any
) -> None:
    spoil(record=lost_sets)
    assert cut(film, tmp_path).mode == "encode: smart failed its check"


def test_sound_of_another_place_is_not_delivered(
    film: Rendered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(join._Copied):
        def until(self, sample: int | None) -> None:
            self._sound.packets[:] = [(tick + 300, data) for tick, data in self._sound.packets]
            super().until(sample)

    monkeypatch.setattr(join, "_Copied", Late)
    assert cut(film, tmp_path).mode == "encode: smart failed its check"


def test_a_copy_that_is_turned_is_not_delivered(
    film: Rendered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cut(film, tmp_path, "copy").mode == "copy"

    def upside_down(path: Path, *rest: Any) -> None:
        join.join(path, *rest)
        data = path.read_bytes()
        upright, turned = (
            struct.pack(">9i", a, 0, 0, 0, a, 0, 0, 0, 1 << 30) for a in (1 << 16, -1 << 16)
        )
        track = data.index(upright, data.index(b"tkhd"))
        path.write_bytes(data[:track] + turned + data[track + len(turned) :])

    monkeypatch.setattr(cut_copy, "join", upside_down)
    assert cut(film, tmp_path, "copy").mode == "encode: copy failed its check"


def rewritten(source: Path, target: Path, change: Callable[[int, Any], Iterator[Any]]) -> None:
    """A copy of a clip with its picture's packets changed."""
    with av.open(str(source)) as clip, av.open(str(target), "w") as out:
        streams = {s.index: out.add_stream_from_template(s) for s in clip.streams.get(video=0)}
        number = 0
        for packet in clip.demux(video=0):
            if packet.size:
                for changed in change(number, packet):
                    changed.stream = streams[packet.stream.index]
                    out.mux(changed)
                number += 1


def test_a_clip_that_does_not_decode_is_damage(film: Rendered, tmp_path: Path) -> None:
    def hollow(number: int, packet: Any) -> Iterator[Any]:
        if number == 0:
            blank = av.Packet(b"\0\0\0\1\x65" + bytes(20))
            blank.pts, blank.dts, blank.time_base = packet.pts, packet.dts, packet.time_base
            blank.is_keyframe = True
            yield blank
        else:
            yield packet

    target = tmp_path / "hollow.mp4"
    rewritten(film.path, target, hollow)
    with pytest.raises(Damaged, match="does not read back"):
        reread(target, Limits(), thumb, keys=[0])


def test_reading_back_sees_what_a_full_decode_sees(film: Rendered) -> None:
    whole = reread(film.path, Limits(), thumb, whole=True)
    brief = reread(film.path, Limits(), thumb, keys=[0])
    assert whole.picture.ticks == brief.picture.ticks == film.ticks
    assert sorted(whole.looks) == film.ticks
    (first,) = brief.looks
    assert (brief.looks[first] == whole.looks[first]).all()
