"""Parcels through actor pools on Ray Data: the engine, on a laptop and on a cluster.

Ray Data streams, applies back-pressure and scales the pools; what is set here is only what its
defaults get wrong for parts of video. Every row is a block of its own, since a block is the unit
that is scheduled, retried and shipped, and parts are large and uneven. Logical CPUs are scaled
down where the pools together ask for more than there is, because Ray would otherwise wait for
ever, without a word, for an actor that can never start.
"""

from __future__ import annotations

import inspect
import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import Any, TypeVar

import psutil
import ray
from ray.data import ActorPoolStrategy, DataContext, ExecutionResources
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from clipmill.pipeline.engine.book import BEAT_S, Book
from clipmill.pipeline.engine.parcel import Parcel
from clipmill.pipeline.engine.plan import Group, Plan
from clipmill.pipeline.engine.spending import Budget
from clipmill.pipeline.engine.worker import Job, Worker
from clipmill.schemas.errors import ClusterError, RecipeError

T = TypeVar("T")
R = TypeVar("R")

OBJECT_STORE_BYTES = 1 << 30
"""What parcels in flight may occupy on one machine; back-pressure holds the readers beyond it."""

BLOCKS = 10_000
"""Most blocks of inputs. Ray makes each before anything starts, at two milliseconds and seven
kilobytes; of more inputs than this, neighbours wait in one block and still leave it one by one."""

KNOCK_S = 10.0
"""How long the head of a cluster may take to accept a connection."""


class RayEngine:
    """A connection to Ray: a private one on this machine, or a cluster's at `address`.

    Nothing is started before there is work, so that a run with nothing to do ends at once.
    """

    def __init__(self, address: str | None = None, cpus: int | None = None) -> None:
        self.address = address
        self.cpus = cpus
        self.started = False

    def resources(self) -> dict[str, float]:
        """What the cluster has in all: CPU, GPU, memory."""
        self._start()
        return dict(ray.cluster_resources())

    def _start(self) -> None:
        if ray.is_initialized():
            return
        self.started = True
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        # Ray logs every retry of a lost task; here those are attempts, counted and reported.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        # Its telemetry is one more process in every run; whoever wants to be counted may say so.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            if self.address is not None:
                _knock(self.address)
                ray.init(address=self.address, log_to_driver=False, logging_level=logging.ERROR)
                return
            ray.init(
                address="local",  # else a cluster that someone else has started would be joined
                num_cpus=self.cpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=2 * OBJECT_STORE_BYTES,
            )
        except Exception as error:  # a bare one is what Ray raises where a node starts too slowly
            raise self._not_started(error) from error

    def _not_started(self, error: Exception) -> ClusterError:
        reason = str(error).strip().split("\n")[0]
        if self.address is not None:
            return ClusterError(
                f"the Ray cluster at {self.address} cannot be joined: {reason}",
                cure="check --address (`auto` on a node of it, else ray://head:10001) and that the "
                "cluster runs with this release of Ray",
            )
        free = psutil.virtual_memory().available / 2**30
        return ClusterError(
            f"Ray did not start on this machine: {reason} (load {os.getloadavg()[0]:.1f} on "
            f"{os.cpu_count()} CPUs, {free:.1f} GiB of memory free)",
            cure="give the same command again when the machine has less to do, it goes on from "
            "here; or do without Ray by --engine inline",
        )

    def stream(self, job: Job, parcels: list[Parcel]) -> Iterator[Parcel]:
        """Receipts, in the order parts finish."""
        if not parcels:
            return
        self._start()
        _configure()
        # On the driver's own node: any other may leave, and what was counted with it.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        book: Any = ray.remote(num_cpus=0, scheduling_strategy=here)(Book).remote()
        dataset = ray.data.from_items(
            [{"parcel": parcel.to_bytes()} for parcel in parcels],
            override_num_blocks=min(len(parcels), BLOCKS),
        )
        for number, options in enumerate(placements(job.plan, self.resources())):
            dataset = dataset.flat_map(_Actor, fn_constructor_args=(job, number, book), **options)
        for row in dataset.iter_rows():
            yield Parcel.from_bytes(row["parcel"])

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """`function` over items, in parallel, in no particular order."""
        rows = [{"item": item} for item in items]
        if not rows:
            return
        self._start()
        _configure()
        dataset = ray.data.from_items(rows, override_num_blocks=min(len(rows), BLOCKS))
        cpus = min(1.0, self.resources().get("CPU", 1.0) / 2)
        for row in dataset.map(
            lambda row: {"out": [function(row["item"])]}, num_cpus=cpus
        ).iter_rows():
            yield row["out"][0]

    def close(self) -> None:
        if self.started:
            ray.shutdown()


