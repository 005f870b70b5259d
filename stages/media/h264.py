"""What has to be read and written of H.264 itself to join two encodings in one MP4 track.

Only parameter sets and the first byte of each unit are looked at. Field names are those of
ITU-T H.264 (7.3.2.1 sequence, 7.3.2.2 picture parameter sets, annex E) and of ISO/IEC 14496-15
5.3.3 (the decoder configuration record, "avcC"). Reading needs no library, so that hostile bytes
meet Python's bounds checks; they come out as `NotH264`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

IDR, SEI, SPS, PPS, DELIMITER = 5, 6, 7, 8, 9
"""Types of units, H.264 table 7-1."""

_HIGH = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})


class NotH264(ValueError):
    """Bytes that are not the structure they should be."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """A decoder configuration record: `head` is its profile, compatibility and level."""

    head: bytes
    length_size: int  # bytes of the length that precedes every unit in a packet
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]
    rest: bytes  # chroma and depth, only of high profiles

    def record(self) -> bytes:
        """The configuration as bytes."""
        if len(self.sps) > 31 or len(self.pps) > 255:
            raise NotH264("too many parameter sets for one record")
        first = bytes([1]) + self.head + bytes([0xFC | self.length_size - 1])
        sequence = bytes([0xE0 | len(self.sps)]) + b"".join(map(_sized, self.sps))
        return (
            first
            + sequence
            + bytes([len(self.pps)])
            + b"".join(map(_sized, self.pps))
            + (self.rest)
        )

    def holds(self, unit: bytes) -> bool:
        """Whether a parameter set inside the stream repeats one of the record's."""
        return unit in self.sps or unit in self.pps


@dataclass(frozen=True, slots=True)
class Sequence:
    """What a sequence parameter set says. `reordered` is None where it does not say."""

    number: int
    profile: int
    chroma: int  # 1 is 4:2:0
    depth: int
    progressive: bool
    reordered: int | None  # frames that may precede another one in decoding but not in output


def configuration(record: bytes) -> Configuration:
    """Read a decoder configuration record. Raises `NotH264`."""
    if len(record) < 7 or record[0] != 1:
        raise NotH264("no decoder configuration record")
    at, count = 6, record[5] & 31
    sps, at = _sets(record, at, count)
    if at >= len(record):
        raise NotH264("the decoder configuration record ends early")
    pps, at = _sets(record, at + 1, record[at])
    return Configuration(record[1:4], (record[4] & 3) + 1, sps, pps, record[at:])


def _sets(record: bytes, at: int, count: int) -> tuple[tuple[bytes, ...], int]:
    found = []
    for _ in range(count):
        size = int.from_bytes(record[at : at + 2], "big")
        unit = record[at + 2 : at + 2 + size]
        if not size or len(unit) < size:
            raise NotH264("the decoder configuration record ends early")
        found.append(unit)
        at += 2 + size
    return tuple(found), at


def _sized(unit: bytes) -> bytes:
    return len(unit).to_bytes(2, "big") + unit


def units(packet: bytes, length_size: int) -> Iterator[bytes]:
    """The units of a packet in MP4 form. Raises `NotH264` where lengths do not fit."""
    at = 0
    while at < len(packet):
        size = int.from_bytes(packet[at : at + length_size], "big")
        at += length_size
        if not size or at + size > len(packet):
            raise NotH264("a unit is longer than its packet")
        yield packet[at : at + size]
        at += size


def split_start_codes(data: bytes) -> Iterator[bytes]:
    """The units of an encoder's output, which parts them by start codes (annex B)."""
    for piece in data.split(b"\0\0\1")[1:]:
        unit = piece.rstrip(b"\0")  # the zero byte of a long start code; units end in a 1 bit
        if unit:
            yield unit


def kind(unit: bytes) -> int:
    """The type of a unit."""
    return unit[0] & 31


def picture_set_number(pps: bytes) -> int:
    """`pic_parameter_set_id`."""
    return _Bits(pps[1:]).golomb()


def sequence(sps: bytes) -> Sequence:
    """Read a sequence parameter set. Raises `NotH264`."""
    bits = _Bits(sps[1:])
    profile = bits.take(8)
    bits.take(16)
    number = bits.golomb()
    chroma, depth = 1, 8
    if profile in _HIGH:
        chroma = bits.golomb()
        if chroma == 3:
            bits.take(1)
        depth = 8 + max(bits.golomb(), bits.golomb())
        bits.take(1)
        if bits.take(1):
            _skip_matrices(bits, 8 if chroma != 3 else 12)
    bits.golomb()  # log2_max_frame_num_minus4
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.take(1)
        bits.golomb()  # signed, but only its length matters
        bits.golomb()
        for _ in range(min(bits.golomb(), 255)):
            bits.golomb()
    bits.golomb()  # max_num_ref_frames
    bits.take(1)
    bits.golomb()  # width
    bits.golomb()  # height
    progressive = bool(bits.take(1))
    if not progressive:
        bits.take(1)
    bits.take(1)
    if bits.take(1):
        for _ in range(4):
            bits.golomb()
    reordered = 0 if order == 2 else _reordered(bits) if bits.take(1) else None
    return Sequence(number, profile, chroma, depth, progressive, reordered)


def _skip_matrices(bits: _Bits, lists: int) -> None:
    for number in range(lists):
        if not bits.take(1):
            continue
        last = following = 8
        for _ in range(16 if number < 6 else 64):
            if following:
                code = bits.golomb()
                following = (last + (code + 1 >> 1) * (1 if code & 1 else -1)) % 256
            last = following or last


def _reordered(bits: _Bits) -> int | None:
    """`max_num_reorder_frames` of the usability information, E.1.1."""
    if bits.take(1) and bits.take(8) == 255:
        bits.take(32)
    if bits.take(1):
        bits.take(1)
    if bits.take(1):
        bits.take(4)
        if bits.take(1):
            bits.take(24)
    if bits.take(1):
        bits.golomb()
        bits.golomb()
    if bits.take(1):
        bits.take(65)
    models = [bits.take(1) and _skip_buffer_model(bits) for _ in range(2)]
    if any(models):
        bits.take(1)
    bits.take(1)
    if not bits.take(1):
        return None
    bits.take(1)
    for _ in range(4):
        bits.golomb()
    return bits.golomb()


def _skip_buffer_model(bits: _Bits) -> bool:
    count = bits.golomb() + 1
    bits.take(8)
    for _ in range(min(count, 32)):
        bits.golomb()
        bits.golomb()
        bits.take(1)
    bits.take(20)
    return True


class _Bits:
    """A reader of bits; bytes inserted to avoid start codes are taken out (7.3.1)."""

    def __init__(self, data: bytes) -> None:
        raw = data.replace(b"\0\0\3", b"\0\0")
        self._value, self._left = int.from_bytes(raw, "big"), 8 * len(raw)

    def take(self, count: int) -> int:
        if count > self._left:
            raise NotH264("a parameter set ends early")
        self._left -= count
        return self._value >> self._left & (1 << count) - 1

    def golomb(self) -> int:
        """ue(v), 9.1; a signed value has the same length."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 32:
                raise NotH264("a parameter set holds an impossible number")
        return (1 << zeros) - 1 + self.take(zeros)
