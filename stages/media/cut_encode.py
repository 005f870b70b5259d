"""Cuts clips by encoding exactly the frames of their spans.

ffmpeg's own `-ss` and `-t` round, and its default frame handling drops or doubles frames to make
rates constant. Here frames are chosen by their timestamps inside the filter graph (by their number
where a container has no timestamps), times are passed through, and one process cuts several
neighbouring clips from one decode. Sound comes from `audio`, so that it is exact to the sample and
starts with the first frame. One encoder thread and bit-exact flags make equal input give equal
bytes.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import ffmpeg

from clipmill.schemas.errors import Damaged, DecoderLost
from clipmill.schemas.records import Probe
from clipmill.stages.media.child import die_with
from clipmill.stages.media.clip import AAC_CODER, ClipMedia, Encoding, Wanted
from clipmill.stages.media.clip_check import HDR, check, glance, survey
from clipmill.stages.media.clip_sound import sampled
from clipmill.stages.media.coded import Unclear
from clipmill.stages.media.decode import UNTIMED
from clipmill.stages.media.frames import display_size
from clipmill.stages.media.limits import SEEKABLE, Limits, ffmpeg_url, open_options

_MARGIN_S = Fraction(1, 2)


def binary(setting: str | None = None) -> str:
    """The ffmpeg program: the one set, or the one that comes with the package."""
    if setting:
        return setting
    import imageio_ffmpeg

    path: str = imageio_ffmpeg.get_ffmpeg_exe()
    return path


def version(setting: str | None = None) -> str:
    """What encodes: ffmpeg's version line and PyAV's version, for fingerprints."""
    command = [binary(setting), "-nostdin", "-hide_banner", "-version"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return f"{shown.stdout.splitlines()[0]}; PyAV {av.__version__}"


def encode(
    source: Path,
    probe: Probe,
    items: list[Wanted],
    folder: Path,
    encoding: Encoding,
    limits: Limits,
    modes: dict[str, str],
) -> dict[str, ClipMedia]:
    """Cut neighbouring clips into `folder/KEY.mp4`. Raises `MediaError` where one is not exact.

    `modes` is what the manifest says of each clip's making.
    """

    def attempt(seek: bool, trusted: bool = False) -> dict[str, ClipMedia]:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".cut-") as work:
            command = _command(source, probe, items, folder, Path(work), encoding, limits, seek)
            complaint = _run(command, Path(work), limits)
        if trusted and complaint:
            raise Damaged(f"ffmpeg complains ({complaint})")
        made = {}
        for item in items:
            path, mode = folder / f"{item.key}.mp4", modes[item.key]
            made[item.key] = check(
                path, source, probe, item, encoding, limits, mode, whole=not trusted
            )
        return made

    if not encoding.fps:  # thinning is judged by the neighbours of frames, so it needs them all
        try:
            glance(source, probe, items, limits)
            return attempt(seek=True, trusted=True)
        except (Unclear, Damaged):
            pass  # the packets promise more than decodes; then what decodes decides
    survey(source, probe, items, limits)
    try:
        return attempt(probe.picture.seekable)
    except Damaged:
        if not probe.picture.seekable:
            raise
    # A seek that arrived on a frame whose references lie before it; from the start there is none.
    return attempt(seek=False)


def _command(
    source: Path,
    probe: Probe,
    wanted: Sequence[Wanted],
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
            settings |= {
                "c:a": "aac",
                "aac_coder": AAC_CODER,
                "b:a": f"{encoding.audio_kbps}k",
                "flags:a": "+bitexact",
            }
        outputs.append(ffmpeg.output(*streams, ffmpeg_url(folder / f"{item.key}.mp4"), **settings))
    command: list[str] = ffmpeg.compile(
        ffmpeg.merge_outputs(*outputs), cmd=binary(encoding.ffmpeg), overwrite_output=True
    )
    general = ["-nostdin", "-hide_banner", "-loglevel", "error", "-copyts"]
    threads = ["-filter_threads", "1", "-filter_complex_threads", "1"]
    return [command[0], *general, *threads, *command[1:]]


def _filtered(video: Any, probe: Probe, item: Wanted, encoding: Encoding) -> Any:
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
    if picture.transfer in HDR:
        # Linear light with 100 nit as white, BT.709 primaries, Hable's curve for the highlights.
        video = video.filter("zscale", t="linear", npl=100).filter("format", "gbrpf32le")
        video = video.filter("zscale", p="bt709").filter("tonemap", "hable", desat=0)
        video = video.filter("zscale", t="bt709", m="bt709", r="tv")
    width, height = clip_size(probe, encoding.height)
    coded = (picture.width, picture.height, picture.sar_num, picture.pix_fmt)
    if coded != (width, height, picture.sar_den, "yuv420p"):  # even to do nothing costs it 5 %
        how = "bicubic+accurate_rnd+full_chroma_int"
        video = video.filter("scale", width, height, flags=how)
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
    source: Path, probe: Probe, item: Wanted, encoding: Encoding, target: Path, limits: Limits
) -> Any:
    """The clip's sound as a second input, from its first frame to its end; None without any."""
    sound = sampled(source, probe, item, encoding, limits)
    if sound is None:
        return None
    with target.open("wb") as file:
        for samples in sound.chunks:
            file.write(samples.astype("<i2").tobytes())
    return ffmpeg.input(
        ffmpeg_url(target),
        f="s16le",
        ar=sound.rate,
        ac=sound.channels,
        protocol_whitelist="file",
    ).audio


def _run(command: list[str], work: Path, limits: Limits) -> str:
    """Run ffmpeg; what it complained of though it carried on."""
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
    return said
