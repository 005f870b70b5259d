"""The engine on a real local Ray: streaming, crashes, hangs, and what it occupies."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from tests.unit.pipeline.chains import (
    Break,
    MeasureSettings,
    Say,
    SaySettings,
    StageSettings,
    chain,
    entry,
    parcel,
    standard,
)

from clipmill.pipeline.ledger import Ledger
from clipmill.pipeline.parcel import Lap, Parcel
from clipmill.pipeline.ray_engine import OBJECT_STORE_BYTES, RayEngine, placements
from clipmill.pipeline.store import Store
from clipmill.pipeline.worker import Job
from clipmill.schemas.errors import RecipeError
from clipmill.schemas.records import Frame, Part, Video
from clipmill.stages.stage import Resources, Stage

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


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


class Slow(Say):
    """A teacher that takes its time."""

    own_actor = True

    def process(self, part: Part) -> Part:
        time.sleep(0.05)
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


def videos(folder: Path, count: int, **breaks: str) -> list[Video]:
    folder.mkdir(exist_ok=True)
    found = []
    for number in range(count):
        path = folder / f"v{number:03d}.mp4"
        path.write_bytes(path.name.encode())
        found.append(Video(path.name, str(path), meta={"break": breaks.get(path.stem, "")}))
    return found


def test_a_crash_and_a_hang_cost_one_video_each(engine: RayEngine, tmp_path: Path) -> None:
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


def test_stages_overlap_and_the_first_commit_comes_before_a_tenth_of_the_inputs_is_read(
    engine: RayEngine, tmp_path: Path
) -> None:
    stages = standard(pieces=2)
    stages.insert(3, entry(Slow(SaySettings()), "slow"))
    plan = chain(*stages, max_segments=1)
    store = Store.open(tmp_path / "out")
    inputs = videos(tmp_path / "media", 60)
    laps: list[Lap] = []
    first_commit = None
    for done in engine.stream(Job(plan, store), [parcel(video) for video in inputs]):
        laps.extend(done.laps)
        first_commit = first_commit or time.time()
    assert first_commit is not None
    read = sum(lap.start < first_commit for lap in laps if lap.stage == "cut")
    assert read <= 6, f"{read} of 60 inputs were read before the first commit"
    assert overlapping(laps) >= 3


def overlapping(laps: list[Lap]) -> int:
    """Most distinct workers found busy at one instant."""
    moments = sorted({lap.start for lap in laps})
    return max(len({o.worker for o in laps if o.start <= m < o.end}) for m in moments)
