"""Whether the pipeline keeps a teacher busy: slots occupied in steady state, and the tail.

    python infra/benchmarks/teacher.py             # median 2 s, p99 15 s: some twelve minutes
    python infra/benchmarks/teacher.py --faster 10 # a tenth of the times

A server with 32 slots answers in log-normal time. 300 videos with Zipf clip counts, and one of two
hours with 2000 clips in the middle of them, go through the real engine: a stage that costs CPU as
decoding does (JPEG frames are made), then `caption_clip` behind the server. The server writes down
how many slots were busy when. *Steady* is from the first to the last moment at which 95 % were
busy; the *tail* is what comes after the last moment at which 80 % were, as a share of the run.

Measured on two cores shared with other work: 7450 clips at real times in 702 s, 98.4 % of the slots
in steady state, tail 1.5 %. Dividing the times asks more of the CPU than of the teacher: with
`--faster 10` two cores fed 72 % of the slots.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np

from clipmill.pipeline.engine.parcel import Parcel
from clipmill.pipeline.engine.plan import plan
from clipmill.pipeline.engine.ray_engine import RayEngine
from clipmill.pipeline.engine.worker import Job
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.pipeline.store.store import Store
from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Frame, Part, Video
from clipmill.schemas.shards import video_key
from clipmill.stages.stage import Resources, Stage, StageSettings

SERVER = Path(__file__).parents[2] / "tests" / "models" / "local_server.py"
SLOTS = 32
CLIP_S = 3.6


@dataclass(frozen=True, slots=True)
class Figures:
    """What the server's log says; shares of 1."""

    requests: int
    seconds: float  # from the first request to the last
    steady_s: float
    steady: float  # slots occupied while steady
    tail: float  # of `seconds`
    overall: float


class Known(Stage[StageSettings]):
    """Clips as the video's metadata counts them, in place of detection."""

    unit: ClassVar = "video"
    provides: ClassVar[set[str]] = {"segments:shots"}

    def process(self, part: Part) -> Part:
        count = int(part.video.meta["clips"])
        length = round(CLIP_S * 1000)
        spans = [Span(MILLISECONDS, length * n, length * (n + 1)) for n in range(count)]
        part.video.add_segments("shots", spans)
        return part


class DecodeSettings(StageSettings):
    cpu_ms: float = 20.0
    """CPU time for each clip."""


class Decode(Stage[DecodeSettings]):
    """Make two frames a clip and burn the CPU time that decoding them would take."""

    needs: ClassVar[set[str]] = {"segments:shots"}
    provides: ClassVar[set[str]] = {"frames"}
    resources = Resources(cpus=1.0)

    def process(self, part: Part) -> Part:
        rng = np.random.default_rng(part.index)
        picture = cv2.resize(rng.integers(0, 255, (18, 32, 3), dtype=np.uint8), (320, 180))
        jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
        for segment in part.video.segments:
            end = time.thread_time() + self.settings.cpu_ms / 1000
            while time.thread_time() < end:
                cv2.GaussianBlur(picture, (9, 9), 2.0)
            start, stop = segment.span.start, segment.span.end
            part.frames[segment.id] = [
                Frame(MILLISECONDS, tick, jpeg, 320, 180) for tick in (start, (start + stop) // 2)
            ]
        return part


def videos(count: int, long: int, folder: Path) -> list[Video]:
    """Zipf clip counts (exponent 1.6, at most 400), the long video in the middle."""
    rng = np.random.default_rng(1)
    counts = [int(n) for n in np.minimum(rng.zipf(1.6, count), 400)]
    counts.insert(count // 2, long)
    found = []
    for number, clips in enumerate(counts):
        path = folder / f"{number:04d}.mp4"
        path.write_bytes(b"%d" % number)
        found.append(Video(path.name, str(path), meta={"clips": str(clips)}))
    return found


@contextmanager
def server(scale: float) -> Iterator[str]:
    command = [sys.executable, str(SERVER), "--slots", str(SLOTS)]
    command += ["--median", str(2.0 / scale), "--p99", str(15.0 / scale)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def figures(url: str) -> Figures:
    """Read the server's log of busy slots."""
    with urllib.request.urlopen(f"{url}/occupancy") as answer:
        changes = json.load(answer)
    when = np.array([time for time, _ in changes])
    busy = np.array([busy for _, busy in changes])
    lasts = np.diff(when)
    full = np.flatnonzero(busy >= 0.95 * SLOTS)
    most = np.flatnonzero(busy >= 0.8 * SLOTS)
    whole = when[-1] - when[0]
    if not len(full):
        return Figures(len(changes) // 2, whole, 0.0, 0.0, 1.0, _mean(busy[:-1], lasts))
    first, last = full[0], full[-1]
    return Figures(
        requests=len(changes) // 2,
        seconds=whole,
        steady_s=when[last] - when[first],
        steady=_mean(busy[first:last], lasts[first:last]),
        tail=(when[-1] - when[most[-1] + 1]) / whole,
        overall=_mean(busy[:-1], lasts),
    )


def _mean(busy: np.ndarray, lasts: np.ndarray) -> float:
    return float((busy * lasts).sum() / lasts.sum() / SLOTS)


RECIPE = """
recipe: 1
name: teacher-benchmark
stages:
  - {file}:Known
  - {file}:Decode: {{cpu_ms: {cpu_ms}}}
    actors: {decoders}
  - caption_clip:
      teacher: {{backend: openai, model: served, server: {{url: "{url}"}}}}
      frames: 2
    actors: 1
engine: {{keep_replies: false}}
"""


def ours(url: str, inputs: list[Video], folder: Path, cpu_ms: float, decoders: int) -> Figures:
    """The real engine with the real stage, from parcels to receipts."""
    file = folder / "benchmark.yaml"
    file.write_text(
        RECIPE.format(file=Path(__file__).resolve(), url=url, cpu_ms=cpu_ms, decoders=decoders)
    )
    job = Job(plan(load_recipe(file)), Store.open(folder / "out"))
    engine = RayEngine()
    try:
        parcels = [Parcel(video_key(video.id), Part(video)) for video in inputs]
        failed = sum(
            1 for p in engine.stream(job, parcels) if p.receipt is not None and p.receipt.failure
        )
    finally:
        engine.close()
    assert not failed, f"{failed} parts failed"
    return figures(url)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--faster", type=float, default=1.0, help="divide all times by this")
    parser.add_argument("--videos", type=int, default=300)
    parser.add_argument("--long", type=int, default=2000, help="clips of the two-hour video")
    parser.add_argument("--cpu-ms", type=float, default=20.0, help="decoding, for each clip")
    parser.add_argument("--decoders", type=int, default=1, help="actors that decode")
    given = parser.parse_args()
    scale = given.faster
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = videos(given.videos, given.long, folder)
        clips = sum(int(video.meta["clips"]) for video in inputs)
        print(f"{len(inputs)} videos, {clips} clips, median {2 / scale:g} s, p99 {15 / scale:g} s")
        with server(scale) as url:
            report("clipmill", ours(url, inputs, folder, given.cpu_ms, given.decoders))


def report(name: str, found: Figures) -> None:
    print(
        f"{name:13} {found.requests} requests in {found.seconds:.1f} s: "
        f"{found.steady:.1%} of the slots in steady state ({found.steady_s:.1f} s), "
        f"tail {found.tail:.1%}, {found.overall:.1%} over all"
    )


if __name__ == "__main__":
    main()
