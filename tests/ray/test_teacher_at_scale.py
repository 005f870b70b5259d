"""A teacher behind a server, on a real Ray: many small parts at a time, and one purse for all."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clipmill.pipeline.engine.ledger import Ledger
from clipmill.pipeline.engine.parcel import Parcel
from clipmill.pipeline.engine.ray_engine import RayEngine, placements
from clipmill.pipeline.engine.reply_cache import StoredReplies
from clipmill.pipeline.engine.spending import Budget, Spending
from clipmill.pipeline.engine.worker import Job
from clipmill.pipeline.store.store import Store
from clipmill.schemas.records import Video
from clipmill.stages.caption.caption_clip import CaptionClip
from tests.unit.pipeline.chains import Cut, CutSettings, Look, StageSettings, chain, entry, parcel

sys.path.append(str(Path(__file__).parents[1] / "models"))

from local_server import Server

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


def plan_for(url: str, clips: int, concurrency: int = 64) -> Any:
    settings = CaptionClip.Settings.model_validate(
        {
            "layer": "windows",
            "teacher": {
                "backend": "openai",
                "model": "served",
                "server": {"url": url, "concurrency": concurrency},
            },
        }
    )
    stages = [Cut(CutSettings(pieces=clips)), Look(StageSettings()), CaptionClip(settings)]
    return chain(*(entry(stage) for stage in stages), max_segments=4)


def inputs(folder: Path, count: int) -> list[Parcel]:
    folder.mkdir(exist_ok=True)
    found = []
    for number in range(count):
        path = folder / f"v{number:03d}.mp4"
        path.write_bytes(b"%d" % number)
        found.append(parcel(Video(path.name, str(path))))
    return found


def test_parts_of_one_clip_fill_the_slots_and_each_caption_is_on_its_clip(
    engine: RayEngine, tmp_path: Path
) -> None:
    with Server(slots=16, together=12).running() as server:
        plan, store = plan_for(server.url, 1), Store.open(tmp_path / "out")
        for done in engine.stream(Job(plan, store), inputs(tmp_path / "in", 48)):
            assert done.receipt is not None and done.receipt.failure is None
    assert max(busy for _, busy in server.changes) >= 12
    ledger, captions = Ledger(store, plan.final), {}
    for key, held in ledger.scan().items():
        video = ledger.assemble(key, held)
        assert video is not None
        (segment,) = video.segments
        captions[f"{video.id}/{segment.id}".encode()] = segment.texts_of("caption")[0].text
    assert len(captions) == 48
    prompt = server.seen[0].prompt
    assert all(seen.prompt == prompt for seen in server.seen)
    for frame, caption in captions.items():  # the frame of a clip is its name, see `Look`
        told = hashlib.sha256(frame + prompt.encode()).hexdigest()[:16]
        assert caption == f"seen {told}"


def test_the_load_on_a_server_is_what_the_recipe_says_however_large_the_cluster() -> None:
    plan = plan_for("http://gpu7:8000/v1", 4)
    (pool,) = [o["compute"] for o in placements(plan, {"CPU": 64}) if "max_concurrency" in o]
    assert (pool.min_size, pool.max_size) == (1, 1)
    groups = [
        replace(group, actors=(2, 4)) if "captionclip" in group.name else group
        for group in plan.groups
    ]
    asked_for = placements(replace(plan, groups=tuple(groups)), {"CPU": 64})
    (pool,) = [o["compute"] for o in asked_for if "max_concurrency" in o]
    assert (pool.min_size, pool.max_size) == (2, 4)


def test_a_budget_ends_a_run_and_the_next_run_pays_for_nothing_twice(
    engine: RayEngine, tmp_path: Path
) -> None:
    with Server(slots=4, median_s=0.02, p99_s=0.05).running() as server:
        plan, store = plan_for(server.url, 8, concurrency=8), Store.open(tmp_path / "out")
        parcels = inputs(tmp_path / "in", 6)

        def run(budget: Budget | None) -> tuple[Spending, bool]:
            known = Ledger(store, plan.final).scan()
            left = []
            for one in parcels:
                held = known.get(one.key)
                if held is None:
                    left.append(one)
                elif not held.complete:
                    assert one.part is not None
                    left.append(parcel(one.part.video, held.resume()))
            spending, stopped = Spending(), False
            job = Job(plan, store, replies=StoredReplies(store), budget=budget)
            for done in engine.stream(job, left):
                spending.add(done.laps)
                if done.stopped:
                    stopped = True
                    break
            return spending, stopped

        _, stopped = run(Budget(tokens=12 * 120))
        asked = len(server.seen)
        # The purse runs dry with the twelfth reply, when the other seven turns are under way.
        assert stopped and 12 <= asked <= 12 + 7
        rest, stopped = run(None)
        assert not stopped
        digests = [seen.digest for seen in server.seen]
    assert len(set(digests)) == 48
    assert len(digests) <= 48 + 8  # what was under way when the run ended
    assert rest.tokens == 120 * (len(digests) - asked)
    assert all(held.complete for held in Ledger(store, plan.final).scan().values())
