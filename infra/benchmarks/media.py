"""From a film to clips beside its yardsticks: `python infra/benchmarks/media.py FILM...`.

Every film goes, in one run, through ffmpeg's decoder alone (the floor), through PySceneDetect's
command line (adaptive detection, clips by x264) and through our probe, shot detection, eight
frames of every shot and clips: encoded with the same x264 settings, cut smartly, copied. Printed
are processor seconds of all processes per second of film, and ratios. What a program costs before
it sees a film does not count, since a worker starts once for many films: ours is the sum of its
steps, PySceneDetect's start is measured apart and taken off. The likeness of clips to their source
is SSIM of luma on every 20th frame.

Steps are printed for our side; those that do not depend on the mode are measured with each mode,
and the least counts. On a crowded machine `--repeat N` does everything N times, on both sides, and
again the least counts. `--clips-only` leaves out the frames, which PySceneDetect does not take,
`--frames-only` leaves out clips and PySceneDetect, `--modes` whatever it does not name, and
PySceneDetect with `encode`. Shots and frames are measured in two ways: one after the other, with
exactly eight frames of every shot, and in one pass that keeps two pictures a second, of which a
shot then has at most eight; those rows end in `, kept`. With `--descriptions` those of shots
likewise: measured by themselves, or eight times a second in that pass. `--made FOLDER` measures
films of one size instead, made there from pieces of the given ones, once (made_films.py).
"""

from __future__ import annotations

import argparse
import csv
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import made_films
import numpy as np
from numpy.typing import NDArray

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Probe
from clipmill.stages.caption.describe_clip import describe_spans
from clipmill.stages.frames.sample_frames import moments_of
from clipmill.stages.media import sandbox
from clipmill.stages.media.cut import Encoding, Mode, cut_group, groups
from clipmill.stages.media.cut_encode import binary
from clipmill.stages.media.frames import sample, scan
from clipmill.stages.media.limits import Limits
from clipmill.stages.media.passing import Wish
from clipmill.stages.media.probe import probe
from clipmill.stages.media.strip import Keep, StripWish, kept
from clipmill.stages.score.measures import MeasuresWish
from clipmill.stages.split.fast_shots import detect
from clipmill.stages.split.split_shots import shots_between

T = TypeVar("T")
LAZY = ("cv2", "imageio_ffmpeg", "numpy.ma")
"""What is loaded with a worker's first film; PySceneDetect loads OpenCV at its start too."""
MODES: tuple[Mode, ...] = ("encode", "smart", "copy")
FRAMES = 8
MEASURE_FPS = 8.0
SSIM_STEP = 20


def spent() -> float:
    """Processor seconds of this process and of its children that have ended."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return total


def run(command: list[str]) -> float:
    """Processor seconds of a command with all its children."""
    before = spent()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return spent() - before


def floor(film: Path) -> float:
    """One thread decodes the picture and drops it."""
    command = [binary(), "-nostdin", "-v", "error", "-threads", "1", "-i", str(film)]
    return run([*command, "-map", "0:v:0", "-f", "null", "-"])


def yardstick(film: Path | None, out: Path, crf: int, preset: str) -> float:
    """PySceneDetect's command line; without a film what its start alone costs."""
    command = [str(Path(sys.executable).parent / "scenedetect")]
    if film is None:
        return run([*command, "version"])
    split = ["split-video", "-q", "-o", str(out), "-crf", str(crf), "-p", preset]
    scenes = ["list-scenes", "-q", "-o", str(out)]
    return run([*command, "-q", "-i", str(film), "detect-adaptive", *scenes, *split])


