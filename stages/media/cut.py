"""Cuts clips out of a source by encoding exactly the frames of their spans.

ffmpeg's own `-ss` and `-t` round, and its default frame handling drops or doubles frames to make
rates constant. Here frames are chosen by their timestamps inside the filter graph (by their number
where a container has no timestamps), times are passed through, and one process cuts several
neighbouring clips from one decode. Sound comes from `audio`, so that it is exact to the sample and
starts with the first frame. One encoder thread and bit-exact flags make equal input give equal
bytes.

No clip is trusted: each is opened again, its frames counted and its first, middle and last picture
compared with the source's. These functions run inside the sandbox.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np

from clipmill.schemas.clocks import Span
from clipmill.schemas.errors import Damaged, DecoderLost, MediaError
from clipmill.schemas.records import Probe
from clipmill.stages.media.audio import audio, has_audio
from clipmill.stages.media.child import die_with
from clipmill.stages.media.decode import UNTIMED
from clipmill.stages.media.frames import Picture, decode_from, display_size, raw, to_array
from clipmill.stages.media.limits import SEEKABLE, Limits, ffmpeg_url, open_options
from clipmill.stages.media.probe import probe as read

_GROUP = 8  # clips of one ffmpeg process; every open encoder holds its look-ahead in memory
_NEAR_S = 10  # a gap longer than this is worth a seek of its own
_MARGIN_S = Fraction(1, 2)
_THUMB = 32  # width of the pictures that are compared
_TOLERANCE = 12.0  # mean difference of two pictures in gray levels; neighbours of a cut are at 30+
_AUDIO_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_HDR = ("smpte2084", "arib-std-b67")


@dataclass(frozen=True, slots=True)
class Encoding:
    """How clips are encoded."""

    crf: int = 23
    preset: str = "veryfast"
    height: int | None = None
    fps: float | None = None
    audio: bool = True
    audio_kbps: int = 128
    ffmpeg: str | None = None


@dataclass(frozen=True, slots=True)
class ClipMedia:
    """A clip that has been cut and checked."""

    path: Path
    frames: int
    fps: float
    width: int
    height: int
    seconds: float
    audio: bool
    mode: str
    readers: str  # who shows exactly these frames: "all", or "editlist" for readers of edit lists


@dataclass(slots=True)
class _Wanted:
    """A clip to cut: its frames' ticks and small pictures of them, and their running numbers."""

    key: str
    first: int  # tick on the picture's clock
    end: int
    ticks: list[int]
    numbers: tuple[int, int]
    thumbs: list[Picture]


def binary(setting: str | None = None) -> str:
    """The ffmpeg program: the one set, or the one that comes with the package."""
    if setting:
        return setting
    import imageio_ffmpeg

    path: str = imageio_ffmpeg.get_ffmpeg_exe()
    return path


def version(setting: str | None = None) -> str:
    """ffmpeg's version line, for fingerprints."""
    command = [binary(setting), "-nostdin", "-hide_banner", "-version"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return shown.stdout.split("\n", 1)[0]


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
    wanted = _survey(source, probe, spans, limits)
    try:
        return _attempt(source, probe, wanted, folder, encoding, limits, probe.picture.seekable)
    except Damaged:
        if not probe.picture.seekable:
            raise
    # A seek that arrived on a frame whose references lie before it; from the start there is none.
    return _attempt(source, probe, wanted, folder, encoding, limits, seek=False)


def _survey(source: Path, probe: Probe, spans: dict[str, Span], limits: Limits) -> list[_Wanted]:
    """What the source holds in each span, by our own decoding.

    Where no frame starts inside a span (a slide that stands for a minute) the one on screen counts.
    """
    clock = probe.picture.clock
    wanted = []
    for key, span in spans.items():
        own = span.on(clock, "ceil")
        wanted.append(_Wanted(key, own.start, own.end, [], (0, 0), []))
    begin = min(item.first for item in wanted)
    end = max(item.end for item in wanted)
    before: dict[str, tuple[int, int, Any]] = {}
    for number, (tick, frame) in enumerate(decode_from(source, probe, begin, limits)):
        if tick >= end:
            break
        thumb = None
        for item in wanted:
            if item.first <= tick < item.end:
                thumb = to_array(frame, probe.picture, _THUMB) if thumb is None else thumb
                _add(item, number, tick, thumb)
            elif tick < item.first:
                before[item.key] = (number, tick, frame)
    for item in wanted:
        if not item.ticks and item.key in before:
            number, tick, frame = before[item.key]
            _add(item, number, tick, to_array(frame, probe.picture, _THUMB))
        if not item.ticks:
            raise MediaError(
                f"clip {item.key}: not one frame decodes inside its span",
                cure="probe with strict: true to refuse damaged files",
                input=source.name,
            )
    return wanted


def _add(item: _Wanted, number: int, tick: int, thumb: Picture) -> None:
    item.numbers = (item.numbers[0] if item.ticks else number, number)
    item.ticks.append(tick)
    item.thumbs.append(thumb)


def _attempt(
    source: Path,
    probe: Probe,
    wanted: Sequence[_Wanted],
    folder: Path,
    encoding: Encoding,
    limits: Limits,
    seek: bool,
) -> dict[str, ClipMedia]:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".cut-") as work:
        command = _command(source, probe, wanted, folder, Path(work), encoding, limits, seek)
        _run(command, Path(work), limits)
    return {
        item.key: _checked(folder / f"{item.key}.mp4", source, probe, item, encoding, limits)
        for item in wanted
    }


