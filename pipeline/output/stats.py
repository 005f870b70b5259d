"""Count what is in an output, or in shards of any origin.

`stats` reads columns of the tables, so it answers before anything is packed and for millions of
clips; `shard_stats` reads tar headers and small JSON members of any WebDataset shard and believes
nothing in them. Both give plain dataclasses that turn into JSON as they are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipmill.pipeline.engine.ledger import Ledger
from clipmill.pipeline.engine.spending import Spending
from clipmill.pipeline.output.decide import Verdicts, read_verdicts
from clipmill.pipeline.output.pack import PackManifest, read_failures, read_manifest
from clipmill.pipeline.output.sample_stats import SampleStats, sample_stats
from clipmill.pipeline.output.tables import manifest as tables_manifest
from clipmill.pipeline.output.tables import read_table
from clipmill.pipeline.output.tars import BadTar, Member, members
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import StoreError
from clipmill.schemas.shards import video_key

BINS = 10
_MAX_JSON = 8 * 2**20
_SHOWN = 20  # labels, keys and languages beyond the most frequent are summed up


@dataclass(slots=True)
class Histogram:
    """Ten equal bins over the finite values; `missing` were not computed or are no number."""

    count: int = 0
    missing: int = 0
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    edges: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Stats:
    """What an output holds. Clips are the segments of the layer that is decided and packed."""

    inputs: dict[str, int] = field(default_factory=dict)  # state -> videos
    input_hours: float = 0.0
    segments: dict[str, int] = field(default_factory=dict)  # layer -> segments
    layer: str | None = None
    clips: dict[str, int] = field(default_factory=dict)  # kept, dropped, packed, failed
    clip_hours: dict[str, float] = field(default_factory=dict)  # kept, dropped
    dropped: dict[str, int] = field(default_factory=dict)  # "decision: reason" -> clips
    failed: dict[str, int] = field(default_factory=dict)  # class -> videos and clips
    stages: dict[str, dict[str, int | float]] = field(default_factory=dict)
    """Parts, segments and seconds of work by stage, all runs into this output together."""
    teachers: dict[str, dict[str, str | int | float]] = field(default_factory=dict)
    """What teachers were asked and used, "stage: model", likewise."""
    shards: int = 0
    shard_bytes: int = 0
    seconds: Histogram = field(default_factory=Histogram)
    scores: dict[str, Histogram] = field(default_factory=dict)
    labels: dict[str, dict[str, int]] = field(default_factory=dict)
    text_chars: dict[str, Histogram] = field(default_factory=dict)  # by role
    languages: dict[str, int] = field(default_factory=dict)  # of texts
    samples: dict[str, SampleStats[Histogram]] = field(default_factory=dict)  # by kind
    dropped_samples: dict[str, int] = field(default_factory=dict)  # "decision: reason" -> samples


@dataclass(slots=True)
class ShardStats:
    """What WebDataset shards hold. `problems` lists members and files that must not be used."""

    shards: int = 0
    bytes: int = 0
    samples: int = 0
    extensions: dict[str, int] = field(default_factory=dict)
    member_bytes: dict[str, Histogram] = field(default_factory=dict)  # by extension
    samples_by_parts: dict[str, int] = field(default_factory=dict)  # "json+mp4+txt" -> samples
    json_keys: dict[str, int] = field(default_factory=dict)  # top-level key: type -> samples
    doubled: int = 0  # keys in two shards, or with two members of one extension
    problems: list[str] = field(default_factory=list)


def stats(store: Store) -> Stats:
    """Count an output, as far as its run has come; StoreError where there is none at all."""
    found = Stats()
    current = tables_manifest(store)
    entries = Ledger(store, "").scan()
    if current is None and not entries:
        raise StoreError(
            f"{store.uri} holds no output", cure="check the path, or run a recipe first"
        )
    states: dict[str, str] = {}
    failed: Counter[str] = Counter()
    ledger = Ledger(store, "")
    for key, entry in entries.items():
        states[key] = "annotating"
        if entry.failed_video:
            failure = ledger.failures(key)[None]
            states[key] = failure.state
            failed[failure.kind] += 1
    if current is not None:
        manifest, verdicts = read_manifest(store), read_verdicts(store)
        videos = read_table(store, "videos", ["video", "duration_s"])
        found.input_hours = round((pc.sum(videos["duration_s"]).as_py() or 0) / 3600, 6)
        for video in videos["video"].to_pylist():
            if states.get(video_key(video), "annotating") == "annotating":
                states[video_key(video)] = "annotated"
        if verdicts is not None:
            lost = read_failures(store) if manifest is not None else []
            failed.update(clip.kind for clip in lost)
            kept = verdicts.kept_ids()
            for clip in lost:
                kept.get(clip.video, set()).discard(clip.segment)
            for video in videos["video"].to_pylist():
                if states[video_key(video)] == "annotated":
                    whole = "packed" if manifest is not None else "kept"
                    states[video_key(video)] = whole if kept.get(video) else "dropped"
        _count_clips(store, verdicts, manifest, found)
        _count_texts(store, found)
        lost_samples = verdicts.refused_samples() if verdicts is not None else {}
        found.samples = sample_stats(read_table(store, "samples"), lost_samples, histogram)
    spending = Spending.of(store)
    found.stages = {stage: asdict(done) for stage, done in spending.work.items()}
    for row in spending.rows():
        found.teachers[f"{row.pop('stage')}: {row.pop('teacher')}"] = row
    found.inputs = dict(sorted(Counter(states.values()).items()))
    found.failed = dict(failed.most_common())
    return found


def shard_stats(paths: Iterable[str | Path]) -> ShardStats:
    """Count WebDataset tars, ours or not; a file that is no whole tar becomes a problem."""
    found = ShardStats()
    keys: Counter[str] = Counter()
    sizes: dict[str, list[int]] = {}
    parts: Counter[str] = Counter()
    json_keys: Counter[str] = Counter()
    for name in paths:
        path = Path(name)
        found.shards += 1
        try:
            found.bytes += path.stat().st_size
            with path.open("rb") as file:
                samples = _samples(file, str(path), found, sizes, json_keys)
        except OSError as error:
            found.problems.append(f"{path}: {error.strerror}")
            continue
        keys.update(samples.keys())
        found.doubled += sum(len(set(names)) < len(names) for names in samples.values())
        parts.update("+".join(sorted(extensions)) for extensions in samples.values())
    found.samples = len(keys)
    found.doubled += sum(count > 1 for count in keys.values())
    found.extensions = {name: len(values) for name, values in sorted(sizes.items())}
    found.member_bytes = {
        name: histogram(pa.array(values, pa.float64())) for name, values in sorted(sizes.items())
    }
    found.samples_by_parts = most_frequent(parts)
    found.json_keys = most_frequent(json_keys)
    return found


def histogram(column: pa.Array | pa.ChunkedArray) -> Histogram:
    """Ten equal bins over a numeric column; one bin where all values are equal."""
    values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Histogram(0, len(values))
    counts, edges = np.histogram(finite, BINS if finite.min() < finite.max() else 1)
    return Histogram(
        len(finite),
        len(values) - len(finite),
        float(finite.min()),
        float(finite.max()),
        float(finite.mean()),
        [float(edge) for edge in edges],
        [int(count) for count in counts],
    )


def most_frequent(counter: Counter[str]) -> dict[str, int]:
    """The most frequent entries, and the sum of the others under `...`."""
    shown = dict(counter.most_common(_SHOWN))
    rest = counter.total() - sum(shown.values())
    return {**shown, "...": rest} if rest else shown


def _count_clips(
    store: Store, verdicts: Verdicts | None, manifest: PackManifest | None, found: Stats
) -> None:
    segments = read_table(store, "segments")
    found.segments = dict(sorted(Counter(segments["layer"].to_pylist()).items()))
    clips = segments
    if verdicts is not None:
        found.layer = verdicts.layer
        clips = segments.filter(pc.equal(segments["layer"], verdicts.layer))
        table = verdicts.table
        found.clips = {"kept": verdicts.kept, "dropped": len(table) - verdicts.kept}
        found.dropped = {
            f"{decision}: {reason}": count
            for (decision, reason), count in verdicts.reasons.most_common()
        }
        found.dropped_samples = {
            f"{decision}: {reason}": count
            for (decision, reason), count in verdicts.sample_reasons.most_common()
        }
        joined = clips.select(["video", "segment", "seconds"]).join(
            table.select(["video", "segment", "keep"]), ["video", "segment"], join_type="inner"
        )
        for state, rows in (("kept", joined["keep"]), ("dropped", pc.invert(joined["keep"]))):
            seconds = pc.sum(joined.filter(rows)["seconds"]).as_py() or 0.0
            found.clip_hours[state] = round(seconds / 3600, 6)
    if manifest is not None:
        found.clips |= {"packed": manifest.clips, "failed": sum(manifest.failed.values())}
        found.shards = len(manifest.shards)
        found.shard_bytes = sum(shard.size for shard in manifest.shards)
    found.seconds = histogram(clips["seconds"])
    for name in clips.column_names:
        kind, _, rest = name.partition("_")
        if kind == "score":
            found.scores[rest] = histogram(clips[name])
        elif kind == "label":
            values = Counter(value for value in clips[name].to_pylist() if value is not None)
            found.labels[rest] = most_frequent(values)


def _count_texts(store: Store, found: Stats) -> None:
    texts = read_table(store, "texts", ["role", "text", "language"])
    lengths = pc.utf8_length(texts["text"])
    for role in sorted(set(texts["role"].to_pylist())):
        found.text_chars[role] = histogram(lengths.filter(pc.equal(texts["role"], role)))
    languages = Counter(language or "unknown" for language in texts["language"].to_pylist())
    found.languages = most_frequent(languages)


def _samples(
    file: IO[bytes],
    name: str,
    found: ShardStats,
    sizes: dict[str, list[int]],
    json_keys: Counter[str],
) -> dict[str, list[str]]:
    """Key -> extensions, of one tar."""
    samples: dict[str, list[str]] = {}
    try:
        for member in members(file, name):
            if member.problem:
                found.problems.append(f"{name}: {member.name!a}: {member.problem}")
                continue
            samples.setdefault(member.key, []).append(member.extension)
            sizes.setdefault(member.extension, []).append(member.size)
            if member.extension == "json":
                json_keys.update(_keys_of(file, member))
    except BadTar as error:
        found.problems.append(error.message)
    return samples


def _keys_of(file: IO[bytes], member: Member) -> list[str]:
    if member.size > _MAX_JSON:
        return ["(too large to read)"]
    file.seek(member.offset)
    try:
        value: Any = json.loads(file.read(member.size))
    except (ValueError, RecursionError):
        return ["(not JSON)"]
    if not isinstance(value, dict):
        return [f"(a {type(value).__name__})"]
    return [f"{key}: {type(inner).__name__}" for key, inner in value.items()]
