"""Check an output against itself: bytes, clips, index, decisions and tables must tell one story.

Everything is read back as a stranger would: shards are walked header by header, clips are opened
and their frames counted in the sandboxed child, and what is found is compared with what the
manifest, the index, the verdicts and the tables say. Nothing is repaired and nothing stops the
check: problems are listed with the key they belong to and what to do.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clipmill.pipeline.output.decide import Verdicts, read_verdicts
from clipmill.pipeline.output.pack import (
    FAILURES,
    MANIFEST,
    PackManifest,
    read_failures,
    read_manifest,
)
from clipmill.pipeline.output.pack_clips import NO_MEDIA
from clipmill.pipeline.output.shards import ShardEntry
from clipmill.pipeline.output.tables import manifest as tables_manifest
from clipmill.pipeline.output.tables import read_table
from clipmill.pipeline.output.tars import BadTar, Member, members
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import ClipmillError, MediaError
from clipmill.schemas.shards import LAYOUT, clip_key
from clipmill.stages.media import sandbox
from clipmill.stages.media.probe import probe

_MAX_JSON = 64 * 2**20
_OPEN_TIMEOUT_S = 120.0
_REPACK = "pack again with --repack"
_DECIDE = "run the recipe again: its decisions are made anew from the tables"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be; `key` is an object or a clip."""

    key: str
    what: str
    cure: str


@dataclass(slots=True)
class Report:
    """What was checked, and what is wrong."""

    shards: int = 0
    clips: int = 0
    frames: int = 0
    kept: int = 0
    failed: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems

    def add(self, key: str, what: str, cure: str = _REPACK) -> None:
        self.problems.append(Problem(key, what, cure))


def verify(store: Store) -> Report:
    """Check tables, decisions and shards of an output; see `Report.problems`."""
    report = Report()
    verdicts = None
    try:
        verdicts = _decisions(store, report)
    except ClipmillError as error:
        report.add("decisions", error.message, error.cure)
    try:
        manifest = read_manifest(store)
    except ClipmillError as error:
        report.add(MANIFEST, error.message, error.cure)
        return report
    if manifest is None:
        report.add(MANIFEST, "there is no finished pack", "run or pack the recipe into this output")
        return report
    expected = {MANIFEST, FAILURES}
    expected |= {
        f"shards/{s.name}.{suffix}" for s in manifest.shards for suffix in ("tar", "parquet")
    }
    for item in store.list("shards/"):
        if item.key not in expected:
            report.add(item.key, "belongs to no pack", "delete it")
    lost: dict[str, set[str]] = {}
    if verdicts is not None and verdicts.fingerprint == manifest.verdicts:
        refused = verdicts.refused_samples()
        lost = {clip_key(video, segment): ids for (video, segment), ids in refused.items()}
    packed: Counter[str] = Counter()
    for shard in manifest.shards:
        try:
            packed.update(_shard(store, shard, manifest.layer, lost, report))
        except ClipmillError as error:
            report.add(f"shards/{shard.name}.tar", error.message, error.cure)
    for key, count in packed.items():
        if count > 1:
            report.add(key, f"is packed {count} times")
    _complete(store, manifest, verdicts, packed, report)
    return report


def _decisions(store: Store, report: Report) -> Verdicts | None:
    """The verdicts, once they agree with the tables."""
    tables = tables_manifest(store)
    verdicts = read_verdicts(store)
    if tables is None or verdicts is None:
        what = "tables" if tables is None else "decisions"
        report.add("tables" if tables is None else "decisions", f"there are no {what}", _DECIDE)
        return verdicts
    if verdicts.generation != tables.generation:
        report.add("decisions", "were made for other tables", _DECIDE)
        return verdicts
    table = read_table(store, "segments", ["video", "segment", "layer"])
    layer = table.filter(pc.equal(table["layer"], verdicts.layer))
    there, judged = _pairs(layer), _pairs(verdicts.table)
    for video, segment in sorted((there - judged).keys() | (judged - there).keys()):
        where = "tables" if (video, segment) in there else "decisions"
        report.add(clip_key(video, segment), f"is in the {where} only", _DECIDE)
    return verdicts


def _complete(
    store: Store,
    manifest: PackManifest,
    verdicts: Verdicts | None,
    packed: Counter[str],
    report: Report,
) -> None:
    """Every kept segment is packed or counted as failed, and nothing else is packed."""
    try:
        failures = read_failures(store)
    except ClipmillError as error:
        report.add(FAILURES, error.message, error.cure)
        return
    report.failed = len(failures)
    if dict(Counter(f.kind for f in failures)) != manifest.failed:
        report.add(FAILURES, "disagrees with the manifest")
    if sum(packed.values()) != manifest.clips:
        report.add(MANIFEST, f"counts {manifest.clips} clips, {sum(packed.values())} were found")
    if verdicts is None:
        return
    if verdicts.fingerprint != manifest.verdicts:
        report.add("decisions", "have been made anew since the pack")
        return
    kept = verdicts.table.filter(verdicts.table["keep"])
    wanted = {clip_key(video, segment) for video, segment in _pairs(kept)}
    lost = {clip_key(failure.video, failure.segment) for failure in failures}
    report.kept = len(wanted)
    for key in sorted(wanted - packed.keys() - lost):
        report.add(key, "is kept, and neither packed nor counted as failed")
    for key in sorted(packed.keys() - wanted):
        report.add(key, "is packed, and was not kept")
    for key in sorted(lost & packed.keys()):
        report.add(key, "is packed, and counted as failed")