class _Actor:
    """A worker as Ray Data calls it: one row in, rows out."""

    def __init__(self, job: Job, number: int, book: Any) -> None:
        self.pulse = _Pulse(book, number)
        with self.pulse.busy():
            purse = _Purse(book, job.budget) if job.budget else None
            self.worker = Worker(job, number, _Attempts(book), purse)

    def __call__(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        with self.pulse.busy():
            done = self.worker.handle(Parcel.from_bytes(row["parcel"]))
            return [{"parcel": parcel.to_bytes()} for parcel in done]

    def __del__(self) -> None:  # how Ray Data ends a worker that it needs no more
        self.pulse.end()


class _Pulse:
    """Tells the book whether a worker has something to do, and ends its process when asked to."""

    def __init__(self, book: Any, group: int) -> None:
        self.book = book
        self.group = group
        self.worker = ray.get_runtime_context().get_actor_id()  # outlives a restart
        self.lock = Lock()
        self.works = 0
        self.ended = Event()
        Thread(target=self._beat, daemon=True, name="clipmill-pulse").start()

    @contextmanager
    def busy(self) -> Iterator[None]:
        with self.lock:
            self.works += 1
        try:
            yield
        finally:
            with self.lock:
                self.works -= 1

    def end(self) -> None:
        self.ended.set()
        self.book.leave.remote(self.worker)

    def _beat(self) -> None:
        while True:
            asked = ray.get(self.book.beat.remote(self.worker, self.group, self.works > 0))
            if asked and not self.works:
                os._exit(1)
            if self.ended.wait(BEAT_S):
                return


class _Attempts:
    def __init__(self, book: Any) -> None:
        self.book = book

    def begin(self, work: str) -> int:
        return int(ray.get(self.book.begin.remote(work)))

    def end(self, work: str) -> None:
        ray.get(self.book.end.remote(work))


class _Purse:
    """The one purse of a run, as a worker sees it."""

    def __init__(self, book: Any, budget: Budget) -> None:
        self.book = book
        self.budget = budget

    def spend(self, tokens: int, cost: float) -> bool:
        return not self.budget.spent(*ray.get(self.book.spend.remote(tokens, cost)))


def placements(plan: Plan, cluster: dict[str, float]) -> list[dict[str, Any]]:
    """Ray's options for each group of a plan, such that all pools can stand at the same time.

    Raises RecipeError where the cluster can never satisfy a group.
    """
    total = cluster.get("CPU", 1.0)
    wanted = sum(group.resources.cpus * _least(group) for group in plan.groups)
    scale = min(1.0, 0.9 * total / wanted) if wanted else 1.0
    return [_placement(group, cluster, scale) for group in plan.groups]


def _placement(group: Group, cluster: dict[str, float], scale: float) -> dict[str, Any]:
    least = _least(group)
    gpus = group.resources.gpus
    if gpus * least > cluster.get("GPU", 0.0):
        raise RecipeError(
            f"{group.name} needs {gpus * least:g} GPU, the cluster has {cluster.get('GPU', 0):g}",
            key=f"stages.{group.name}.resources.gpus",
            cure="give a cluster with accelerators (--address), or lower gpus or actors",
        )
    memory = group.resources.memory_gb * 2**30
    if memory * least > cluster.get("memory", float("inf")):
        raise RecipeError(
            f"{group.name} needs {group.resources.memory_gb * least:g} GB, which no node has",
            key=f"stages.{group.name}.resources.memory_gb",
            cure="lower memory_gb or use larger machines",
        )
    most = group.actors[1] if group.actors else _most(group, cluster)
    # A plain function may keep state between parts, a coroutine is written to be interleaved.
    woven = all(inspect.iscoroutinefunction(link.stage.process) for link in group.links)
    parts = group.resources.parts if woven else 1
    options: dict[str, Any] = {
        "compute": ActorPoolStrategy(
            min_size=least,
            max_size=max(least, most),
            max_tasks_in_flight_per_actor=2 * parts if parts > 1 else None,
            # Without it all calls of an actor queue up behind one thread, whatever its concurrency.
            enable_true_multi_threading=parts > 1,
        ),
        "num_cpus": group.resources.cpus * scale,
    }
    if parts > 1:
        options["max_concurrency"] = parts
    if gpus:
        options["num_gpus"] = gpus
    if memory:
        options["memory"] = memory
    if group.env:
        options["runtime_env"] = {"py_executable": group.env}
    return options


def _least(group: Group) -> int:
    return group.actors[0] if group.actors else 1


def _most(group: Group, cluster: dict[str, float]) -> int:
    if group.resources.most is not None:
        return group.resources.most
    if group.resources.gpus:
        return max(1, int(cluster.get("GPU", 0.0) / group.resources.gpus))
    return max(1, int(cluster.get("CPU", 1.0) / max(group.resources.cpus, 0.25)))


def _knock(address: str) -> None:
    """OSError where nobody listens at HOST:PORT; Ray itself would try for minutes, silently."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        with socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S):
            pass


def _configure() -> None:
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = 1  # one row, one block
    context.target_min_block_size = 1
    context.execution_options.preserve_order = False
    context.execution_options.resource_limits = ExecutionResources.for_limits(
        object_store_memory=OBJECT_STORE_BYTES
    )
