"""Pictures with their exact times: a scan over a span, or single frames where they are wanted.

`scan` decodes in order and yields every frame once; `sample` reads from the packets which frames
are meant, decodes what these refer to and nothing else, and encodes JPEGs. A seek is only trusted
where the container has an index and gave every frame its own time, and is checked: the first frame
decoded must not lie behind the wanted one. Otherwise the file is read from its start, which is slow
and right.

Pictures come out as a viewer sees them: mirrored, turned, with square pixels (the width is
stretched, the height kept), and high dynamic range in the light of an ordinary screen; gray ones,
which are only compared, keep the luma they were coded with.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipmill.schemas.clocks import Clock, Span
from clipmill.schemas.errors import MediaError
from clipmill.schemas.records import Frame, Probe, Stream
from clipmill.stages.media.coded import Unclear, index, pick, shown
from clipmill.stages.media.decode import Decoding, open_input
from clipmill.stages.media.hdr import is_hdr, tone_mapped
from clipmill.stages.media.limits import Limits

Picture = NDArray[np.uint8]

_PREROLL_S = Fraction(
    2
)  # the first step back where a seek lands behind its target; doubled each time


def display_size(picture: Stream) -> tuple[int, int]:
    """Width and height as a viewer sees the stream."""
    width, height = picture.width or 1, picture.height or 1
    if picture.sar_num != picture.sar_den:
        width = max(1, round(width * Fraction(picture.sar_num, picture.sar_den)))
    return (height, width) if picture.rotation in (90, 270) else (width, height)


def scan(
    path: Path,
    probe: Probe,
    span: Span | None = None,
    width: int | None = None,
    fps: float | None = None,
    gray: bool = False,
    limits: Limits | None = None,
    height: int | None = None,
) -> Iterator[tuple[int, Picture]]:
    """(tick on the picture's clock, pixels) of every frame that starts inside `span`.

    Pixels are (height, width, 3) RGB or, with `gray`, (height, width), uint8. `width` scales to
    that display width, with `height` to that size whatever the shape. `fps` thins: the first frame
    at or after each multiple of 1/fps from the span's start; frames left out cost no conversion.
    """
    clock = probe.picture.clock
    first, end = _bounds(clock, span)
    step = Fraction(clock.den, clock.num) / Fraction(fps) if fps else None
    due: Fraction | None = None
    for tick, frame in raw(path, probe, first, end, limits):
        if step is not None:
            if due is None:
                due = Fraction(tick if first is None else first)
            if tick < due:
                continue
            due += step * ((tick - due) // step + 1)
        yield tick, to_array(frame, probe.picture, width, gray, height)


def raw(
    path: Path, probe: Probe, first: int | None, end: int | None, limits: Limits | None = None
) -> Iterator[tuple[int, Any]]:
    """(tick, `av.VideoFrame`) of the frames with first <= tick < end, in order, exactly."""
    for tick, frame in decode_from(path, probe, first, limits):
        if end is not None and tick >= end:
            return
        if first is None or tick >= first:
            yield tick, frame


def decode_from(
    path: Path, probe: Probe, at: int | None, limits: Limits | None, needed: bool = False
) -> Iterator[tuple[int, Any]]:
    """All frames from some key frame on that is shown at or before tick `at`; with `needed` those
    that no other frame refers to may be left out, always the same ones."""
    limits = limits or Limits()
    back = Fraction(0)
    while True:
        with open_input(path) as container:
            stream = container.streams[probe.picture.index]
            decoding = Decoding(container, stream, limits.max_pixels)
            landed = not _seek(container, stream, probe, at, back)
            if needed and decoding.ticker.timed:  # elsewhere times are counted, so none may miss
                stream.codec_context.skip_frame = "NONREF"
            for tick, frame in decoding:
                if not landed:
                    if at is not None and tick > at:
                        break  # behind the target: step back further and start again
                    landed = frame.key_frame
                if landed:
                    yield tick, frame
        if landed:
            return
        back = back * 2 or _PREROLL_S


def _seek(container: Any, stream: Any, probe: Probe, first: int | None, back: Fraction) -> bool:
    """Seek to the key frame before `first` minus `back` seconds; False to read from the start."""
    picture = probe.picture
    if first is None or not picture.seekable:
        return False
    target = first - round(back / stream.time_base)
    if target <= (picture.first or 0):
        return False
    try:
        container.seek(target, stream=stream, backward=True)
    except OSError:
        # A broken index; nothing has been read yet, so the start is still ahead.
        return False
    return True


def sample(
    path: Path,
    probe: Probe,
    ticks: Sequence[int],
    quality: int = 90,
    max_side: int | None = None,
    limits: Limits | None = None,
    windows: Mapping[int, tuple[int, int]] | None = None,
) -> list[Frame]:
    """The frames on screen at these ticks of the picture's clock, as JPEG, in the order asked.

    A tick before the first frame gets the first, one behind the last gets the last. `Frame.tick`
    is the frame's own time. Ticks that lie close together share one decoding run. `windows` are
    half-open and by tick: a key frame inside is taken instead of the exact frame, the one nearest
    to the tick; where packets are not to be trusted, they go unheeded.
    """
    windows = windows or {}
    found: dict[int, int] = {}
    encoded: dict[int, Frame] = {}  # at once: decoded frames are a hundred times larger
    with ExitStack() as stack:
        container = None
        if probe.picture.seekable and not probe.damaged:
            container = stack.enter_context(open_input(path))
        for run in _runs(sorted(set(ticks)), probe):
            for wanted, tick, frame in _meant(container, path, probe, run, windows, limits):
                found[wanted] = tick
                if tick not in encoded:
                    encoded[tick] = encode(frame, tick, probe.picture, quality, max_side)
    return [encoded[found[tick]] for tick in ticks]


def _runs(ticks: list[int], probe: Probe) -> Iterator[list[int]]:
    """Groups of ticks less than 10 s apart, of two minutes at most, since the packets of a group
    are held as a list; one group where seeking is not exact."""
    second = probe.picture.clock.den / probe.picture.clock.num
    run: list[int] = []
    for tick in ticks:
        far = run and (tick - run[-1] > 10 * second or tick - run[0] > 120 * second)
        if far and probe.picture.seekable:
            yield run
            run = []
        run.append(tick)
    if run:
        yield run


def _meant(
    container: Any,
    path: Path,
    probe: Probe,
    wanted: list[int],
    windows: Mapping[int, tuple[int, int]],
    limits: Limits | None,
) -> Iterator[tuple[int, int, Any]]:
    """What `_shown` yields, from as few packets as do, or key frames within `windows`; by it where
    they do not say.

    `container` is the open file, None where its packets are not to be trusted.
    """
    if container is not None:
        try:
            yield from _picked(container, path, probe, wanted, windows, limits or Limits())
            return
        except Unclear:
            pass  # what has come is right, and comes again
    yield from _shown(path, probe, wanted, limits)


def _picked(
    container: Any,
    path: Path,
    probe: Probe,
    wanted: list[int],
    windows: Mapping[int, tuple[int, int]],
    limits: Limits,
) -> Iterator[tuple[int, int, Any]]:
    ends = [windows.get(tick, (tick, tick + 1)) for tick in (wanted[0], wanted[-1])]
    first, end = min(wanted[0], ends[0][0]), max(wanted[-1] + 1, ends[1][1])
    found = index(container, probe, first, end, digests=False)
    there = shown(found, min(coded.tick for coded in found), end)
    keys = sorted(coded.tick for coded in found if coded.clean and not coded.hidden)
    if not there:
        raise Unclear("no frame at or before what was asked for")
    meant: dict[int, list[int]] = {}
    for tick in wanted:
        low, high = windows.get(tick, (tick, tick))
        inside = keys[bisect_left(keys, low) : bisect_left(keys, high)]
        exact = there[max(0, bisect_right(there, tick) - 1)]
        meant.setdefault(min(inside, key=lambda k: abs(k - tick), default=exact), []).append(tick)
    for tick, frame in pick(path, probe, found, meant, limits, container=container):
        for asked in meant[tick]:
            yield asked, tick, frame


def _shown(
    path: Path, probe: Probe, wanted: list[int], limits: Limits | None
) -> Iterator[tuple[int, int, Any]]:
    """(wanted tick, frame's tick, frame): the last frame at or before each wanted tick."""
    pending = list(wanted)
    held: tuple[int, Any] | None = None
    for tick, frame in decode_from(path, probe, wanted[0], limits):
        while pending and held is not None and tick > pending[0]:
            yield pending.pop(0), *held
        if not pending:
            return
        held = (tick, frame)
    if held is None:
        raise MediaError(
            "no frame decodes where one was asked for",
            cure="probe the file with strict=true to refuse damaged files",
            input=path.name,
        )
    for tick in pending:
        yield tick, *held


def to_array(
    frame: Any,
    picture: Stream,
    width: int | None = None,
    gray: bool = False,
    height: int | None = None,
    bgr: bool = False,
) -> Picture:
    """A decoded frame as a viewer sees it, uint8: (height, width, 3) RGB, or BGR, or with `gray`
    (height, width)."""
    shown_width, shown_height = display_size(picture)
    if width is not None:
        shown_height = height or max(1, round(shown_height * width / shown_width))
        shown_width = width
    turned = picture.rotation in (90, 270)
    size = (shown_height, shown_width) if turned else (shown_width, shown_height)
    pixels: Picture
    if is_hdr(picture) and not gray:
        pixels = tone_mapped(frame, picture, *size)
        pixels = pixels[..., ::-1] if bgr else pixels
    else:
        pixels = frame.reformat(
            *size,
            format="gray" if gray else "bgr24" if bgr else "rgb24",
            interpolation="AREA" if shown_width < display_size(picture)[0] else "BICUBIC",
            threads=1,  # more cost more, and other frames have use for the cores
        ).to_ndarray()
    if picture.mirrored:
        pixels = pixels[:, ::-1]
    if picture.rotation:
        pixels = np.rot90(pixels, picture.rotation // 90)
    return np.ascontiguousarray(pixels)


def encode(frame: Any, tick: int, picture: Stream, quality: int, max_side: int | None) -> Frame:
    """A decoded frame as JPEG, its longer side at most `max_side` pixels."""
    import cv2

    width, height = display_size(picture)
    if max_side is not None and max(width, height) > max_side:
        width = max(1, round(width * max_side / max(width, height)))
        frame = smaller(frame, picture, width)
    # OpenCV's order from the start: its own conversion wakes threads, which costs four pictures.
    pixels = to_array(frame, picture, width, bgr=True)
    # The same library as Pillow's, without its copies.
    _, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return Frame(picture.clock, tick, jpeg.tobytes(), pixels.shape[1], pixels.shape[0])


def smaller(frame: Any, picture: Stream, width: int) -> Any:
    """The frame shrunk to what `to_array` makes of it at this width, if that can be done as it is.

    JPEG halves colour anyway. Shrinking before the conversion takes half the time of doing both at
    once, which also darkens by a gray level; beside a full conversion averaged over areas, JPEGs
    made this way are 0.4 to 0.7 dB nearer to it.
    """
    full_range = frame.color_range == 2
    if frame.format.name != "yuv420p" or full_range or is_hdr(picture):
        return frame
    shown_width, shown_height = display_size(picture)
    size = (width, max(1, round(shown_height * width / shown_width)))
    if picture.rotation in (90, 270):
        size = size[::-1]
    return frame.reformat(*size, interpolation="AREA", threads=1)


def _bounds(clock: Clock, span: Span | None) -> tuple[int | None, int | None]:
    """First tick inside and first tick behind a span of any clock."""
    if span is None:
        return None, None
    own = span.on(clock, "ceil")
    return own.start, own.end
