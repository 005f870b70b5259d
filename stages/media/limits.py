"""What a media file may cost, and what opening it may touch.

Inputs come from strangers: a 100 KB file can declare 2 million pixels a side, a playlist renamed
`.mp4` can read any file or call any address. So a file is opened by the `file` protocol alone and
only by demuxers that read one self-contained file (no HLS, DASH, concat, image sequences or
devices), and size, length, pixels, rate and streams are capped before they are paid for. An
allow-list refuses a rare harmless format; a deny-list would miss the next dangerous one.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from clipmill.schemas.errors import OverLimit

PROTOCOLS = "file"

DEMUXERS = ",".join(
    (
        "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,asf,ogg,nut,mxf,gxf,dv,rm,nsv",
        "mpeg,mpegts,mpegvideo,m4v,h264,hevc,vvc,av1,obu,ivf,vc1,cavsvideo,yuv4mpegpipe",
        "wtv,pmp,swf,bink,smk,roq,gif,wav,mp3,aac,flac,ac3,eac3,amr,aiff,au,caf,w64",
    )
)
"""Demuxers of self-contained files; plain audio is here so that it is named NoVideo."""

SEEKABLE = frozenset({"mov", "mp4", "matroska", "webm"})
"""Containers with an index in which a seek is exact; all others are read from their start."""


class Limits(BaseModel):
    """Caps on one input. Reaching one raises `OverLimit`, time and memory `DecoderLost`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    max_gb: float = Field(default=64.0, gt=0)
    """Size of the file in 10^9 bytes."""
    max_hours: float = Field(default=24.0, gt=0)
    """Presented duration of the picture."""
    max_pixels: int = Field(default=8192 * 8192, gt=0)
    """Pixels of one frame."""
    max_fps: float = Field(default=480.0, gt=0)
    """Average frame rate."""
    max_streams: int = Field(default=64, gt=0)
    """Streams of the container."""
    timeout_s: float = Field(default=1500.0, gt=0)
    """Wall clock for one pass over the file; past it the decoder is killed."""
    memory_gb: float = Field(default=6.0, gt=0)
    """Address space a decoder may take beyond its idle size."""


def check_size(path: Path, limits: Limits) -> int:
    """Bytes of a file, or `OverLimit`."""
    size = path.stat().st_size
    if size > limits.max_gb * 1e9:
        raise OverLimit(
            f"the file has {size / 1e9:.1f} GB, the limit is {limits.max_gb:g} GB",
            cure="raise limits.max_gb, or leave the file out",
            input=str(path),
        )
    return size


def ffmpeg_url(path: Path) -> str:
    """A path as FFmpeg reads it literally: no option, protocol or pattern can hide in a name."""
    return f"file:{path.absolute()}"


def open_options() -> dict[str, str]:
    """Options for opening an input; FFmpeg hands them on to whatever the input opens itself."""
    return {"protocol_whitelist": PROTOCOLS, "format_whitelist": DEMUXERS}
