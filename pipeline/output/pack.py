"""Packing: kept segments become clips, clips become shards, and one manifest makes them a pack.

    staging/...                        clips under way; gone when the pack stands
    shards/<name>-000000.tar           as `schemas.shards` describes
    shards/<name>-000000.parquet       its index: key, member offsets and sizes, sha256, scalars
    shards/failures.parquet            kept segments that could not be packed, and why
    shards/manifest.json               the shards with their digests; put last

Two phases, because a good shuffle needs every clip's exact size before the first shard is written.
The price is that clips are written twice; what it buys is shards whose content and order do not
depend on timing. Until the manifest stands there is no pack, and everything before it can be
killed and done again. A pack is frozen: clips that are kept anew are appended in shards of their
own, and what would change or drop a packed clip needs `repack`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from io import BytesIO
from typing import Protocol, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from clipmill.pipeline.output.decide import Verdicts, read_sample_verdicts
from clipmill.pipeline.output.decide_samples import Owner, refused
from clipmill.pipeline.output.pack_clips import (
    ClipJob,
    Cutter,
    PackFailure,
    StagedClip,
    clip_jobs,
    cut_clips,
    read_staged,
    staging,
)
from clipmill.pipeline.output.pack_settings import PackSettings
from clipmill.pipeline.output.shards import ShardEntry, ShardJob, plan_shards, write_shard
from clipmill.pipeline.output.tables import read_videos, to_parquet
from clipmill.pipeline.store.lease import Fence
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import AccountingError, Conflict, StoreError
from clipmill.schemas.fingerprints import fingerprint
from clipmill.schemas.shards import LAYOUT
from clipmill.stages.clip.cut_clip import CutClip

MANIFEST = "shards/manifest.json"
FAILURES = "shards/failures.parquet"
_FAILURE_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("video", "segment", "kind", "message", "pack")]
)

T = TypeVar("T")
R = TypeVar("R")


class RunAll(Protocol):
    """An unordered map; the engine's runs on Ray. Functions and items given to it are picklable."""

    def __call__(self, function: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]: ...


@dataclass(frozen=True)
class PackManifest:
    """What the shards hold. `failed` counts kept segments that could not be packed, by class."""

    layout: int
    fingerprint: str
    made_by: str  # fingerprint of layout, settings and cutter
    verdicts: str  # fingerprint of the decisions that were packed
    layer: str
    seed: int
    clips: int
    without_text: int
    failed: dict[str, int] = field(default_factory=dict)
    shards: list[ShardEntry] = field(default_factory=list)


def pack(
    store: Store,
    settings: PackSettings,
    verdicts: Verdicts,
    *,
    cutter: Cutter | None = None,
    run_all: RunAll = map,
    fence: Fence | None = None,
    repack: bool = False,
) -> PackManifest:
    """Pack what `verdicts` keeps; returns the manifest, at once where this pack stands already.

    Where a pack by the same settings stands and all its clips are still kept, the others are
    appended. Raises Conflict if another pack stands and `repack` is not given, AccountingError if
    kept, packed and failed do not add up.
    """
    cutter = cutter or CutClip(settings.cut)
    made_by = fingerprint(LAYOUT, settings.model_dump(mode="json"), cutter.fingerprint())
    mark = fingerprint(made_by, verdicts.fingerprint)
    found = read_manifest(store)
    if found is not None and found.fingerprint == mark:
        _delete_below(store, "staging/")
        return found
    standing = _Standing()
    if found is not None and repack:
        _check(fence)
        store.delete(MANIFEST)
    elif found is not None:
        standing = _standing(store, found, made_by, mark, verdicts)
    clips, failures = _stage(store, settings, verdicts, cutter, mark, standing, run_all, fence)
    failures.extend(standing.failures)
    shards = standing.shards + _write(store, settings, clips, standing, run_all, fence)
    packed = sum(shard.clips for shard in shards)
    if packed + len(failures) != verdicts.kept:
        raise AccountingError(
            f"{verdicts.kept} segments are kept, {packed} packed and {len(failures)} failed",
            stage="pack",
            cure="decide and pack again; if it stays, report it",
        )
    manifest = PackManifest(
        layout=LAYOUT,
        fingerprint=mark,
        made_by=made_by,
        verdicts=verdicts.fingerprint,
        layer=settings.layer,
        seed=settings.seed,
        clips=packed,
        without_text=sum(shard.without_text for shard in shards),
        failed=dict(sorted(Counter(failure.kind for failure in failures).items())),
        shards=shards,
    )
    _check(fence)
    failures.sort(key=lambda failure: (failure.video, failure.segment))
    old = set(standing.failures)
    rows = [asdict(f) | {"pack": standing.mark if f in old else mark} for f in failures]
    store.put(FAILURES, to_parquet(pa.Table.from_pylist(rows, schema=_FAILURE_SCHEMA)))
    current = {f"shards/{s.name}.{suffix}" for s in shards for suffix in ("tar", "parquet")}
    _delete_below(store, "shards/", keep={*current, FAILURES, MANIFEST})
    store.put(MANIFEST, json.dumps(asdict(manifest), indent=1, sort_keys=True).encode())
    _delete_below(store, "staging/")
    return manifest


