"""Cuts clips out of a source: whole groups of packets copied where that is exact, else encoded.

`encode` makes every frame anew, alike for all clips. `smart` copies whole groups of pictures and
encodes only what lies between a span's ends and the next clean points: a sixth of the frames of
true shots, no loss in the others, but clips differ in how they are coded. `copy` copies everything
and hides what lies outside the span by an edit list, which some readers ignore. Whatever the way,
no clip is trusted: each is opened again and compared with its source (`clip_check`), and where
`smart` or `copy` is not proven for a source, or fails its check, the clip is encoded and says so.
These functions run inside the sandbox.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Probe
from clipmill.stages.media.clip import ClipMedia, Encoding, Mode, Wanted
from clipmill.stages.media.cut_copy import CopyCutter
from clipmill.stages.media.cut_encode import encode, version
from clipmill.stages.media.cut_smart import SmartCutter
from clipmill.stages.media.decode import open_input
from clipmill.stages.media.limits import Limits

__all__ = ["ClipMedia", "Encoding", "Mode", "cut_group", "groups", "version"]

_GROUP = 8  # clips of one ffmpeg process; every open encoder holds its look-ahead in memory
_NEAR_S = 10  # a gap longer than this is worth a seek of its own


def groups(probe: Probe, spans: dict[str, Span]) -> Iterator[dict[str, Span]]:
    """Spans in time order, in runs that are worth one decode."""
    run: dict[str, Span] = {}
    until = 0.0
    for key, span in sorted(spans.items(), key=lambda item: (item[1].start_s, item[0])):
        far = probe.picture.seekable and span.start_s > until + _NEAR_S
        if run and (far or len(run) == _GROUP):
            yield run
            run = {}
        run[key] = span
        until = max(until, span.end_s) if len(run) > 1 else span.end_s
    if run:
        yield run


def cut_group(
    source: Path,
    probe: Probe,
    spans: dict[str, Span],
    folder: Path,
    encoding: Encoding,
    limits: Limits,
) -> dict[str, ClipMedia]:
    """Cut one group into `folder/KEY.mp4`. Raises `MediaError` where a clip is not exact."""
    clock = probe.picture.clock
    items = []
    for key, span in spans.items():
        own = span.on(clock, "ceil")
        items.append(Wanted(key, own.start, own.end))
    made: dict[str, ClipMedia] = {}
    reasons: dict[str, str] = {}
    if encoding.mode != "encode":
        # The shape of pixels is found out by decoding, and goes on into the clips.
        square = probe.picture.sar_num == probe.picture.sar_den
        with open_input(source, probed=probe.picture.codec if square else "") as container:
            kind = SmartCutter if encoding.mode == "smart" else CopyCutter
            made, reasons = kind(container, source, probe, encoding, limits).cut(items, folder)
    rest = [item for item in items if item.key not in made]
    if rest:
        modes = {item.key: "encode" for item in rest}
        modes |= {key: f"encode: {reason}" for key, reason in reasons.items()}
        made |= encode(source, probe, rest, folder, encoding, limits, modes)
    return made
