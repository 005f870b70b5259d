"""Six films of half a minute, alike in size, rate and cuts, for figures that others can compare.

1280x720, 30 frames per second, H.264 by x264 medium at 2.5 Mbit/s, AAC stereo, each of five scenes
of six seconds with hard cuts between them: a size that peers were measured on, and ordinary for
films from the web. Scenes are pieces of real films, best such as are one shot: motion of many kinds
is what makes decoding dear, and drawn pictures have little of it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import av

from clipmill.stages.media.cut_encode import binary

FILMS, SCENES, SCENE_S = 6, 5, 6
WIDTH, HEIGHT, FPS = 1280, 720, 30
RATE, PRESET = "2500k", "medium"
FITTED = (
    f"scale={WIDTH}:{HEIGHT}:force_original_aspect_ratio=increase,"
    f"crop={WIDTH}:{HEIGHT},setsar=1,format=yuv420p"
)

Scene = tuple[Path, str]
"""A film, and the filters that make a scene of it."""


def make(folder: Path, sources: Sequence[Path]) -> list[Path]:
    """The films in `folder`; those that are there already stay."""
    folder.mkdir(parents=True, exist_ok=True)
    films = [folder / f"made-{number}.mp4" for number in range(FILMS)]
    if all(film.exists() for film in films):
        return films
    scenes = _pieces(sources)
    for number, film in enumerate(films):
        partial = film.with_suffix(".part.mp4")
        _encode(scenes[number * SCENES : (number + 1) * SCENES], number, partial)
        partial.replace(film)
    return films


def _pieces(sources: Sequence[Path]) -> list[Scene]:
    """By turns one piece of every film, so that neighbours differ."""
    lengths = [_seconds(source) for source in sources]
    found: list[Scene] = []
    for turn in range(int(max(lengths, default=0)) // SCENE_S):
        for source, length in zip(sources, lengths, strict=True):
            if length >= (turn + 1) * SCENE_S:
                found.append((source, f"trim=start={turn * SCENE_S},{FITTED}"))
    if len(found) < FILMS * SCENES:
        raise SystemExit(
            f"{len(found)} scenes of {SCENE_S} s in these films, needed are {FILMS * SCENES}"
        )
    return found


def _seconds(source: Path) -> float:
    with av.open(str(source)) as container:
        picture = container.streams.video[0]
        if picture.duration and picture.time_base:
            return float(picture.duration * picture.time_base)
        return (container.duration or 0) / 1e6


def _encode(scenes: list[Scene], seed: int, target: Path) -> None:
    chains = []
    for number, (_, look) in enumerate(scenes):
        # A film may end a frame early; the last one then stands.
        exact = f"fps={FPS},tpad=stop_mode=clone:stop=-1,trim=duration={SCENE_S}"
        chains.append(f"[{number}:v:0]{look},setpts=PTS-STARTPTS,{exact}[v{number}]")
    joined = "".join(f"[v{number}]" for number in range(len(scenes)))
    chains.append(f"{joined}concat=n={len(scenes)}[picture]")
    length = len(scenes) * SCENE_S
    sound = f"anoisesrc=color=pink:amplitude=0.3:duration={length}:seed={seed},aformat=cl=stereo"
    command = [binary(), "-nostdin", "-v", "error", "-y"]
    command += [option for source, _ in scenes for option in ("-i", str(source))]
    command += ["-f", "lavfi", "-i", sound, "-filter_complex", ";".join(chains)]
    command += ["-map", "[picture]", "-map", f"{len(scenes)}:a"]
    command += ["-c:v", "libx264", "-preset", PRESET, "-b:v", RATE, "-c:a", "aac", "-b:a", "128k"]
    subprocess.run([*command, "-movflags", "+faststart", str(target)], check=True)
