"""Peak memory over the length of a film: `python infra/benchmarks/memory.py`.

A minute is rendered, with a cut every five seconds and a tone, and repeated without encoding to a
short film and a long one. Each goes, in a process of its own, through probe (all frames counted),
shot detection, eight frames of every hundredth shot and smart clips of those shots. Printed are the
peaks of resident memory and what the longer one adds; the aim is at most a tenth.

The container's index is the part that must grow: some twenty bytes a packet, in every open file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from clipmill.stages.frames.sample_frames import moments_of
from clipmill.stages.media.cut import Encoding, cut_group, groups
from clipmill.stages.media.frames import sample
from clipmill.stages.media.limits import Limits
from clipmill.stages.media.probe import probe
from clipmill.stages.media.write import VideoWriter
from clipmill.stages.split.fast_shots import detect
from clipmill.stages.split.split_shots import shots_between

FPS, SHOT_S, RATE = 24, 5, 16_000


def render(path: Path, seconds: int, width: int, height: int) -> None:
    """Shots of coarse noise that drifts, and a tone."""
    rng, side = np.random.default_rng(0), max(1, width * 3 // 64)  # seen at any size
    with VideoWriter(path, width, height, FPS, audio_rate=RATE) as writer:
        for second in range(seconds):
            if second % SHOT_S == 0:
                tiles = rng.integers(0, 256, (height // side + 1, width // side + 1, 3), np.uint8)
                picture = tiles.repeat(side, 0).repeat(side, 1)
            for number in range(FPS):
                moved = np.roll(picture, second % SHOT_S * FPS + number, axis=1)
                writer.write(np.ascontiguousarray(moved[:height, :width]))
            wave = np.sin(np.arange(RATE) * 2 * np.pi * 440 / RATE)
            writer.write_sound((wave * 8000).astype(np.int16))


def repeat(source: Path, target: Path, times: int) -> None:
    """The film `times` over in one file, its packets copied."""
    with av.open(str(target), "w") as out:
        streams: dict[int, av.stream.Stream] = {}
        last: dict[int, int] = {}
        offset = Fraction(0)
        for _ in range(times):
            with av.open(str(source)) as film:
                for stream in film.streams:
                    if stream.index not in streams:
                        streams[stream.index] = out.add_stream_from_template(stream)
                length = Fraction(film.streams.video[0].duration or 0)
                length *= film.streams.video[0].time_base or 1
                for packet in film.demux():
                    number = packet.stream.index
                    if packet.dts is None or packet.pts is None:
                        continue
                    shift = round(offset / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    if packet.dts <= last.get(number, -(2**62)):
                        continue  # sound that reaches into the next round
                    last[number] = packet.dts
                    packet.stream = streams[number]
                    out.mux(packet)
            offset += length


def work(film: Path, every: int) -> int:
    """Shots found; the film has gone through all steps."""
    facts = probe(film)
    shots = shots_between(facts.span, list(detect(film, facts)), 0.6)
    chosen = shots[1 :: max(1, every)]
    clock = facts.picture.clock
    for shot in chosen:
        sample(film, facts, moments_of(shot, clock, "uniform", 8, 1.0), max_side=512)
    spans = {f"{number:04d}": shot for number, shot in enumerate(chosen)}
    with tempfile.TemporaryDirectory() as folder:
        for group in groups(facts, spans):
            cut_group(film, facts, group, Path(folder), Encoding(mode="smart"), Limits())
    return len(shots)


def peak(film: Path, every: int = 100) -> tuple[float, int]:
    """MiB of resident memory at the most, and shots found, in a process of its own."""
    command = [sys.executable, __file__, "--worker", str(film), "--every", str(every)]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return said["mib"], said["shots"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--minutes", type=int, nargs=2, default=[5, 120], metavar=("SHORT", "LONG"))
    parser.add_argument("--size", type=int, nargs=2, default=[640, 360], metavar=("W", "H"))
    parser.add_argument("--every", type=int, default=100, help="one shot in so many is cut")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        shots = work(options.worker, options.every)
        # Not getrusage: its peak begins with what the parent held when it forked.
        lines = Path("/proc/self/status").read_text().splitlines()
        high = next(line for line in lines if line.startswith("VmHWM"))
        print(json.dumps({"mib": int(high.split()[1]) / 1024, "shots": shots}))
        return
    with tempfile.TemporaryDirectory() as scratch:
        minute = Path(scratch) / "minute.mp4"
        render(minute, 60, *options.size)
        peaks = []
        for minutes in options.minutes:
            film = Path(scratch) / f"{minutes}.mp4"
            repeat(minute, film, minutes)
            mib, shots = peak(film, max(1, options.every * minutes // max(options.minutes)))
            print(f"{minutes:4d} minutes: {mib:.1f} MiB, {shots} shots", flush=True)
            peaks.append(mib)
            film.unlink()
        print(f"the longer film adds {peaks[1] / peaks[0] - 1:+.1%}")


if __name__ == "__main__":
    main()
