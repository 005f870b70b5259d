"""What teachers cost reaches the account of the run, and a budget ends a run that can go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from clipmill.pipeline.cli.messages import exit_code
from clipmill.pipeline.engine import run as running
from clipmill.pipeline.engine.inline_engine import InlineEngine
from clipmill.pipeline.engine.ledger import Ledger
from clipmill.pipeline.engine.parcel import Parcel
from clipmill.pipeline.engine.reply_cache import StoredReplies
from clipmill.pipeline.engine.spending import Budget, Spending
from clipmill.pipeline.engine.worker import Job
from clipmill.pipeline.output.stats import stats
from clipmill.pipeline.store.lease import Lease
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import BudgetSpent
from clipmill.schemas.records import Part, Video
from clipmill.stages.models.contract import ask
from clipmill.stages.models.identity import ModelIdentity
from clipmill.stages.models.tab import Turns
from clipmill.stages.models.teacher import Reply, Request, TeacherSettings, Usage
from clipmill.stages.stage import Stage, StageSettings
from tests.unit.pipeline.chains import Cut, CutSettings, Look, chain, entry, parcel


class Echo:
    """A teacher that repeats the question, at ten tokens a time."""

    identity = ModelIdentity("echo", "1")
    settings = TeacherSettings.model_validate({"model": "echo", "prices": {"completion": 1e6}})
    one_by_one = True
    asked: ClassVar[list[str]] = []

    def setup(self) -> None: ...

    def close(self) -> None: ...

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        turns = Turns(1, self.settings)
        return [await turns.take(self.repeat, request) for request in requests]

    async def repeat(self, request: Request) -> Reply:
        self.asked.append(request.prompt)
        return Reply(request.id, request.prompt, usage=Usage(8, 2))


class Caption(Stage[StageSettings]):
    """Caption every segment through the contract; fail afterwards where the video says so."""

    needs: ClassVar[set[str]] = {"frames", "segments:windows"}
    provides: ClassVar[set[str]] = {"texts:caption"}
    teacher = True

    async def process(self, part: Part) -> Part:
        asked = {s.id: Request(s.id, f"{part.video.id} {s.id}") for s in part.video.segments}
        answers = await ask(Echo(), list(asked.values()))
        for segment in part.video.segments:
            segment.add_text("caption", answers.found[segment.id].value, self.author())
        if part.video.meta.get("break"):
            raise ValueError("broken after it was paid for")
        return part


def once(function: Callable[..., None]) -> Callable[..., None]:
    """The power goes after the first call."""

    def then_out(*given: Any) -> None:
        function(*given)
        raise KeyboardInterrupt

    return then_out


@pytest.fixture(autouse=True)
def nothing_asked() -> None:
    Echo.asked.clear()


def inputs(folder: Path, **meta: str) -> list[Video]:
    folder.mkdir(exist_ok=True)
    made = []
    for name in ("a", "b", "c"):
        path = folder / f"{name}.mp4"
        path.write_bytes(name.encode() * 100)
        made.append(Video(path.name, str(path), meta={"break": meta.get(name, "")}))
    return made


def run(
    tmp_path: Path, out: str, budget: Budget | None = None, older: Store | None = None, **meta: str
) -> tuple[Spending, list[Parcel]]:
    store = Store.open(tmp_path / out)
    stages = [
        entry(Cut(CutSettings(pieces=4))),
        entry(Look(StageSettings())),
        entry(Caption(StageSettings())),
    ]
    plan = chain(*stages, max_segments=2)
    known = Ledger(store, plan.final).scan()
    parcels = []
    for video in inputs(tmp_path / "media", **meta):
        made = parcel(video)
        held = known.get(made.key)
        if held is None or not held.complete:
            parcels.append(made if held is None else parcel(video, held.resume()))
    spending, ended = Spending(), []
    job = Job(plan, store, replies=StoredReplies(store, older), budget=budget)
    for done in InlineEngine().stream(job, parcels):
        spending.add(done.laps)
        ended.append(done)
        if done.stopped:
            break
    return spending, ended


def test_tokens_and_cost_are_counted_by_stage_and_teacher(tmp_path: Path) -> None:
    spending, _ = run(tmp_path, "out")
    (bill,) = spending.bills.values()
    assert list(spending.bills) == [("caption", "echo")]
    assert (bill.requests, bill.prompt_tokens, bill.completion_tokens) == (12, 96, 24)
    assert bill.cost == 24.0
    spending.keep(Store.open(tmp_path / "out"), "run1")
    kept = json.loads((tmp_path / "out/usage/run1.json").read_text())
    (row,) = kept["teachers"]
    assert (row["stage"], row["teacher"], row["requests"]) == ("caption", "echo", 12)


def test_the_account_of_an_output_is_the_sum_of_its_runs(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    for name, budget in (("run1", Budget(tokens=35)), ("run2", None)):
        run(tmp_path, "out", budget)[0].keep(store, name)
    counted = stats(store)
    assert {name: done["segments"] for name, done in counted.stages.items()}["caption"] == 12
    found = counted.teachers["caption: echo"]
    assert (found["requests"] - found["cached"], found["cost"]) == (12, 24.0)
    assert (found["prompt_tokens"], found["completion_tokens"]) == (96, 24)


def test_a_ledger_that_holds_bills_alone_is_still_read(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    bill = {"stage": "captions", "teacher": "echo", "requests": 3, "prompt_tokens": 40, "cost": 0.5}
    store.put("usage/old.json", json.dumps([bill]).encode())
    found = Spending.of(store)
    assert found.work == {}
    assert found.bills["captions", "echo"].requests == 3 and found.cost == 0.5


def test_what_a_killed_run_has_used_is_on_the_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "KEEP_S", 0.0)
    monkeypatch.setattr(Spending, "keep", once(Spending.keep))
    store, parcels = Store.open(tmp_path / "out"), [parcel(v) for v in inputs(tmp_path / "media")]
    stages = [
        entry(Cut(CutSettings())),
        entry(Look(StageSettings())),
        entry(Caption(StageSettings())),
    ]
    job = Job(chain(*stages, max_segments=2), store)
    with Lease.acquire(store, "run1") as lease, pytest.raises(KeyboardInterrupt):
        running._annotate(
            InlineEngine(), job, parcels, 3, lease, "run1", Spending(), lambda event: None
        )
    (row,) = json.loads(store.get("usage/run1.json"))["teachers"]
    assert row["requests"] == 2


def test_a_part_that_failed_after_it_was_paid_for_is_on_the_account(tmp_path: Path) -> None:
    spending, ended = run(tmp_path, "out", b="yes")
    failed = [p.receipt for p in ended if p.receipt and p.receipt.failure]
    assert len(failed) == 2
    assert spending.bills["caption", "echo"].requests == 12


def test_replies_outlive_the_work_that_was_lost(tmp_path: Path) -> None:
    run(tmp_path, "out")
    store = Store.open(tmp_path / "out")
    units = {item.key: store.get(item.key) for item in store.list("units/")}
    store.delete(list(units))
    Echo.asked.clear()
    spending, _ = run(tmp_path, "out")
    assert Echo.asked == []
    assert spending.bills["caption", "echo"].cached == 12 and spending.tokens == 0
    assert {item.key: store.get(item.key) for item in store.list("units/")} == units


def test_an_older_outputs_replies_are_taken_over_and_stay(tmp_path: Path) -> None:
    run(tmp_path, "old")
    Echo.asked.clear()
    old, new = Store.open(tmp_path / "old"), Store.open(tmp_path / "new")
    run(tmp_path, "new", older=old)
    assert Echo.asked == []
    there = {item.key: old.get(item.key) for item in old.list("replies/")}
    assert {item.key: new.get(item.key) for item in new.list("replies/")} == there
    assert len(there) == 12


@pytest.mark.parametrize("budget", [Budget(tokens=35), Budget(cost=7.0)], ids=["tokens", "cost"])
def test_a_budget_stops_a_run_and_the_next_goes_on_where_it_stopped(
    tmp_path: Path, budget: Budget
) -> None:
    runs = 0
    while True:
        runs += 1
        spending, ended = run(tmp_path, "out", budget)
        if not ended or not ended[-1].stopped:
            break
        assert 30 < spending.tokens <= 50
        assert runs < 10
    assert runs == 3 or runs == 4
    assert sorted(Echo.asked) == sorted(set(Echo.asked)) and len(Echo.asked) == 12
    plan_final = {item.key for item in Store.open(tmp_path / "out").list("units/")}
    assert sum("/part-" in key for key in plan_final) == 6
    assert not any("failed" in key for key in plan_final)


def test_a_spent_budget_has_a_message_and_an_exit_code_of_its_own() -> None:
    error: Any = Spending().exhausted(Budget(tokens=1000), 3, 10)
    assert isinstance(error, BudgetSpent) and exit_code(error) == 4
    assert "1,000 tokens" in error.message and "3 of 10 inputs" in error.message
    assert "run the same command again" in error.cure
