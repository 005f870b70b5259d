"""A report of an output as one HTML page that needs nothing else: counts, scores, sample clips.

Clips and texts come from the shards themselves, so the page shows what a trainer will read. The
page is self-contained (clips are embedded), because an output may lie where no server can reach;
so only a sample of clips is shown. Every text is escaped: captions and titles are strangers' words.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from io import BytesIO

from clipmill.pipeline.engine.events import Summary
from clipmill.pipeline.output.pack import read_manifest
from clipmill.pipeline.output.stats import Histogram, stats
from clipmill.pipeline.output.tars import members
from clipmill.pipeline.store.store import Store

REPORT = "report.html"
_EMBED_BYTES = 2 << 20
"""Larger clips are named but not embedded."""

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
.scores{display:grid;grid-template-columns:repeat(auto-fill,minmax(13rem,1fr));gap:1rem}
small{color:#777}
"""


@dataclass(slots=True)
class _Clip:
    facts: dict[str, object]
    media: bytes


def write_report(store: Store, summary: Summary, recipe: str, clips: int = 12) -> str:
    """Write `report.html` into an output; returns its address."""
    body = [
        f"<h1>Clipmill: {escape(recipe)}</h1>",
        "<h2>Every input in one state</h2>",
        _table(summary.inputs),
        "<h2>Clips</h2>",
        _table(summary.clips),
        _table({f"dropped by {reason}": n for reason, n in summary.dropped.items()}),
        _table({f"inputs failed: {kind}": n for kind, n in summary.failed.items()}),
        f"<p>{summary.shards} shards, {summary.shard_bytes / 2**20:.1f} MiB, "
        f"{summary.seconds:.0f} s</p>",
        "<h2>Scores</h2><div class=scores>",
        *(_bars(name, found) for name, found in sorted(stats(store).scores.items())),
        "</div><h2>Some of the clips, as they lie in the shards</h2><div class=clips>",
        *(_card(clip) for clip in _sample(store, clips)),
        "</div>",
    ]
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Clipmill report</title>"
        f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style>"
        f"{''.join(body)}</html>"
    )
    store.put(REPORT, page.encode())
    return f"{store.uri}/{REPORT}"


def _sample(store: Store, count: int) -> Iterator[_Clip]:
    """The first clips of the shards; their order is shuffled already."""
    manifest = read_manifest(store)
    for shard in manifest.shards if manifest else []:
        name = f"shards/{shard.name}.tar"
        file = BytesIO(store.get(name))
        found: dict[str, dict[str, bytes]] = {}
        for member in members(file, name):
            if member.key not in found and len(found) == count:
                break
            file.seek(member.offset)
            found.setdefault(member.key, {})[member.extension] = file.read(member.size)
        for parts in found.values():
            yield _Clip(json.loads(parts["json"]), parts.get("mp4", b""))
        count -= len(found)
        if count <= 0:
            return


def _card(clip: _Clip) -> str:
    facts = clip.facts
    span = facts["span"]
    assert isinstance(span, dict)
    video = facts["video"]
    assert isinstance(video, dict)
    shown = "<p><small>too large to show here</small></p>"
    if len(clip.media) <= _EMBED_BYTES:
        data = base64.b64encode(clip.media).decode()
        shown = f"<video controls muted preload=auto src='data:video/mp4;base64,{data}'></video>"
    return (
        f"<div class=clip>{shown}<div class=key>{escape(str(facts['key']))}</div>"
        f"<small>{escape(str(video['id']))}, {span['start_s']:.2f} to {span['end_s']:.2f} s</small>"
        f"{''.join(_texts(facts['texts']))}{''.join(_questions(facts['samples']))}</div>"
    )


def _texts(texts: object) -> Iterator[str]:
    assert isinstance(texts, list)
    for text in texts:
        if not text["role"].startswith("slot:"):
            yield f"<p><span class=role>{escape(text['role'])}</span> {escape(text['text'])}</p>"


def _questions(samples: object, most: int = 2) -> Iterator[str]:
    assert isinstance(samples, list)
    for sample in samples[:most]:
        yield f"<p><b>{escape(sample['question'])}</b><br>{escape(sample['answer'])}</p>"


def _table(counts: dict[str, int]) -> str:
    rows = "".join(f"<tr><td>{escape(name)}<td class=n>{count}" for name, count in counts.items())
    return f"<table>{rows}</table>"


def _bars(name: str, found: Histogram) -> str:
    if not found.count or found.low is None or found.high is None:
        return ""
    most = max(found.counts)
    bars = "".join(f"<i style='height:{100 * count / most:.0f}%'></i>" for count in found.counts)
    return (
        f"<div><b>{escape(name)}</b><div class=bars>{bars}</div>"
        f"<small>{found.low:.3g} to {found.high:.3g}, {found.count} clips</small></div>"
    )
