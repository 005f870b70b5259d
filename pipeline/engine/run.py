"""A whole run: inputs, annotation, tables, decisions, shards, and the account at the end.

Each phase looks at the store for what is already there, so running again after anything (a crash,
Ctrl-C, a full disk, or nothing at all) does exactly what is missing.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from clipmill.pipeline.engine.account import account
from clipmill.pipeline.engine.composed import composed
from clipmill.pipeline.engine.events import Event, Summary
from clipmill.pipeline.engine.inline_engine import InlineEngine
from clipmill.pipeline.engine.ledger import Entry, Ledger, claim
from clipmill.pipeline.engine.parcel import Parcel
from clipmill.pipeline.engine.plan import plan
from clipmill.pipeline.engine.reply_cache import StoredReplies
from clipmill.pipeline.engine.reuse import Reuse
from clipmill.pipeline.engine.spending import Spending
from clipmill.pipeline.engine.worker import Job
from clipmill.pipeline.output.decide import decide
from clipmill.pipeline.output.made_by import keep_made_by
from clipmill.pipeline.output.pack import pack
from clipmill.pipeline.output.tables import compact, manifest
from clipmill.pipeline.recipe.recipe import Recipe
from clipmill.pipeline.store.lease import Fence, Lease
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import Conflict, InputError
from clipmill.schemas.fingerprints import fingerprint, short
from clipmill.schemas.records import Part, Video
from clipmill.schemas.shards import video_key
from clipmill.stages.media.source import content, unchanged_since
from clipmill.stages.source.ingest_video import ingest

T = TypeVar("T")
R = TypeVar("R")
Listener = Callable[[Event], None]

KEEP_S = 30.0
"""How often a run writes down what it has used so far."""


class Engine(Protocol):
    """What carries parcels through a plan's groups: Ray, or a plain loop."""

    def resources(self) -> dict[str, float]: ...
    def stream(self, job: Job, parcels: list[Parcel]) -> Iterator[Parcel]: ...
    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]: ...
    def close(self) -> None: ...


def run(
    recipe: Recipe,
    source: str,
    out: str,
    *,
    engine: str = "ray",
    address: str | None = None,
    reuse: str | None = None,
    take_over: bool = False,
    limit: int | None = None,
    retry: bool = False,
    repack: bool = False,
    annotate: bool = True,
    on_event: Listener | None = None,
) -> Summary:
    """Curate `source` by `recipe` into the folder or bucket `out`.

    `reuse` names an older output to take unchanged work from, `retry` tries failed inputs again,
    `repack` allows replacing shards packed by other decisions. Without `annotate` only what is
    annotated already is decided and packed, and an unfinished output is refused.

    Raises ClipmillError where the run as a whole cannot go on; what is wrong with single inputs is
    in the summary.
    """
    tell = on_event or (lambda event: None)
    start = time.monotonic()
    plan_ = plan(recipe)
    store = Store.open(out)
    store.reserve(0)
    older = Reuse.of(reuse) if reuse else None
    name = uuid.uuid4().hex[:12]
    with Lease.acquire(store, name, take_over=take_over) as lease:
        claim(store, plan_)
        ledger = Ledger(store, plan_.final, lease.check)
        videos = _inputs(recipe, source, limit, tell)
        if recipe.compose:
            with _engine(engine, address) as carrier:
                videos = composed(store, recipe.compose, videos, carrier.map, lease.check, tell)
        if retry:
            ledger.forgive([video_key(video.id) for video in videos])
        parcels = _missing(ledger, videos)
        if parcels and not annotate:
            raise Conflict(
                f"{len(parcels)} of {len(videos)} inputs are not annotated yet",
                cure=f"finish them first: clipmill run {recipe.path} {source} --out {out}",
            )
        _remember(store, recipe, source, limit)
        with _engine(engine, address) as carrier:
            replies = StoredReplies(store, older.store if older else None)
            job = Job(
                plan_,
                store,
                lease.fence,
                older,
                replies if recipe.engine.keep_replies else None,
                recipe.engine.budget if recipe.engine.budget.limited else None,
            )
            spending = Spending()
            try:
                _annotate(carrier, job, parcels, len(videos), lease, name, spending, tell)
            finally:
                spending.keep(store, name)
            summary = _finish(carrier, recipe, ledger, videos, lease.fence, repack, tell)
    summary.teachers = spending.rows()
    summary.seconds = time.monotonic() - start
    tell(Event("done"))
    return summary


def annotated(ledger: Ledger) -> Iterator[Video]:
    """Every video the store has, whole, in order of its key."""
    for key, entry in sorted(ledger.scan().items()):
        video = ledger.assemble(key, entry)
        if video is not None:
            yield video


