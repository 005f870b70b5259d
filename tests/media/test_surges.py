"""Which frames that no other refers to are worth decoding, by the sizes of packets alone."""

from __future__ import annotations

import av

from clipmill.stages.media.surges import Surges


def coded(number: int, size: int, referred: bool = True, key: bool = False) -> av.Packet:
    """A picture shown as the `number`-th, one unit behind a start code."""
    unit = (5 if key else 1) | (0x40 if referred else 0)
    packet = av.Packet(b"\0\0\1" + bytes([unit]) + b"\xaa" * size)
    packet.pts, packet.is_keyframe = number, key
    return packet


def asked(sizes: list[int]) -> list[int]:
    """Numbers of the frames decoded, of a key and then two frames without use before each one with,
    as large as `sizes` say."""
    surges = Surges(b"")
    surges(coded(0, 5000, key=True))
    found = []
    for group, size in enumerate(sizes):
        last = 3 * group + 3
        for packet in (coded(last, size), coded(last - 2, 40, False), coded(last - 1, 40, False)):
            if surges(packet):
                found.append(packet.pts)
    return found


def test_frames_before_a_frame_much_larger_than_usual_are_asked_for() -> None:
    assert asked([200, 190, 210, 205, 3000, 200, 190]) == [13, 14]


def test_the_end_of_a_cutaway_stands_out_like_its_begin() -> None:
    assert asked([200, 190, 210, 205, 3000, 200, 3000, 200]) == [13, 14, 19, 20]


def test_a_steady_beat_of_large_frames_is_an_encoders_habit() -> None:
    beat = [200, 190, 3000, 210] * 6
    assert not [number for number in asked(beat) if number > 3 * 14]


def test_motion_that_goes_on_becomes_the_usual() -> None:
    assert not [number for number in asked([200] * 12 + [3000] * 12) if number > 3 * 18]


def test_frames_that_others_refer_to_are_decoded_anyway() -> None:
    surges = Surges(b"")
    sizes = [200, 190, 210, 205, 3000]
    assert not any(surges(coded(number, size)) for number, size in enumerate(sizes))
    assert not surges(coded(3, 900))
    assert surges(coded(3, 900, referred=False))


def test_packets_of_no_time_or_no_structure_are_left_alone() -> None:
    surges = Surges(b"")
    for number in range(8):
        surges(coded(number, 100))
    surges(coded(8, 9000))
    broken = av.Packet(b"\0" * 50)
    assert not surges(broken)
    broken.pts = 7
    assert not surges(broken)
