"""One group of stages at work on parcels: in a Ray actor, or in a plain loop.

This is the one place that isolates inputs from one another. Whatever a stage raises ends its part,
with its class counted, and never the run. A part that takes its process down with it is met again
by the next process: the attempt was recorded outside before the work began, and after as many
attempts as the recipe allows the part is quarantined instead of tried for ever.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import platform
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock, Thread
from typing import Any, Protocol

from clipmill.pipeline.engine.ledger import Ledger
from clipmill.pipeline.engine.parcel import Lap, Parcel, Receipt, divide
from clipmill.pipeline.engine.plan import Link, Plan
from clipmill.pipeline.engine.reply_cache import StoredReplies
from clipmill.pipeline.engine.reuse import Reuse
from clipmill.pipeline.engine.selection import Selection, select
from clipmill.pipeline.engine.spending import Budget
from clipmill.pipeline.engine.tokens import forget
from clipmill.pipeline.store.lease import Fence
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import (
    BudgetSpent,
    ClipmillError,
    DecoderLost,
    LeaseLost,
    ModelError,
    NoSpace,
    OverLimit,
    ReplyMismatch,
)
from clipmill.schemas.records import Failure, Part, Segment, Step
from clipmill.stages.media.source import content
from clipmill.stages.models.tab import Purse, Tab, open_tab
from clipmill.stages.stage import IN_FLIGHT


class Attempts(Protocol):
    """Remembers which work was begun and not ended, where the worker's death cannot reach."""

    def begin(self, work: str) -> int:
        """Note that `work` begins; returns how many earlier attempts never ended."""

    def end(self, work: str) -> None:
        """Note that `work` ended, well or badly."""


@dataclass(frozen=True, slots=True)
class Job:
    """What every worker of a run is told."""

    plan: Plan
    store: Store
    fence: Fence | None = None
    reuse: Reuse | None = None
    replies: StoredReplies | None = None
    budget: Budget | None = None