def _inputs(recipe: Recipe, source: str, limit: int | None, tell: Listener) -> list[Video]:
    videos: dict[str, Video] = {}
    for video in ingest(source, recipe.input):
        key = video_key(video.id)
        if key in videos:
            raise InputError(
                f"two inputs have the id {video.id!r}",
                cure="give every input an id of its own in the manifest",
                input=video.id,
            )
        videos[key] = video
        if limit is not None and len(videos) >= limit:
            break
    if not videos:
        raise InputError(
            f"no input found in {source!r}",
            cure="check the path and input.pattern; `clipmill plan` lists what is found",
        )
    tell(Event("inputs", f"{len(videos)} inputs", len(videos), len(videos)))
    return list(videos.values())


def _missing(ledger: Ledger, videos: list[Video]) -> list[Parcel]:
    """A parcel for every input with something left to do; refuses inputs that have changed."""
    entries = ledger.scan()
    parcels, changed = [], []
    for video in videos:
        key = video_key(video.id)
        entry = entries.get(key, Entry())
        if entry.unit and _changed(entry, video):
            changed.append(video.id)
        elif not entry.complete:
            parcels.append(Parcel(key, Part(video), entry.resume()))
    if changed:
        raise Conflict(
            f"{len(changed)} inputs have changed since they were curated, e.g. {changed[0]!r}",
            cure=f"write to a new folder and reuse the rest: --out NEW --from {ledger.store.uri}",
        )
    return parcels


def _changed(entry: Entry, video: Video) -> bool:
    if unchanged_since(video.source, datetime.fromtimestamp(entry.modified, UTC)):
        return False
    return content(video.source).digest[: len(entry.content)] != entry.content


@contextmanager
def _engine(name: str, address: str | None) -> Iterator[Engine]:
    carrier: Engine
    if name == "inline":
        carrier = InlineEngine()
    else:
        from clipmill.pipeline.engine.ray_engine import (
            RayEngine,  # two seconds that inline runs save
        )

        carrier = RayEngine(address)
    try:
        yield carrier
    finally:
        carrier.close()


def _annotate(
    engine: Engine,
    job: Job,
    parcels: list[Parcel],
    total: int,
    lease: Lease,
    name: str,
    spending: Spending,
    tell: Listener,
) -> None:
    done = total - len(parcels)
    ended = {parcel.key: len(parcel.resume.done) for parcel in parcels}  # parts of earlier runs
    left = dict.fromkeys(ended, -1)  # parts still to come, -1 = not known yet
    stopped, kept = False, time.monotonic()
    tell(Event("annotate", done=done, total=total))
    for parcel in engine.stream(job, parcels):
        lease.check()
        job.store.reserve(0)
        spending.add(parcel.laps)
        if time.monotonic() - kept > KEEP_S:
            spending.keep(job.store, name)
            kept = time.monotonic()
        stopped = parcel.stopped
        if stopped:
            break
        receipt = parcel.receipt
        assert receipt is not None
        if receipt.part is None:
            left.pop(parcel.key, None)
        else:
            if left[parcel.key] < 0:
                left[parcel.key] = receipt.total - ended[parcel.key]
            left[parcel.key] -= 1
            if left[parcel.key] == 0:
                del left[parcel.key]
        done = total - len(left)
        tell(Event("annotate", "", done, total, receipt, tuple(parcel.laps)))
    if stopped and job.budget is not None:
        raise spending.exhausted(job.budget, done, total)


def _finish(
    engine: Engine,
    recipe: Recipe,
    ledger: Ledger,
    videos: list[Video],
    fence: Fence,
    repack: bool,
    tell: Listener,
) -> Summary:
    store = ledger.store
    generation = short(fingerprint(sorted(item.key for item in store.list("units/"))))
    made = manifest(store)
    if made is None or made.generation != generation:
        tell(Event("tables"))
        compact(store, annotated(ledger), generation, fence=fence)
    tell(Event("decide"))
    verdicts = decide(store, recipe.decide, recipe.pack.layer, fence)
    tell(Event("pack", total=verdicts.kept))
    packed = pack(store, recipe.pack, verdicts, run_all=engine.map, fence=fence, repack=repack)
    return account(ledger, videos, verdicts, packed, recipe.engine.max_segments)


def _remember(store: Store, recipe: Recipe, source: str, limit: int | None) -> None:
    """What `retry` and `pack` need to go on with this output without being told again."""
    keep_made_by(store, {"recipe": recipe.resolved, "source": source, "limit": limit})