def _shard(
    store: Store, shard: ShardEntry, layer: str, lost: Mapping[str, set[str]], report: Report
) -> list[str]:
    """Check one shard; returns the keys found in its tar. `lost` are dropped samples, by key."""
    tar, index = f"shards/{shard.name}.tar", f"shards/{shard.name}.parquet"
    size = store.size(tar)
    if size is None or not store.exists(index):
        report.add(tar if size is None else index, "is missing")
        return []
    report.shards += 1
    with store.scratch() as folder:
        path = store.local_path(tar)
        if path is None:
            path = folder / "shard.tar"
            path.write_bytes(store.get(tar))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest != shard.sha256 or size != shard.size:
                report.add(tar, "is not the file that was packed (sha256 differs)")
            clips = _clips(file, tar, report)
            rows = _rows(store, index, report)
            if len(clips) != shard.clips:
                report.add(tar, f"holds {len(clips)} clips, the manifest says {shard.clips}")
            for key in sorted(clips.keys() ^ rows.keys()):
                report.add(key, f"is in the {'tar' if key in clips else 'index'} only")
            for key in sorted(clips.keys() & rows.keys()):
                gone, scratch = lost.get(key, set()), folder / "clip.mp4"
                what = _clip(file, key, clips[key], rows[key], layer, gone, scratch, report)
                if what:
                    report.add(key, what)
    return list(clips)


def _clips(file: IO[bytes], tar: str, report: Report) -> dict[str, dict[str, Member]]:
    """Key -> its members by extension."""
    clips: dict[str, dict[str, Member]] = {}
    last = ""
    try:
        for member in members(file, tar):
            if member.problem:
                report.add(f"{tar}: {member.name!a}", member.problem, "do not use this shard")
                continue
            clip = clips.setdefault(member.key, {})
            if member.extension in clip or (clip and member.key != last):
                report.add(member.key, "occurs twice in its shard")
            clip[member.extension] = member
            last = member.key
    except BadTar as error:
        report.add(tar, error.message)
    return clips


def _rows(store: Store, index: str, report: Report) -> dict[str, dict[str, Any]]:
    try:
        rows = pq.read_table(BytesIO(store.get(index))).to_pylist()
        found = {row["key"]: row for row in rows}
    except (pa.ArrowException, KeyError) as error:
        report.add(index, f"cannot be read ({error})")
        return {}
    if len(found) != len(rows):
        report.add(index, "names a key twice")
    return found


def _clip(
    file: IO[bytes],
    key: str,
    parts: dict[str, Member],
    row: dict[str, Any],
    layer: str,
    lost: set[str],
    scratch: Path,
    report: Report,
) -> str:
    """What is wrong with one clip, empty if nothing."""
    for extension, member in parts.items():
        if (row.get(f"{extension}_offset"), row.get(f"{extension}_size")) != (
            member.offset,
            member.size,
        ):
            return f"the index does not point at its .{extension}"
    bare = row["mode"] == NO_MEDIA
    if ("mp4" in parts) == bare or "json" not in parts:
        return "has an .mp4 or no .json" if bare else "has no .mp4 or no .json"
    if parts["json"].size > _MAX_JSON:
        return "its .json is too large to be ours"
    try:
        facts = json.loads(_read(file, parts["json"]))
        told = (facts["key"], facts["layout"], facts["layer"])
        made = clip_key(facts["video"]["id"], facts["segment"])
        frames = facts["media"]["frames"]
        samples = {sample["id"] for sample in facts["samples"]}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "its .json is not what the layout says"
    if told != (key, LAYOUT, layer) or made != key or frames != row["frames"]:
        return "its .json belongs to another clip"
    if samples & lost:
        return "holds samples that were dropped"
    if bare:
        report.clips += 1
        return ""
    data = _read(file, parts["mp4"])
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        return "its .mp4 is not the one in the index (sha256 differs)"
    scratch.write_bytes(data)
    try:
        found = sandbox.call(probe, scratch, timeout_s=_OPEN_TIMEOUT_S).decoded_frames
    except MediaError as error:
        return f"its .mp4 does not open: {error.message}"
    report.clips += 1
    report.frames += found or 0
    return "" if found == frames else f"its .mp4 has {found} frames, its .json says {frames}"


def _read(file: IO[bytes], member: Member) -> bytes:
    file.seek(member.offset)
    return file.read(member.size)


def _pairs(table: pa.Table) -> Counter[tuple[str, str]]:
    return Counter(zip(table["video"].to_pylist(), table["segment"].to_pylist(), strict=True))
