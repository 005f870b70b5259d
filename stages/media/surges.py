"""Where the sizes of packets say that something new is shown, before anything is decoded.

A frame that cannot be taken from others costs many times what its neighbours cost: the first of a
scene, of a flash, of a slide, all of a quick fade. Around such a frame the others are worth looking
at too, even those that no frame refers to. A steady beat of large frames is an encoder's habit and
says nothing, so a surge is held against the largest frames of late and not against the mean. Of
H.264 alone, where the packet itself says whether others refer to its frame.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from clipmill.stages.media import h264

SURGE = 2.5  # times what is usual for a large frame
LATE = 12  # frames that say what is usual, of which
RANK = 3  # the third largest counts, since two may belong to the change itself


class Surges:
    """Asked of every packet in order, names the disposable ones around surges."""

    def __init__(self, extradata: bytes) -> None:
        self._sizes: deque[int] = deque(maxlen=LATE)
        self._shown = -(2**63)  # the latest tick so far
        self._near = False
        try:
            self._length: int | None = h264.configuration(extradata).length_size
        except h264.NotH264:  # units are parted by start codes
            self._length = None

    def __call__(self, packet: Any) -> bool:
        """Whether the packet's frame should be decoded though no other refers to it."""
        if packet.pts is None:
            return False
        if packet.pts > self._shown:  # shown after all before it, so those are coded from it
            self._shown = packet.pts
            self._near = not packet.is_keyframe and self._surges(packet.size)
        return self._near and self._disposable(bytes(packet))

    def _surges(self, size: int) -> bool:
        rank = min(RANK, max(1, len(self._sizes) // 2))
        surges = bool(self._sizes) and size > SURGE * sorted(self._sizes)[-rank]
        self._sizes.append(size)
        return surges

    def _disposable(self, packet: bytes) -> bool:
        """By `nal_ref_idc`, H.264 7.4.1, of the picture's first unit."""
        if self._length is None:
            units = h264.split_start_codes(packet)
        else:
            units = h264.units(packet, self._length)
        try:
            pictures = (unit for unit in units if 1 <= h264.kind(unit) <= h264.IDR)
            return next((not unit[0] & 0x60 for unit in pictures), False)
        except h264.NotH264:
            return False