def ours(film: Path, mode: Mode, out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Our way in this process: seconds by step, spans and modes by clip."""
    seconds: dict[str, float] = {}

    def timed(step: str, work: Callable[[], T]) -> T:
        before = spent()
        result = work()
        seconds[step] = spent() - before
        return result

    facts = timed("probe", lambda: probe(film, count_frames=False))
    changes = timed("split", lambda: list(detect(film, facts)))
    shots = shots_between(facts.span, changes, 0.6)
    if not options.clips_only:
        clock = facts.picture.clock
        moments = [m for shot in shots for m in moments_of(shot, clock, "uniform", FRAMES, 1.0)]
        timed("frames", lambda: sample(film, facts, moments, max_side=512))
        timed("kept", lambda: in_one_pass(film, facts, out / "kept", False))
    if options.descriptions:
        timed("describe", lambda: describe_spans(film, facts, shots, MEASURE_FPS, None, Limits()))
        timed("described", lambda: in_one_pass(film, facts, out / "described", True))
    spans = {f"{number:03d}": shot for number, shot in enumerate(shots)}
    encoding = Encoding(mode=mode, crf=options.crf, preset=options.preset)
    made: dict[str, str] = {}
    if not options.frames_only:
        made = timed("clips", lambda: cut(film, facts, spans, out, encoding))
    return {
        "seconds": seconds,
        "spans": {key: [span.start, span.end] for key, span in spans.items()},
        "modes": made,
    }


def in_one_pass(film: Path, facts: Probe, folder: Path, described: bool) -> None:
    """Shots with their frames, and descriptions if wanted, from what one pass leaves."""
    folder.mkdir()
    keep, strip, measures = Keep(), folder / "strip", folder / "measures"
    wishes: list[Wish] = [StripWish(strip, keep)]
    if described:
        wishes.append(MeasuresWish(measures, MEASURE_FPS))
    shots = shots_between(facts.span, detect(film, facts, wishes=wishes), 0.6)
    kept(film, facts, shots, FRAMES, keep, strip)
    if described:
        describe_spans(film, facts, shots, MEASURE_FPS, measures, Limits())


def cut(
    film: Path, facts: Probe, spans: dict[str, Span], out: Path, encoding: Encoding
) -> dict[str, str]:
    made: dict[str, str] = {}
    for group in groups(facts, spans):
        clips = cut_group(film, facts, group, out, encoding, Limits())
        made |= {key: clip.mode for key, clip in clips.items()}
    return made


def in_child(film: Path, mode: Mode, out: Path, options: argparse.Namespace) -> Any:
    """`ours` in a process of its own, so that films do not warm one another."""
    command = [sys.executable, __file__, str(film), "--worker", mode]
    command += ["--out", str(out), "--crf", str(options.crf), "--preset", options.preset]
    command += ["--clips-only"] if options.clips_only else []
    command += ["--frames-only"] if options.frames_only else []
    command += ["--descriptions"] if options.descriptions else []
    environment = os.environ | sandbox.ENVIRONMENT
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(said.stdout)


def ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Structural similarity of two gray pictures (Wang et al. 2004), Gaussian window of 1.5."""
    import cv2

    def mean(values: Any) -> Any:
        return cv2.GaussianBlur(values, (11, 11), 1.5)

    x, y = a.astype(np.float64), b.astype(np.float64)
    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    c1, c2 = 6.5025, 58.5225
    top = (2 * mx * my + c1) * (2 * vxy + c2)
    return float((top / ((mx * mx + my * my + c1) * (vx + vy + c2))).mean())


def pictures(film: Path, every: set[int] | None = None) -> Iterator[tuple[int, Any]]:
    """(number, luma) of a film's frames."""
    for number, (_, pixels) in enumerate(scan(film, probe(film, count_frames=False), gray=True)):
        if every is None or number in every:
            yield number, pixels


def likeness(film: Path, clips: list[tuple[int, Path]]) -> float:
    """Mean SSIM of clips that begin at these frames of the film."""
    wanted: dict[int, Any] = {}
    for start, path in clips:
        for number, pixels in pictures(path):
            if (start + number) % SSIM_STEP == 0:
                wanted[start + number] = pixels
    return float(np.mean([ssim(p, wanted[n]) for n, p in pictures(film, set(wanted))]))


def starts(peer: Path) -> list[int]:
    """First frames of PySceneDetect's scenes, from the table that it wrote."""
    (table,) = peer.glob("*.csv")
    with table.open() as file:
        rows = list(csv.reader(file))
    head = next(n for n, row in enumerate(rows) if "Start Frame" in row)
    column = rows[head].index("Start Frame")
    return [int(row[column]) - 1 for row in rows[head + 1 :]]


def report(films: list[Path], options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        start_up = yardstick(None, folder, options.crf, options.preset)
        totals: dict[str, float] = {}
        for film in films:
            compare(film, folder / film.stem, start_up, totals, options)
        chart(totals)


def compare(
    film: Path,
    folder: Path,
    start_up: float,
    totals: dict[str, float],
    options: argparse.Namespace,
) -> None:
    facts = probe(film, count_frames=False)
    ticks = [tick for tick, _ in scan(film, facts, width=16, gray=True)]
    length = facts.duration_s
    peer = folder / "peer"
    peer.mkdir(parents=True)
    row = {"decode floor": min(floor(film) for _ in range(len(MODES) * options.repeat))}
    if "encode" in options.modes and not options.frames_only:
        took = [yardstick(film, peer, options.crf, options.preset) for _ in range(options.repeat)]
        row["PySceneDetect"] = min(took) - start_up
    print(f"\n{film.name}: {length:.1f} s, {facts.picture.width}x{facts.picture.height}")
    spent_on: dict[str, dict[str, float]] = {}
    for mode in options.modes:
        runs = []
        for number in range(options.repeat):
            out = folder / f"{mode}-{number}"
            out.mkdir()
            runs.append(in_child(film, mode, out, options))
        told = runs[-1]
        spent_on[mode] = least([run["seconds"] for run in runs])
        steps = ", ".join(f"{name} {value / length:.4f}" for name, value in spent_on[mode].items())
        same = sum(made == mode for made in told["modes"].values())
        clips_made = f"{same} of {len(told['modes'])} clips that way; " if told["modes"] else ""
        print(f"  {mode:7} {clips_made}{steps}", flush=True)
        if mode == "encode" and not options.frames_only:
            clips = [
                (ticks.index(span[0]), out / f"{key}.mp4") for key, span in told["spans"].items()
            ]
            theirs = list(zip(starts(peer), sorted(peer.glob("*.mp4")), strict=True))
            print(
                f"  SSIM: ours {likeness(film, clips):.4f}, PySceneDetect's "
                f"{likeness(film, theirs):.4f}"
            )
    row |= sums(spent_on)
    for name, value in row.items():
        totals[name] = totals.get(name, 0.0) + value
        print(f"  {name:33} {value / length:.4f} CPU-s/s{beside(value, row)}")
    totals["seconds"] = totals.get("seconds", 0.0) + length


def sums(spent_on: dict[str, dict[str, float]]) -> dict[str, float]:
    """Seconds of each mode in both ways; of a step that all modes share the least counts."""
    shared = least(list(spent_on.values()))
    passes = {"": shared["split"] + shared.get("frames", 0.0)}
    if "kept" in shared:
        passes[", kept"] = shared["kept"]
    found = {f"shots and frames{way}": seconds for way, seconds in passes.items()}
    if "described" in shared:
        found["descriptions by themselves"] = shared["describe"]
        found["shots, frames, descriptions"] = passes[""] + shared["describe"]
        found["shots, frames, descriptions, kept"] = shared["described"]
    for mode, seconds in spent_on.items():
        for way, both in passes.items() if "clips" in seconds else ():
            found[f"{mode}{way}"] = shared["probe"] + both + seconds["clips"]
    return found


def least(runs: list[dict[str, float]]) -> dict[str, float]:
    """Of every step that the first run has the shortest time."""
    return {step: min(seconds[step] for seconds in runs) for step in runs[0]}


def chart(totals: dict[str, float]) -> None:
    length = totals.pop("seconds")
    most = max(totals.values())
    print("\nall films")
    for name, value in totals.items():
        bar = "#" * max(1, round(40 * value / most))
        print(f"{name:33} {value / length:.4f}{beside(value, totals)} {bar}")


def beside(value: float, row: dict[str, float]) -> str:
    """A figure as multiples of the yardsticks."""
    there = [name for name in ("decode floor", "PySceneDetect") if name in row]
    return "".join(f", {value / row[name]:5.2f} of {name}" for name in there)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("films", type=Path, nargs="*")
    parser.add_argument("--made", type=Path, metavar="FOLDER", help="six films of one size")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="the least of N runs")
    parser.add_argument("--crf", type=int, default=23)
    parser.add_argument("--preset", default="veryfast")
    parser.add_argument("--clips-only", action="store_true")
    parser.add_argument("--frames-only", action="store_true")
    parser.add_argument("--descriptions", action="store_true")
    parser.add_argument("--worker", choices=MODES, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        for name in LAZY:
            importlib.import_module(name)
        print(json.dumps(ours(options.films[0], options.worker, options.out, options)))
    else:
        made = made_films.make(options.made, options.films) if options.made else None
        report(made or options.films, options)


if __name__ == "__main__":
    main()