def read_manifest(store: Store) -> PackManifest | None:
    """The pack in a store, None where there is none."""
    data = store.find(MANIFEST)
    if data is None:
        return None
    try:
        fields = json.loads(data)
        if fields["layout"] > LAYOUT:
            raise Conflict(
                f"{store.uri} holds shards of a newer layout", cure="update Clipmill to read them"
            )
        shards = [ShardEntry(**shard) for shard in fields.pop("shards")]
        return PackManifest(**fields, shards=shards)
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{store.uri}/{MANIFEST} is not a manifest", cure="delete it and pack again"
        ) from error


def read_failures(store: Store) -> list[PackFailure]:
    """The kept segments that the current pack could not hold."""
    return [failure for failure, _ in _failures(store)]


@dataclass(frozen=True)
class _Standing:
    """A pack that is appended to; empty for a new one."""

    mark: str = ""
    shards: list[ShardEntry] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    failures: list[PackFailure] = field(default_factory=list)
    done: set[Owner] = field(default_factory=set)


def _standing(
    store: Store, found: PackManifest, made_by: str, mark: str, verdicts: Verdicts
) -> _Standing:
    """What stands, if nothing in it would change; else Conflict."""
    cure = f"`clipmill pack {store.uri} --repack` replaces its shards; or write to a new --out"
    if found.made_by != made_by:
        raise Conflict(f"{store.uri} already holds a pack of other settings", cure=cure)
    # Rows of this very pack were left by an attempt that was killed before its manifest.
    failures = [failure for failure, pack in _failures(store) if pack != mark]
    done = {(failure.video, failure.segment) for failure in failures}
    keys: set[str] = set()
    for shard in found.shards:
        index = pq.read_table(
            BytesIO(store.get(f"shards/{shard.name}.parquet")), columns=["key", "video", "segment"]
        )
        keys.update(index["key"].to_pylist())
        done.update(zip(index["video"].to_pylist(), index["segment"].to_pylist(), strict=True))
    kept = {(video, segment) for video, ids in verdicts.kept_ids().items() for segment in ids}
    if not done <= kept:
        raise Conflict(
            f"{store.uri} holds {len(done - kept)} packed clips that are no longer kept", cure=cure
        )
    was, now = refused(read_sample_verdicts(store, found.verdicts)), verdicts.refused_samples()
    if any(was.get(clip) != now.get(clip) for clip in done):
        raise Conflict(f"{store.uri} holds packed clips with other samples", cure=cure)
    return _Standing(found.fingerprint, found.shards, keys, failures, done)


def _failures(store: Store) -> list[tuple[PackFailure, str]]:
    """Failures and the fingerprint of the pack that met them."""
    rows = pq.read_table(BytesIO(store.get(FAILURES))).to_pylist()
    return [(PackFailure(**row), pack) for row in rows for pack in [row.pop("pack", "")]]


def _stage(
    store: Store,
    settings: PackSettings,
    verdicts: Verdicts,
    cutter: Cutter,
    mark: str,
    standing: _Standing,
    run_all: RunAll,
    fence: Fence | None,
) -> tuple[list[StagedClip], list[PackFailure]]:
    """Phase 1: every kept segment cut and staged, or failed for a reason."""
    there = {item.key for item in store.list("staging/")}
    store.delete(key for key in there if not key.startswith(staging(mark)))
    wanted: list[str] = []
    kept, lost = verdicts.kept_ids(), verdicts.refused_samples()
    for video, segment in standing.done:
        kept[video].discard(segment)

    def missing() -> Iterator[ClipJob]:
        for video in read_videos(store, without=("transcripts", "utterances", "words")):
            if not kept.get(video.id):
                continue
            for segment in video.segments:
                if gone := lost.get((video.id, segment.id)):
                    segment.samples = [s for s in segment.samples if s.id not in gone]
            for chunk, part in clip_jobs(video, kept[video.id], settings):
                job = ClipJob(store, fence, mark, settings, cutter, part, chunk)
                wanted.append(job.staged)
                if job.staged not in there:
                    yield job

    for _ in run_all(cut_clips, missing()):
        _check(fence)
    clips: list[StagedClip] = []
    failures: list[PackFailure] = []
    for key in sorted(wanted):
        made, failed = read_staged(store, key)
        clips.extend(made)
        failures.extend(failed)
    counts = Counter([*standing.keys, *(clip.key for clip in clips)])
    doubled = [key for key, count in counts.items() if count > 1]
    if doubled:
        raise AccountingError(
            f"clips of two videos share the key {doubled[0]!r}",
            stage="pack",
            cure="give one of the videos another id",
        )
    return clips, failures


def _write(
    store: Store,
    settings: PackSettings,
    clips: list[StagedClip],
    standing: _Standing,
    run_all: RunAll,
    fence: Fence | None,
) -> list[ShardEntry]:
    """Phase 2: every staged clip in one shard."""
    plan = plan_shards(clips, settings.seed, settings.max_clips, settings.max_bytes)
    jobs = (
        ShardJob(store, fence, f"{settings.name}-{number:06d}", shard)
        for number, shard in enumerate(plan, start=len(standing.shards))
    )
    shards: list[ShardEntry] = []
    for shard in run_all(write_shard, jobs):
        _check(fence)
        shards.append(shard)
    return sorted(shards, key=lambda shard: shard.name)


def _delete_below(store: Store, folder: str, keep: Iterable[str] = ()) -> None:
    spared = set(keep)
    store.delete([item.key for item in store.list(folder) if item.key not in spared])


def _check(fence: Fence | None) -> None:
    if fence is not None:
        fence.check()