def _command(
    source: Path,
    probe: Probe,
    wanted: Sequence[_Wanted],
    folder: Path,
    work: Path,
    encoding: Encoding,
    limits: Limits,
    seek: bool,
) -> list[str]:
    picture = probe.picture
    options: dict[str, Any] = {"threads": 1, "display_rotation": 0, **open_options()}
    if seek:
        zero = Fraction(picture.clock.zero * picture.clock.num, picture.clock.den)
        begin = picture.clock.exact(min(item.first for item in wanted)) + zero - _MARGIN_S
        if begin > 0:
            options |= {"seek_timestamp": 1, "noaccurate_seek": None, "ss": f"{float(begin):.6f}"}
    video = ffmpeg.input(ffmpeg_url(source), **options)[str(picture.index)]
    branches = video.filter_multi_output("split", len(wanted)) if len(wanted) > 1 else [video]
    outputs = []
    for number, item in enumerate(wanted):
        streams = [_filtered(branches[number], probe, item, encoding)]
        sound = _sound(source, probe, item, encoding, work / f"{number}.pcm", limits)
        settings = _video_settings(probe, encoding)
        if sound is not None:
            streams.append(sound)
            settings |= {"c:a": "aac", "b:a": f"{encoding.audio_kbps}k", "flags:a": "+bitexact"}
        outputs.append(ffmpeg.output(*streams, ffmpeg_url(folder / f"{item.key}.mp4"), **settings))
    command: list[str] = ffmpeg.compile(
        ffmpeg.merge_outputs(*outputs), cmd=binary(encoding.ffmpeg), overwrite_output=True
    )
    general = ["-nostdin", "-hide_banner", "-loglevel", "error", "-copyts"]
    threads = ["-filter_threads", "1", "-filter_complex_threads", "1"]
    return [command[0], *general, *threads, *command[1:]]


def _filtered(video: Any, probe: Probe, item: _Wanted, encoding: Encoding) -> Any:
    """The filters that pick a clip's frames and show them upright, square, even and 8-bit."""
    picture = probe.picture
    untimed = bool(set(probe.container.split(",")) & UNTIMED)
    if untimed or not (picture.seekable or read_from_start(probe)):
        video = video.filter("select", f"between(n,{item.numbers[0]},{item.numbers[1]})")
        video = video.filter("setpts", "N/(FRAME_RATE*TB)" if untimed else "PTS-STARTPTS")
    else:
        video = video.filter("trim", start_pts=item.ticks[0], end_pts=item.ticks[-1] + 1)
        video = video.filter("setpts", f"PTS-{item.ticks[0]}")
    if picture.mirrored:
        video = video.filter("hflip")
    for turn in {90: ["cclock"], 180: ["cclock", "cclock"], 270: ["clock"]}.get(
        picture.rotation, []
    ):
        video = video.filter("transpose", turn)
    if picture.transfer in _HDR:
        # Linear light with 100 nit as white, BT.709 primaries, Hable's curve for the highlights.
        video = video.filter("zscale", t="linear", npl=100).filter("format", "gbrpf32le")
        video = video.filter("zscale", p="bt709").filter("tonemap", "hable", desat=0)
        video = video.filter("zscale", t="bt709", m="bt709", r="tv")
    width, height = clip_size(probe, encoding.height)
    video = video.filter("scale", width, height, flags="bicubic+accurate_rnd+full_chroma_int")
    video = video.filter("setsar", "1").filter("format", "yuv420p")
    return video.filter("fps", fps=encoding.fps, round="up") if encoding.fps else video


def read_from_start(probe: Probe) -> bool:
    """Whether the container has times but no exact seek; its frames are picked by their times."""
    return not set(probe.container.split(",")) & (UNTIMED | SEEKABLE)


def clip_size(probe: Probe, height: int | None) -> tuple[int, int]:
    """Even width and height of the clips; `height` only ever makes them smaller."""
    width, tall = display_size(probe.picture)
    if height is not None and height < tall:
        width, tall = round(width * height / tall), height
    return max(2, width // 2 * 2), max(2, tall // 2 * 2)


def _video_settings(probe: Probe, encoding: Encoding) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "c:v": "libx264",
        "preset": encoding.preset,
        "crf": encoding.crf,
        "threads": 1,
        "fps_mode": "passthrough",
        "enc_time_base": "filter",
        "flags:v": "+bitexact",
        "fflags": "+bitexact",
        "map_metadata": -1,
        "map_chapters": -1,
        "movflags": "+faststart",
        "f": "mp4",
    }
    if not encoding.fps:
        settings["video_track_timescale"] = min(probe.picture.clock.den, 2**31 - 1)
    return settings


