"""The lease: one live run per output, and a fencing token that keeps a dead run's actors out.

A holder is an object `lease/<number>`, made by put-if-absent; the highest number holds the output
and is the fencing token. Actors outlive a killed driver by seconds, so every committer asks its
`Fence` first: is there a higher number than mine? The answer may be a second old; what slips
through that second is harmless, because commits have deterministic names and never replace.
Lease objects are released by a mark, not deleted, so numbers only ever rise.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import Conflict, LeaseLost, StoreError

FOLDER = "lease"
BEAT_SECONDS = 5.0
EXPIRY_SECONDS = 30.0
"""Six missed heartbeats. Hosts whose clocks differ by more need `take_over`."""
CHECK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds an output. `machine` tells hosts, boots and containers of one name apart."""

    number: int
    run_id: str
    host: str
    machine: str
    pid: int
    started: float  # the process's start, because process ids are used again
    nonce: str
    beat: float  # time of the last sign of life, seconds since the epoch
    released: bool = False

    @classmethod
    def read(cls, store: Store, number: int) -> Holder | None:
        data = store.find(_key(number))
        if data is None:
            return None
        try:
            return cls(**json.loads(data))
        except (ValueError, TypeError) as error:
            raise StoreError(
                f"{store.uri}/{_key(number)} is not a lease",
                cure="delete that object if no run is writing here",
            ) from error

    def alive(self, now: float) -> bool:
        """Whether this holder may still write: a known fact on its own machine, else a guess."""
        if self.released:
            return False
        if self.machine == _machine():
            # The kernel's clock is adjusted while it runs, so start times wander a little.
            return abs(_process_started(self.pid) - self.started) < 2
        return now - self.beat < EXPIRY_SECONDS


class Fence:
    """The right to write under a token. Picklable; give one to every actor that commits."""

    def __init__(self, store: Store, token: int) -> None:
        self.store = store
        self.token = token
        self._checked = float("-inf")

    def check(self) -> None:
        """Raise LeaseLost if another run holds the output; asks the store once a second."""
        now = time.monotonic()
        if now - self._checked < CHECK_SECONDS:
            return
        newest = max(_numbers(self.store), default=0)
        if newest > self.token:
            raise LeaseLost(
                f"another run took {self.store.uri} over (lease {newest}, ours is {self.token})",
                cure="let that run finish; this one has stopped writing",
            )
        self._checked = now

    def __getstate__(self) -> dict[str, Any]:
        # The monotonic clock of another machine means nothing here.
        return {"store": self.store, "token": self.token, "_checked": float("-inf")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class Lease(Fence):
    """A held output: `with Lease.acquire(store, run_id) as lease:`; a thread keeps it alive."""

    def __init__(self, store: Store, holder: Holder) -> None:
        super().__init__(store, holder.number)
        self.holder = holder
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()

    @classmethod
    def acquire(cls, store: Store, run_id: str, take_over: bool = False) -> Lease:
        """Take the output, or raise Conflict while another run is alive.

        A dead holder on this machine is replaced at once, one elsewhere when its heartbeat is
        30 s old; `take_over` does not ask. The new holder clears temporaries of dead writers.
        """
        while True:
            newest = max(_numbers(store), default=0)
            holder = Holder.read(store, newest) if newest else None
            if holder is not None and holder.alive(time.time()) and not take_over:
                raise Conflict(
                    f"run {holder.run_id!r} is writing to {store.uri} "
                    f"(process {holder.pid} on {holder.host})",
                    cure="wait for it, choose another --out, or use --take-over if it is dead",
                )
            mine = Holder(
                number=newest + 1,
                run_id=run_id,
                host=socket.gethostname(),
                machine=_machine(),
                pid=os.getpid(),
                started=_process_started(os.getpid()),
                nonce=secrets.token_hex(16),
                beat=time.time(),
            )
            # Read back rather than believe the answer: a repeated request may hear False for
            # its own write. A loser goes round again and meets the winner as a live holder.
            store.put_if_absent(_key(mine.number), _encode(mine))
            found = Holder.read(store, mine.number)
            won = found is not None and found.nonce == mine.nonce
            if won and max(_numbers(store)) == mine.number:
                store.delete(_key(number) for number in _numbers(store) if number < mine.number)
                store.clean()
                return cls(store, mine)
            take_over = False

    @property
    def fence(self) -> Fence:
        return Fence(self.store, self.token)

    def release(self) -> None:
        """Give the output back; the next run need not wait."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join()
        if max(_numbers(self.store), default=0) == self.token:
            released = replace(self.holder, beat=time.time(), released=True)
            self.store.put(_key(self.token), _encode(released))

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("a lease stays in its process; send its `fence` to actors")

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            try:
                if max(_numbers(self.store), default=0) > self.token:
                    return  # beating on would bring a replaced lease back; check() tells the run
                self.store.put(_key(self.token), _encode(replace(self.holder, beat=time.time())))
            except StoreError:
                # An unreachable store is not a lost lease; if it lasts, another run may take over
                # and the next check() finds out.
                continue


def _key(number: int) -> str:
    return f"{FOLDER}/{number:08d}"


def _encode(holder: Holder) -> bytes:
    return json.dumps(asdict(holder), sort_keys=True).encode()


def _numbers(store: Store) -> list[int]:
    names = (item.key.rsplit("/", 1)[-1] for item in store.list(f"{FOLDER}/"))
    return [int(name) for name in names if name.isdigit()]


def _process_started(pid: int) -> float:
    """When a process started, 0.0 where there is none or only its unreaped remains."""
    try:
        process = psutil.Process(pid)
        return 0.0 if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return 0.0


def _machine() -> str:
    """Host, boot and process-id namespace: where a process id means one process."""
    facts = [socket.gethostname()]
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if boot.exists():
        facts.append(boot.read_text().strip())
    if namespace.is_symlink():
        facts.append(str(namespace.readlink()))
    return "/".join(facts)
