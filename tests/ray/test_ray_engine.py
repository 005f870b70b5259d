"""The engine on a real local Ray: streaming, crashes, hangs, and what it occupies."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import ray
from ray._private.internal_api import node_stats

from clipmill.pipeline.engine import ray_engine
from clipmill.pipeline.engine.ledger import Ledger
from clipmill.pipeline.engine.parcel import Lap
from clipmill.pipeline.engine.ray_engine import OBJECT_STORE_BYTES, RayEngine, placements
from clipmill.pipeline.engine.worker import Job
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import RecipeError
from clipmill.schemas.records import Frame, Part, Video
from clipmill.stages.stage import Resources, Stage
from tests.unit.pipeline.chains import (
    Say,
    SaySettings,
    StageSettings,
    chain,
    entry,
    parcel,
    standard,
)

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


class Crash(Stage[StageSettings]):
    """Dies or hangs on the videos whose metadata says so."""

    needs = frozenset({"segments:windows"})
    own_actor = True
    resources = Resources(timeout_s=2.0)

    def process(self, part: Part) -> Part:
        how = part.video.meta.get("break")
        if how == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if how == "hang":
            time.sleep(600)
        return part


class Fat(Stage[StageSettings]):
    """Large frames: two megabytes for every part."""

    needs = frozenset({"segments:windows"})
    provides = frozenset({"frames"})

    def process(self, part: Part) -> Part:
        for segment in part.video.segments:
            noise = os.urandom(1 << 20)
            part.frames[segment.id] = [Frame(segment.span.clock, 0, noise, 1, 1)]
        return part


class Sip(Stage[StageSettings]):
    """Takes its time over the frames."""

    needs = frozenset({"frames"})
    own_actor = True

    def process(self, part: Part) -> Part:
        time.sleep(0.01)
        return part


def videos(folder: Path, count: int, **breaks: str) -> list[Video]:
    folder.mkdir(exist_ok=True)
    found = []
    for number in range(count):
        path = folder / f"v{number:03d}.mp4"
        path.write_bytes(path.name.encode())
        found.append(Video(path.name, str(path), meta={"break": breaks.get(path.stem, "")}))
    return found


def test_a_crash_and_a_hang_cost_one_video_each(
    engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "BLOCKS", 2)  # three inputs share the block of each
    plan = chain(*standard(pieces=2), entry(Crash(StageSettings())), max_segments=64)
    store = Store.open(tmp_path / "out")
    inputs = videos(tmp_path / "media", 6, v001="segfault", v003="hang")
    done = list(engine.stream(Job(plan, store), [parcel(video) for video in inputs]))
    ended = {p.receipt.video: p.receipt.failure for p in done if p.receipt}
    assert len(done) == len(ended) == 6
    for name, failure in ended.items():
        if name in ("v001.mp4", "v003.mp4"):
            assert failure is not None
            assert (failure.state, failure.kind) == ("quarantined", "worker_lost")
            assert failure.attempts == 2 and failure.stage == "crash"
        else:
            assert failure is None
    entries = Ledger(store, plan.final).scan()
    assert all(held.complete for held in entries.values()) and len(entries) == 6


def test_500_videos_stream_through_in_little_memory(engine: RayEngine, tmp_path: Path) -> None:
    stages = standard(pieces=2)
    stages[1] = entry(Fat(StageSettings()))
    stages[3:] = [entry(Sip(StageSettings()))]
    plan = chain(*stages, max_segments=64)
    inputs = videos(tmp_path / "media", 500)
    used = [0]
    over = threading.Event()
    engine.resources()  # starts Ray, which the watcher asks
    watcher = threading.Thread(target=_watch, args=(used, over))
    watcher.start()
    job = Job(plan, Store.open(tmp_path / "out"))
    laps: list[tuple[str, Lap]] = []
    first_commit = None
    try:
        for done in engine.stream(job, [parcel(video) for video in inputs]):
            assert done.receipt is not None and done.receipt.failure is None
            laps.extend((done.receipt.video, lap) for lap in done.laps)
            first_commit = first_commit or time.time()
    finally:
        over.set()
        watcher.join()
    assert len({video for video, _ in laps}) == 500
    assert 0 < used[0] < OBJECT_STORE_BYTES / 4, "1 GiB of frames went through in all"
    assert first_commit is not None
    read = sum(lap.start < first_commit for _, lap in laps if lap.stage == "cut")
    assert read < 50, f"{read} of 500 inputs were read before the first commit"
    assert busy_at_once(laps) >= 3


def _watch(used: list[int], over: threading.Event) -> None:
    node = ray.nodes()[0]
    while not over.wait(0.25):
        stats = node_stats(node["NodeManagerAddress"], node["NodeManagerPort"])
        used[0] = max(used[0], stats.store_stats.object_store_bytes_used)


def test_a_ray_that_does_not_start_is_named_with_its_cure(tmp_path: Path) -> None:
    """Sockets have short names on Linux, so a Ray below a long folder fails for real."""
    videos(tmp_path / "in", 1)
    far = tmp_path / ("x" * 120)
    far.mkdir()
    command = ["run", "core/footage", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "clipmill.pipeline.cli", *command],
        env={**os.environ, "RAY_TMPDIR": str(far)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "Ray did not start on this machine" in done.stderr and "AF_UNIX" in done.stderr
    assert "--engine inline" in done.stderr and "Traceback" not in done.stderr


def test_a_cluster_that_nobody_listens_for_is_refused_at_once(tmp_path: Path) -> None:
    videos(tmp_path / "in", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # a port that is known to be free, since nobody listens at it
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = ["run", "core/footage", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
        for where in (address, f"ray://{address}"):
            done = subprocess.run(
                [sys.executable, "-m", "clipmill.pipeline.cli", *command, "--address", where],
                capture_output=True,
                text=True,
                check=False,
                timeout=30,
            )
            assert done.returncode == 3
            assert f"the Ray cluster at {where} cannot be joined" in done.stderr
            assert "refused" in done.stderr and "cure: check --address" in done.stderr


def test_what_can_never_be_placed_is_refused_before_anything_starts() -> None:
    class Large(Say):
        resources = Resources(gpus=2)

    plan = chain(*standard()[:2], entry(Large(SaySettings()), "large"))
    with pytest.raises(RecipeError, match="needs 2 GPU, the cluster has 1"):
        placements(plan, {"CPU": 8, "GPU": 1})


def test_pools_always_fit_the_cpus_there_are() -> None:
    plan = chain(*standard())
    for cpus in (0.5, 1, 2, 64):
        options = placements(plan, {"CPU": cpus})
        assert sum(o["num_cpus"] * o["compute"].min_size for o in options) <= cpus


def busy_at_once(laps: list[tuple[str, Lap]]) -> int:
    """Most stages at work at one instant in different processes on different videos."""
    most = 0
    running: dict[str, tuple[str, float]] = {}  # worker -> its latest video and when it ends
    for video, lap in sorted(laps, key=lambda item: item[1].start):
        running[lap.worker] = (video, lap.end)
        now = {v for v, end in running.values() if end > lap.start}
        most = max(most, len(now))
    return most