def _sound(
    source: Path, probe: Probe, item: _Wanted, encoding: Encoding, target: Path, limits: Limits
) -> Any:
    """The clip's sound as a second input, from its first frame to its end; None without any."""
    if not encoding.audio or not has_audio(probe):
        return None
    track = probe.sound[0]
    rate = track.sample_rate if track.sample_rate in _AUDIO_RATES else 48_000
    channels = 2 if (track.channels or 1) > 1 else 1
    start, end = _times(probe, item)
    with target.open("wb") as file:
        for samples in audio(
            source,
            probe,
            rate=rate,
            start_s=float(start),
            end_s=float(end),
            channels=channels,  # type: ignore[arg-type]
            limits=limits,
        ):
            file.write(samples.astype("<i2").tobytes())
    return ffmpeg.input(
        ffmpeg_url(target), f="s16le", ar=rate, ac=channels, protocol_whitelist="file"
    ).audio


def _times(probe: Probe, item: _Wanted) -> tuple[Fraction, Fraction]:
    """Presentation times of a clip's first frame and of its end."""
    clock = probe.picture.clock
    end = min(item.end, probe.picture.end or item.end)
    start = max(item.first, item.ticks[0])
    return clock.exact(start), clock.exact(max(end, start + 1))


def _run(command: list[str], work: Path, limits: Limits) -> None:
    parent = os.getpid()
    with (work / "log").open("w+b") as log:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                timeout=limits.timeout_s,
                preexec_fn=lambda: die_with(parent),
            )
        except subprocess.TimeoutExpired as error:
            raise DecoderLost(
                f"timeout: ffmpeg was killed after {limits.timeout_s:g} s",
                cure="raise limits.timeout_s if the clips are long",
            ) from error
        log.seek(0)
        said = log.read(2000).decode(errors="replace").strip()
    if done.returncode < 0:
        raise DecoderLost(f"signal {-done.returncode}: ffmpeg died ({said})")
    if done.returncode:
        raise Damaged(
            f"ffmpeg could not cut ({said})",
            cure="probe with strict: true to refuse damaged files",
        )


def _checked(
    path: Path, source: Path, probe: Probe, item: _Wanted, encoding: Encoding, limits: Limits
) -> ClipMedia:
    """The clip as it can be read back, or `Damaged` where it is not what was asked for."""
    clip = read(path, limits, count_frames=False)
    ticks, thumbs = [], []
    for tick, frame in raw(path, clip, None, None, limits):
        ticks.append(tick)
        thumbs.append(to_array(frame, clip.picture, _THUMB))
    start, end = _times(probe, item)
    count = len(ticks)
    if encoding.fps:
        expected = max(1, round((end - start) * Fraction(encoding.fps)))
        wrong = abs(count - expected) > 1
    else:
        expected = len(item.ticks)
        wrong = count != expected
    if wrong:
        raise _inexact(item, source, f"{count} frames instead of {expected}")
    clock, own = probe.picture.clock, clip.picture.clock
    for number in sorted({0, count // 2, count - 1}):
        at = own.exact(ticks[number]) - own.exact(ticks[0])
        nearest = number if not encoding.fps else _nearest(item, probe, start + at)
        around = item.thumbs[max(0, nearest - 1) : nearest + 2]
        same = around if encoding.fps else [item.thumbs[nearest]]
        apart = min(_distance(thumbs[number], other, probe) for other in same)
        if apart > _TOLERANCE:
            raise _inexact(item, source, f"frame {number} differs by {apart:.0f} gray levels")
        late = abs(at - clock.exact(item.ticks[nearest]) + clock.exact(item.ticks[0]))
        if not encoding.fps and probe.picture.seekable and late > Fraction(own.num, own.den):
            raise _inexact(item, source, f"frame {number} is {float(late):.4f} s off")
    seconds = float(end - start)
    return ClipMedia(
        path=path,
        frames=count,
        fps=count / seconds if seconds else 0.0,
        width=clip.picture.width or 0,
        height=clip.picture.height or 0,
        seconds=seconds,
        audio=has_audio(clip),
        mode="encode",
        readers="all",
    )


def _nearest(item: _Wanted, probe: Probe, at: Fraction) -> int:
    clock = probe.picture.clock
    return min(range(len(item.ticks)), key=lambda n: abs(clock.exact(item.ticks[n]) - at))


def _distance(thumb: Picture, other: Picture, probe: Probe) -> float:
    """Mean difference in gray levels; of HDR only how bright and dark lie, tone mapping aside."""
    height = min(len(thumb), len(other))  # the even size of clips may cost a row
    left, right = (part[:height].astype(np.float64) for part in (thumb, other))
    if probe.picture.transfer in _HDR:
        left, right = (part.mean(axis=2).argsort(axis=None).argsort() for part in (left, right))
        return float(np.abs(left - right).mean() * 64 / left.size)
    return float(np.abs(left - right).mean())


def _inexact(item: _Wanted, source: Path, what: str) -> Damaged:
    return Damaged(
        f"clip {item.key} is not what its span holds: {what}",
        cure="the source is damaged or its timestamps are wrong; remux it, or leave it out",
        input=source.name,
    )
