"""A report of an output as one HTML page that needs nothing else: counts, scores, sample clips.

Kept clips and their texts come from the shards themselves, so the page shows what a trainer will
read; beside every reason for dropping stand some of the clips it took, because a threshold is set
by looking at both sides of it. The page is self-contained (clips are embedded), since an output may
lie where no server can reach; so only a sample is shown, read by ranges, whatever the shards weigh.
Every text is escaped: captions and titles are strangers' words.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from io import BytesIO
from itertools import chain, islice, zip_longest
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clipmill.pipeline.engine.spending import in_words
from clipmill.pipeline.output.decide import Verdicts, read_verdicts
from clipmill.pipeline.output.made_by import made_by
from clipmill.pipeline.output.pack import read_manifest
from clipmill.pipeline.output.stats import Histogram, Stats, stats
from clipmill.pipeline.output.tables import read_table
from clipmill.pipeline.store.store import Store
from clipmill.schemas.shards import clip_key

REPORT = "report.html"
_EMBED_BYTES = 2 << 20
"""Larger clips are named but not embedded."""
_EXAMPLES = 5
"""Dropped clips shown for every reason."""

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#222}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}
.clips{display:grid;grid-template-columns:repeat(auto-fill,minmax(20rem,1fr));gap:1rem}
.clip{border:1px solid #ddd;border-radius:6px;padding:.7rem;overflow-wrap:anywhere}
.clip video{width:100%;background:#000;border-radius:4px}.key{color:#888;font-size:.75rem}
.role{color:#fff;background:#567;border-radius:3px;padding:0 .35rem;font-size:.75rem}
.bars{display:flex;align-items:flex-end;height:3rem;gap:2px}.bars i{background:#79b;width:1rem}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(13rem,1fr));gap:1rem}
small{color:#777}summary{cursor:pointer}details td{font-size:.85rem}
"""


@dataclass(frozen=True, slots=True)
class _Clip:
    facts: dict[str, Any]
    media: bytes | None  # None where it is too large to be shown


def write_report(store: Store, clips: int = 12) -> str:
    """Write `report.html` into an output, with so many clips; returns its address.

    Raises StoreError where there is no output.
    """
    found = stats(store)
    made = made_by(store)
    name = made["recipe"]["name"] if made else "an output"
    body = [
        f"<h1>Clipmill: {escape(str(name))}</h1>",
        *_section("Every input in one state", _table(found.inputs)),
        *_section("Clips", _funnel(found)),
        *_section("Dropped", *_dropped(store)),
        *_section("Failed", _table(found.failed)),
        *_section(
            "Teachers",
            _table({name: ", ".join(in_words(row)) for name, row in found.teachers.items()}),
        ),
        *_section("Figures", *_figures(found), kind="figures"),
        *_section("Labels", *_labels(found), kind="figures"),
        *_section("Questions", *_questions_of(found), kind="figures"),
        *_section(
            "Some of the clips, as they lie in the shards",
            *map(_card, islice(_packed(store), clips)),
            kind="clips",
        ),
    ]
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Clipmill report</title>"
        f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style>"
        f"{''.join(body)}</html>"
    )
    store.put(REPORT, page.encode())
    return f"{store.uri}/{REPORT}"


def _section(title: str, *blocks: str, kind: str = "") -> Iterator[str]:
    """A heading over blocks, nothing where all of them are empty."""
    if any(blocks):
        yield f"<h2>{escape(title)}</h2><div class='{kind}'>{''.join(blocks)}</div>"


def _funnel(found: Stats) -> str:
    rows: dict[str, int | str] = {**found.clips}
    rows |= {f"hours {state}": f"{hours:.3f}" for state, hours in found.clip_hours.items()}
    if found.shards:
        rows |= {"shards": found.shards, "MiB in shards": f"{found.shard_bytes / 2**20:.1f}"}
    return _table(rows)


def _dropped(store: Store) -> Iterator[str]:
    """Every reason with its count, and behind it some of the clips that it took."""
    verdicts = read_verdicts(store)
    if verdicts is None:
        return
    examples = _examples(store, verdicts)
    for (decision, reason), count in verdicts.reasons.most_common():
        rows = "".join(
            f"<tr><td>{escape(row['video'])}<td class=n>{row['start_s']:.2f}"
            f"<td class=n>{row['end_s']:.2f} s<td>{escape(row['text'] or '')}"
            f"<td class=key>{escape(clip_key(row['video'], row['segment']))}"
            for row in examples[decision, reason]
        )
        yield (
            f"<details><summary>{count} by {escape(f'{decision}: {reason}')}</summary>"
            f"<table>{rows}</table></details>"
        )


