from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from clipmill.pipeline.store import lease as lease_module
from clipmill.pipeline.store.lease import Fence, Lease
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import Conflict, LeaseLost, StoreError


@pytest.fixture(autouse=True)
def ask_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "CHECK_SECONDS", 0.0)


def held_elsewhere(store: Store, **changes: Any) -> None:
    """Leave the lease of a run on another machine behind."""
    lease = Lease.acquire(store, "theirs")
    lease.release()
    key = f"lease/{lease.token:08d}"
    record = json.loads(store.get(key)) | {"released": False, "machine": "other"} | changes
    store.put(key, json.dumps(record).encode())


def test_a_second_run_is_refused_while_the_first_lives(store: Store) -> None:
    with Lease.acquire(store, "first") as lease:
        with pytest.raises(Conflict, match=r"run 'first' is writing.*\n.*--take-over"):
            Lease.acquire(store, "second")
        lease.check()
    with Lease.acquire(store, "second") as second:
        assert second.token > lease.token


def test_the_fence_of_a_replaced_run_stops_its_workers(store: Store) -> None:
    with Lease.acquire(store, "first") as first:
        worker: Fence = pickle.loads(pickle.dumps(first.fence))
        worker.check()
        with Lease.acquire(store, "second", take_over=True) as second:
            second.check()
            with pytest.raises(LeaseLost, match="took"):
                worker.check()
            with pytest.raises(LeaseLost):
                first.check()
        first.release()
        assert Lease.acquire(store, "third").token == 3


def test_a_fence_asks_the_store_once_a_second_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "CHECK_SECONDS", 1.0)
    store = Store.open(tmp_path)
    with Lease.acquire(store, "first") as first:
        first.check()
        store.put("lease/00000009", store.get("lease/00000001"))
        first.check()
        first._checked -= 1.1
        with pytest.raises(LeaseLost):
            first.check()


DYING = """
import os, signal, sys
from clipmill.pipeline.store.lease import Lease
from clipmill.pipeline.store.store import Store
Lease.acquire(Store.open(sys.argv[1]), "dead")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_on_this_machine_is_replaced_at_once(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", DYING, str(tmp_path)])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet reaped
    with Lease.acquire(Store.open(tmp_path), "next") as lease:
        assert lease.token == 2
    child.wait()


def test_a_process_id_that_is_used_again_does_not_look_alive(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    with Lease.acquire(store, "first") as lease:
        record = json.loads(store.get("lease/00000001"))
        store.put("lease/00000001", json.dumps(record | {"started": 1.0}).encode())
        assert Lease.acquire(store, "second").token == lease.token + 1


def test_a_run_elsewhere_is_believed_until_its_heartbeat_is_old(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    held_elsewhere(store)
    with pytest.raises(Conflict, match="theirs"):
        Lease.acquire(store, "mine")
    held = json.loads(store.get("lease/00000001"))
    old = held["beat"] - lease_module.EXPIRY_SECONDS - 1
    store.put("lease/00000001", json.dumps(held | {"beat": old}).encode())
    Lease.acquire(store, "mine").release()


def test_heartbeats_renew_the_lease_and_stop_when_it_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "BEAT_SECONDS", 0.01)
    store = Store.open(tmp_path)
    beats = threading.Event()
    real = Store.put

    def put(self: Store, key: str, data: bytes) -> None:
        real(self, key, data)
        beats.set()

    monkeypatch.setattr(Store, "put", put)
    lease = Lease.acquire(store, "first")
    first = json.loads(store.get("lease/00000001"))["beat"]
    assert beats.wait(5)
    assert json.loads(store.get("lease/00000001"))["beat"] > first
    real(store, "lease/00000002", store.get("lease/00000001"))
    lease._thread.join(5)
    assert not lease._thread.is_alive()


def test_of_many_runs_started_together_one_holds_the_output(store: Store) -> None:
    won: list[Lease] = []
    refused: list[Conflict] = []
    gate = threading.Barrier(6)

    def start(number: int) -> None:
        gate.wait()
        try:
            won.append(Lease.acquire(store, f"run-{number}"))
        except Conflict as error:
            refused.append(error)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(refused) == 5
    won[0].release()


def test_a_spoilt_lease_is_an_error_and_not_a_free_pass(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.put("lease/00000004", b"{")
    with pytest.raises(StoreError, match="not a lease"):
        Lease.acquire(store, "mine")


def test_a_lease_cannot_be_sent_to_an_actor(tmp_path: Path) -> None:
    with (
        Lease.acquire(Store.open(tmp_path), "mine") as lease,
        pytest.raises(TypeError, match="fence"),
    ):
        pickle.dumps(lease)
