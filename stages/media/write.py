"""Write a video file: the only encoder door for media that Clipmill makes itself.

H.264 in MP4 (or any container PyAV knows by suffix), pictures as RGB arrays, sound as int16. One
encoder thread and bit-exact muxing give the same bytes for the same input on the same library
versions; that costs speed on large pictures and is worth it, because media is compared by digest.
A file appears under its name only when it is complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipmill.schemas.errors import ClipmillError

Picture = NDArray[np.uint8]
Sound = NDArray[np.int16]


class VideoWriter:
    """Encode frames and sound into `path`; use as a context manager.

    `fps` sets the clock. With `time_base` given, `write` takes explicit `pts` in that base, which
    makes variable frame rates. `gop` is the distance of keyframes at most; with `scene_keyframes`
    off they stand at exact multiples of it. `audio_rate` of None means a file without sound.
    Leaving the block by an exception leaves no file.
    """

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        fps: Fraction | int,
        *,
        time_base: Fraction | None = None,
        codec: str = "libx264",
        crf: int = 18,
        preset: str = "veryfast",
        gop: int = 48,
        b_frames: int = 2,
        scene_keyframes: bool = True,
        sar: Fraction = Fraction(1),
        audio_rate: int | None = None,
        audio_channels: int = 1,
        audio_codec: str = "aac",
        audio_bitrate: int = 64_000,
        options: Mapping[str, str] | None = None,
    ) -> None:
        if width % 2 or height % 2:
            raise ClipmillError(
                f"4:2:0 video needs even sides, not {width}x{height}",
                cure="round width and height to even numbers",
                input=str(path),
                stage="media.write",
            )
        import av

        self.path = Path(path)
        self.size = (width, height)
        self._part = self.path.with_name(f".{self.path.name}.part{self.path.suffix}")
        self._fps = Fraction(fps)
        self._explicit = time_base is not None
        self._base = time_base or 1 / self._fps
        self._next = 0
        self._samples = 0
        mux = {"movflags": "+faststart"} if self.path.suffix in {".mp4", ".mov", ".m4v"} else {}
        self._container: Any = av.open(str(self._part), "w", options=mux)
        self._container.flags |= av.container.Flags.bitexact.value
        self._video = self._picture_stream(codec, crf, preset, gop, b_frames, scene_keyframes, sar)
        self._video.codec_context.options = {
            **self._video.codec_context.options,
            **(options or {}),
        }
        self._audio: Any = None
        if audio_rate is not None:
            layout = {1: "mono", 2: "stereo"}[audio_channels]
            self._audio = self._container.add_stream(audio_codec, rate=audio_rate, layout=layout)
            self._audio.bit_rate = audio_bitrate
            self._audio.codec_context.flags |= av.codec.context.Flags.bitexact.value

    def _picture_stream(
        self,
        codec: str,
        crf: int,
        preset: str,
        gop: int,
        b_frames: int,
        scene_keyframes: bool,
        sar: Fraction,
    ) -> Any:
        import av

        stream: Any = self._container.add_stream(codec, rate=self._fps)
        stream.width, stream.height = self.size
        stream.pix_fmt = "yuv420p"
        stream.time_base = self._base
        context = stream.codec_context
        context.time_base = self._base
        context.gop_size = gop
        context.max_b_frames = b_frames
        context.thread_count = 1
        context.sample_aspect_ratio = sar
        context.flags |= av.codec.context.Flags.bitexact.value
        # cv2 converts with the BT.601 matrix in limited range; say so, or readers guess by size.
        context.colorspace, context.color_range = 5, 1
        context.color_primaries, context.color_trc = 6, 6
        if codec in {"libx264", "libx265"}:
            context.options = {"crf": str(crf), "preset": preset}
        if codec == "libx264":
            # x264's macroblock tree reads memory that nobody wrote (seen with its AVX-512 code,
            # core 165): one encoding in thirty of the very same frames came out different.
            context.options = {**context.options, "mbtree": "0"}
            if not scene_keyframes:
                context.options = {**context.options, "sc_threshold": "0"}
        return stream

    def write(self, picture: Picture, pts: int | None = None) -> None:
        """Encode one RGB picture (height, width, 3); `pts` only with an explicit `time_base`."""
        import av
        import cv2

        width, height = self.size
        if picture.shape != (height, width, 3):
            raise ValueError(f"picture of shape {picture.shape}, the file is {width}x{height}")
        if (pts is not None) != self._explicit:
            raise ValueError("pts and time_base are given together or not at all")
        planes = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2YUV_I420)
        frame: Any = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = self._next if pts is None else pts
        frame.time_base = self._base
        frame.colorspace, frame.color_range = 5, 1
        self._next += 1
        self._container.mux(self._video.encode(frame))

    def write_sound(self, pcm: Sound) -> None:
        """Append sound: (samples,) for mono or (samples, channels)."""
        import av

        if self._audio is None:
            raise ValueError("the file was opened without sound")
        rows = pcm.reshape(-1, pcm.shape[1] if pcm.ndim == 2 else 1)
        step = 4096
        for start in range(0, len(rows), step):
            block = np.ascontiguousarray(rows[start : start + step]).reshape(1, -1)
            frame: Any = av.AudioFrame.from_ndarray(
                block, format="s16", layout=self._audio.codec_context.layout
            )
            frame.sample_rate = self._audio.codec_context.sample_rate
            frame.pts = self._samples
            frame.time_base = Fraction(1, frame.sample_rate)
            self._samples += len(rows[start : start + step])
            self._container.mux(self._audio.encode(frame))

    def close(self) -> None:
        """Flush the encoders and put the file under its name."""
        self._container.mux(self._video.encode(None))
        if self._audio is not None:
            self._container.mux(self._audio.encode(None))
        self._container.close()
        self._part.replace(self.path)

    def abandon(self) -> None:
        """Drop what has been written."""
        self._container.close()
        self._part.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()


def write_video(
    path: Path,
    pictures: Iterable[Picture],
    fps: Fraction | int,
    sound: Sound | None = None,
    rate: int = 48_000,
    **options: Any,
) -> int:
    """Write pictures at a constant rate and their sound, interleaved; the number of frames.

    `options` go to `VideoWriter`; the size is that of the first picture. Without any picture no
    file is written and the answer is 0.
    """
    rest = iter(pictures)
    first = next(rest, None)
    if first is None:
        return 0
    height, width = first.shape[:2]
    audio_rate = None if sound is None else rate
    with VideoWriter(path, width, height, fps, audio_rate=audio_rate, **options) as writer:
        count = spent = 0
        for picture in chain([first], rest):
            if sound is not None and spent * fps <= count * rate:
                writer.write_sound(sound[spent : spent + rate // 2])
                spent += rate // 2
            writer.write(picture)
            count += 1
        if sound is not None:
            writer.write_sound(sound[spent:])
    return count
