"""What a token stands for in a record: taking annotations out again by their token.

Needed where work is reused: an annotation may be kept only if its provider is unchanged.
"""

from __future__ import annotations

from clipmill.schemas.records import Segment, Video


def keep_only(video: Video, tokens: frozenset[str], stages: frozenset[str]) -> None:
    """Remove from a video everything that is not provided under `tokens` by one of `stages`."""
    if "probe" not in tokens:
        video.probe = None
    video.transcripts = [t for t in video.transcripts if t.author.stage in stages]
    video.texts = [t for t in video.texts if t.author.stage in stages]
    video.segments = [s for s in video.segments if f"segments:{s.layer}" in tokens]
    for segment in video.segments:
        segment.texts = [t for t in segment.texts if t.author.stage in stages]
        segment.samples = [s for s in segment.samples if s.author.stage in stages]
        segment.scores = {k: v for k, v in segment.scores.items() if f"scores:{k}" in tokens}
        segment.labels = {k: v for k, v in segment.labels.items() if f"labels:{k}" in tokens}
        segment.embeddings = [e for e in segment.embeddings if f"embeddings:{e.name}" in tokens]


def forget(segment: Segment, tokens: frozenset[str], stage: str) -> None:
    """Remove from a segment what `stage` provided under `tokens`, before it is made anew."""
    segment.texts = [t for t in segment.texts if t.author.stage != stage]
    segment.samples = [s for s in segment.samples if s.author.stage != stage]
    for token in tokens:
        family, _, name = token.partition(":")
        if family == "scores":
            segment.scores.pop(name, None)
        elif family == "labels":
            segment.labels.pop(name, None)
        elif family == "embeddings":
            segment.embeddings = [e for e in segment.embeddings if e.name != name]