def _examples(store: Store, verdicts: Verdicts) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """(decision, reason) -> rows of its first clips, with where they lie and their newest text."""
    dropped = verdicts.table.filter(pc.invert(verdicts.table["keep"]))
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in dropped.to_pylist():
        rows = found.setdefault((row["decision"], row["reason"]), [])
        if len(rows) < _EXAMPLES:
            rows.append(row)
    wanted = {(row["video"], row["segment"]): row for row in chain(*found.values())}
    for table, names in (("segments", ["start_s", "end_s"]), ("texts", ["role", "text"])):
        columns = read_table(store, table, ["video", "segment", *names])
        names_wanted = pa.array({segment for _, segment in wanted}, pa.string())
        near = columns.filter(pc.is_in(columns["segment"], names_wanted))
        for row in near.to_pylist():
            known = wanted.get((row["video"], row["segment"]))
            if known is not None and not row.get("role", "").startswith("slot:"):
                known.update(row)
    return {key: [{"text": None, **row} for row in rows] for key, rows in found.items()}


def _figures(found: Stats) -> Iterator[str]:
    yield _bars("seconds of a clip", found.seconds)
    for name, values in sorted(found.scores.items()):
        yield _bars(name, values)
    for role, values in found.text_chars.items():
        if not role.startswith("slot:"):
            yield _bars(f"characters of {role}", values)


def _questions_of(found: Stats) -> Iterator[str]:
    """What is known of the questions that are kept: their labels, and where answers stand."""
    for kind, own in found.samples.items():
        yield _table({f"{kind}: questions": own.count, f"{kind}: kept": own.kept})
        for name, values in own.figures.items():
            yield _bars(f"{kind}: {name}", values, "questions")
        for name, counts in {**own.labels, "place of the answer": own.places}.items():
            if counts:
                yield f"<div><b>{escape(f'{kind}: {name}')}</b>{_table(counts)}</div>"
    if found.dropped_samples:
        yield f"<div><b>questions dropped</b>{_table(found.dropped_samples)}</div>"


def _labels(found: Stats) -> Iterator[str]:
    for name, counts in sorted({**found.labels, "language of texts": found.languages}.items()):
        if counts:
            yield f"<div><b>{escape(name)}</b>{_table(counts)}</div>"


def _packed(store: Store) -> Iterator[_Clip]:
    """Packed clips, the first of every shard, then the second; their order is shuffled already."""
    manifest = read_manifest(store)
    shards = [_clips_of(store, shard.name) for shard in manifest.shards] if manifest else []
    for clips in zip_longest(*shards):
        yield from (clip for clip in clips if clip is not None)


def _clips_of(store: Store, shard: str) -> Iterator[_Clip]:
    index = pq.ParquetFile(BytesIO(store.get(f"shards/{shard}.parquet")))
    names = {f"{extension}_{what}" for extension in ("json", "mp4") for what in ("offset", "size")}
    columns = sorted(names & set(index.schema_arrow.names))
    for row in index.read(columns=columns).to_pylist():
        tar = f"shards/{shard}.tar"
        facts = json.loads(store.get_range(tar, row["json_offset"], row["json_size"]))
        size = row.get("mp4_size")  # None: annotations alone
        fits = size is not None and size <= _EMBED_BYTES
        yield _Clip(facts, store.get_range(tar, row["mp4_offset"], size) if fits else None)


def _card(clip: _Clip) -> str:
    facts = clip.facts
    span, video = facts["span"], facts["video"]
    shown = "<p><small>no media to show here</small></p>"
    if clip.media is not None:
        data = base64.b64encode(clip.media).decode()
        shown = f"<video controls muted preload=auto src='data:video/mp4;base64,{data}'></video>"
    return (
        f"<div class=clip>{shown}<div class=key>{escape(str(facts['key']))}</div>"
        f"<small>{escape(str(video['id']))}, {span['start_s']:.2f} to {span['end_s']:.2f} s</small>"
        f"{''.join(_texts(facts['texts']))}{''.join(_questions(facts['samples']))}</div>"
    )


def _texts(texts: Iterable[dict[str, Any]]) -> Iterator[str]:
    for text in texts:
        if not text["role"].startswith("slot:"):
            yield f"<p><span class=role>{escape(text['role'])}</span> {escape(text['text'])}</p>"


def _questions(samples: list[dict[str, Any]], most: int = 2) -> Iterator[str]:
    for sample in samples[:most]:
        yield f"<p><b>{escape(sample['question'])}</b><br>{escape(sample['answer'])}</p>"


def _table(counts: Mapping[str, int | str]) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}<td class=n>{escape(str(count))}" for name, count in counts.items()
    )
    return f"<table>{rows}</table>" if rows else ""


def _bars(name: str, found: Histogram, what: str = "clips") -> str:
    if not found.count or found.low is None or found.high is None:
        return ""
    most = max(found.counts)
    bars = "".join(f"<i style='height:{100 * count / most:.0f}%'></i>" for count in found.counts)
    lacking = f", {found.missing} without" if found.missing else ""
    return (
        f"<div><b>{escape(name)}</b><div class=bars>{bars}</div>"
        f"<small>{found.low:.3g} to {found.high:.3g}, {found.count} {what}{lacking}</small></div>"
    )