class Worker:
    """Applies one group's stages to parcels and commits where the plan says so.

    `attempts` is given where the worker has a process of its own: then a stage that hangs past its
    time limit is ended with the process, and the attempt counts.
    """

    def __init__(
        self, job: Job, group: int, attempts: Attempts | None = None, purse: Purse | None = None
    ) -> None:
        self.job = job
        self.purse = purse
        self.plan = job.plan
        self.first = group == 0
        self.group = job.plan.groups[group]
        self.attempts = attempts
        self.ledger = Ledger(job.store, job.plan.final, job.fence.check if job.fence else None)
        self.name = f"{platform.node()}:{os.getpid()}"
        self.stage = self.group.name  # what is running now, for failures
        self.loop: asyncio.AbstractEventLoop | None = None
        self.lock = Lock()
        for link in self.group.links:
            link.stage.setup()

    def close(self) -> None:
        for link in self.group.links:
            link.stage.close()
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self.loop.stop)

    def handle(self, parcel: Parcel) -> list[Parcel]:
        """What becomes of a parcel here: itself with more in it, its parts, or its receipt."""
        if parcel.part is None:
            return [parcel]
        work = f"{parcel.key}/{parcel.part.index}/{self.group.name}"
        lost = self.attempts.begin(work) if self.attempts else 0
        try:
            return self._handle(parcel, lost)
        finally:
            if self.attempts:
                self.attempts.end(work)

    def _handle(self, parcel: Parcel, lost: int) -> list[Parcel]:
        untouched = parcel.to_bytes()
        if lost >= self.plan.attempts:
            message = f"its worker died or hung {lost} times"
            return [self._fail(parcel, "quarantined", "worker_lost", message, lost)]
        for attempt in range(lost + 1, self.plan.attempts + 1):
            tried = Parcel.from_bytes(untouched)
            tried.laps = parcel.laps  # what a failed attempt has cost is on the account too
            try:
                return self._forward(self._work(tried))
            except (LeaseLost, NoSpace):
                raise  # the run cannot go on, and nothing is wrong with this input
            except BudgetSpent:
                return [Parcel(parcel.key, None, laps=parcel.laps, stopped=True)]
            except DecoderLost as error:
                if attempt == self.plan.attempts:
                    return [self._fail(parcel, "quarantined", error.kind, error.message, attempt)]
            except Exception as error:
                if isinstance(error, ClipmillError):
                    kind, message = error.kind, error.message
                else:
                    kind, message = f"error:{type(error).__name__}", str(error)
                return [self._fail(parcel, "failed", kind, message, attempt)]
        raise AssertionError("every attempt returns or is the last")

    def _work(self, parcel: Parcel) -> Parcel:
        part = parcel.part
        assert part is not None
        self.stage = "ingest_video"
        if self.first:
            self._open(parcel, part)
        for link in self.group.links:
            self.stage = link.name
            selection = select(link, part, self.plan.links, parcel.fresh)
            if selection is None:
                continue
            start = time.time()
            with open_tab(self.job.replies, self.purse) as tab:
                try:
                    if selection.ids or selection.whole:
                        self._apply(link, part, selection)
                except BaseException:
                    if tab.bills:
                        parcel.laps.append(self._lap(link, start, 0, tab))
                    raise
            if not link.adds & IN_FLIGHT:
                _note_step(part, link, selection)
            if selection.ids and not selection.whole:
                parcel.fresh[link.name] = selection.ids
            self._check_size(part)
            parcel.laps.append(self._lap(link, start, len(selection.ids), tab))
        self._drop_frames(part)
        return parcel

    def _lap(self, link: Link, start: float, segments: int, tab: Tab) -> Lap:
        return Lap(link.name, start, time.time(), segments, self.name, tuple(tab.bills.values()))

    def _open(self, parcel: Parcel, part: Part) -> None:
        """Meet an input for the first time in this run; take up what a store has of it."""
        if parcel.resume.total is not None:
            held = self.ledger.header(parcel.key)
            if held is not None:
                part.video = held
                return
        part.video.content = content(part.video.source)
        if self.job.reuse is not None:
            part.video = self.job.reuse.take(parcel.key, part.video, self.plan)

    def _apply(self, link: Link, part: Part, selection: Selection) -> None:
        for segment in part.video.segments:
            if segment.id in selection.again:
                forget(segment, link.adds, link.name)
        sub = part
        if not selection.whole:
            chosen = [s for s in part.video.segments if s.id in selection.ids]
            frames = {i: frames for i, frames in part.frames.items() if i in selection.ids}
            sub = replace(part, video=replace(part.video, segments=chosen), frames=frames)
        given = {segment.id for segment in sub.video.segments}
        with self._watch(link):
            done = link.stage.process(sub)
        if not isinstance(done, Part):
            done = self._await(link, done)
        _merge(part, done, given, link)

    def _await(self, link: Link, work: Coroutine[Any, Any, Part]) -> Part:
        """Run a coroutine on this worker's one event loop, beside those of other parts."""
        with self.lock:
            if self.loop is None:
                self.loop = asyncio.new_event_loop()
                Thread(target=self.loop.run_forever, name="stages", daemon=True).start()
        limited = asyncio.wait_for(work, link.timeout_s)
        try:
            return asyncio.run_coroutine_threadsafe(limited, self.loop).result()
        except TimeoutError as error:
            raise ModelError(
                f"no answer within {link.timeout_s:g} s",
                cure="raise resources.timeout_s, or look why the model is slow",
                stage=link.name,
            ) from error

    @contextmanager
    def _watch(self, link: Link) -> Iterator[None]:
        """End this process if the stage outlasts its limit; only C code can see to that always."""
        if self.attempts is None:
            yield
            return
        faulthandler.dump_traceback_later(link.timeout_s, exit=True)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _check_size(self, part: Part) -> None:
        size = sum(len(frame.jpeg) for frames in part.frames.values() for frame in frames)
        if size > self.plan.max_part_mb * 2**20:
            raise OverLimit(
                f"its frames take {size / 2**20:.0f} MiB, the cap is {self.plan.max_part_mb}",
                cure="sample fewer or smaller frames, or lower engine.max_segments",
                stage=self.stage,
            )

    def _drop_frames(self, part: Part) -> None:
        """Frames no later stage reads are dropped before the part travels on."""
        last = self.group.links[-1] if self.group.links else None
        later = self.plan.links[self.plan.links.index(last) + 1 :] if last else ()
        if not any(link.reads & IN_FLIGHT for link in later):
            part.frames.clear()

    def _forward(self, parcel: Parcel) -> list[Parcel]:
        part = parcel.part
        assert part is not None
        if self.group.divides:
            return self._divided(parcel, part)
        if self.group.commit is not None:
            self.ledger.commit_part(parcel.key, part, self.group.commit)
        if self.group.last:
            receipt = Receipt(part.video.id, part.index, part.total, len(part.video.segments))
            return [Parcel(parcel.key, None, laps=parcel.laps, receipt=receipt)]
        return [parcel]

    def _divided(self, parcel: Parcel, part: Part) -> list[Parcel]:
        assert self.group.commit is not None
        parts = divide(part.video, self.plan.max_segments)
        self.ledger.commit_video(parcel.key, part.video, len(parts), self.group.commit)
        if not parts:
            receipt = Receipt(part.video.id, None, 0, 0)
            return [Parcel(parcel.key, None, laps=parcel.laps, receipt=receipt)]
        out: list[Parcel] = []
        for piece in parts:
            if piece.index in parcel.resume.done:
                continue
            commits = parcel.resume.commits.get(piece.index, [])
            furthest = next(
                (g.commit for g in reversed(self.plan.groups) if g.commit in commits), None
            )
            if furthest is not None:
                held = self.ledger.read_part(parcel.key, piece.index, furthest)
                piece.video = replace(piece.video, segments=held.segments, steps=held.steps)
            laps = parcel.laps if not out else []
            out.append(Parcel(parcel.key, piece, laps=list(laps)))
        return out

    def _fail(self, parcel: Parcel, state: str, kind: str, message: str, attempts: int) -> Parcel:
        part = parcel.part
        assert part is not None
        failure = Failure(
            state="quarantined" if state == "quarantined" else "failed",
            kind=kind,
            stage=self.stage,
            message=message[:2000],
            attempts=attempts,
        )
        whole = any(group.divides for group in self.plan.groups[self._place() :])
        index = None if whole else part.index
        self.ledger.fail(parcel.key, index, failure)
        receipt = Receipt(
            part.video.id, index, part.total, len(part.video.segments), failure=failure
        )
        return Parcel(parcel.key, None, laps=parcel.laps, receipt=receipt)

    def _place(self) -> int:
        return self.plan.groups.index(self.group)


def _merge(part: Part, done: Part, given: set[str], link: Link) -> None:
    """Take a stage's result into the part; refuse one that lost or doubled segments."""
    names = [segment.id for segment in done.video.segments]
    if len(names) != len(set(names)) or not given <= set(names):
        lost = sorted(given - set(names))
        raise ReplyMismatch(
            f"the stage returned other segments than it was given (lost: {lost[:3]})",
            cure="a stage adds to segments and may append new ones; it never drops or renames",
            stage=link.name,
        )
    if done is part:
        return
    result: dict[str, Segment] = {segment.id: segment for segment in done.video.segments}
    kept = [result.pop(segment.id, segment) for segment in part.video.segments]
    part.video = replace(done.video, segments=kept + list(result.values()), steps=part.video.steps)
    part.frames.update(done.frames)


def _note_step(part: Part, link: Link, selection: Selection) -> None:
    steps = [step for step in part.video.steps if step.stage != link.name]
    part.video.steps = [*steps, Step(link.name, link.fingerprint, sorted(selection.spared))]
