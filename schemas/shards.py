"""The shard layout, version 1: what a trainer finds inside `OUT/shards/*.tar`.

A shard is a plain WebDataset tar. Members of one clip share a key and stand next to each other:

    KEY.mp4    the clip, H.264 and AAC; missing where the recipe says `pack.media: false`
    KEY.json   everything known about it (below)
    KEY.txt    the one text to train on, chosen by the recipe's `pack.text`
    KEY.jpg    middle frame, if the recipe asks
    KEY.npy    named embedding (float32), if the recipe asks
    KEY.wav    16 kHz mono sound, if the recipe asks

KEY.json holds `layout` (this version), `key`, `video` (id, source, licence, consent, provenance,
meta, parents), `segment`, `layer`, `span` (clock, start, end, start_s, end_s on the source),
`media` (frames, fps, width, height, seconds, how it was cut; null without media), `texts`,
`scores`, `labels` and `samples`.
No member holds a time of day, a host name or a path of the machine that made it.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from clipmill.schemas.arrow import to_arrow
from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Sample, Segment, Text, Video

LAYOUT = 1


def video_key(video_id: str) -> str:
    """A file-name-safe, collision-free name of a video: readable head, digest tail."""
    digest = hashlib.blake2b(video_id.encode(), digest_size=6).hexdigest()
    slug = re.sub(r"[^A-Za-z0-9]+", "_", video_id).strip("_").lower()[:40]
    return f"{slug}-{digest}" if slug else digest


def clip_key(video_id: str, segment_id: str) -> str:
    """The KEY of a clip. It holds no dot, because WebDataset ends a key at the first one."""
    return f"{video_key(video_id)}-{re.sub(r'[^A-Za-z0-9_-]+', '_', segment_id)}"


def span_facts(span: Span) -> dict[str, Any]:
    """A span for people and trainers: exact ticks and the seconds they stand for."""
    clock = span.clock
    return {
        "clock": {"name": clock.name, "num": clock.num, "den": clock.den, "zero": clock.zero},
        "start": span.start,
        "end": span.end,
        "start_s": round(span.start_s, 6),
        "end_s": round(span.end_s, 6),
    }


def clip_manifest(video: Video, segment: Segment, media: dict[str, Any]) -> dict[str, Any]:
    """The content of KEY.json."""
    return {
        "layout": LAYOUT,
        "key": clip_key(video.id, segment.id),
        "video": {
            "id": video.id,
            "licence": video.licence,
            "consent": video.consent,
            "provenance": video.provenance,
            "meta": video.meta,
            "parents": video.parents,
        },
        "segment": segment.id,
        "layer": segment.layer,
        "parent": segment.parent,
        "span": span_facts(segment.span),
        "media": media,
        "texts": [_text(text) for text in segment.texts],
        "scores": dict(sorted(segment.scores.items())),
        "labels": dict(sorted(segment.labels.items())),
        "samples": [_sample(sample) for sample in segment.samples],
    }


def _text(text: Text) -> dict[str, Any]:
    fields: dict[str, Any] = to_arrow(text)
    fields["span"] = span_facts(text.span) if text.span else None
    return fields


def _sample(sample: Sample) -> dict[str, Any]:
    fields: dict[str, Any] = to_arrow(sample)
    fields["evidence"] = [span_facts(span) for span in sample.evidence]
    fields["labels"] = dict(sorted(sample.labels.items()))
    fields["turn"] = span_facts(sample.turn) if sample.turn else None
    return fields
