"""Events out of shots: cut often, leave out what changes from end to end, join what looks alike.

Rendered videos with dissolves, fades, flashes and whip pans. The detector and settings are those of
the recipe after Panda-70M, but for lengths and distances: scenes last seconds, and the eye's
distances are not those of a published encoder.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
from narrated import Eye

from clipmill.schemas.clocks import Clock, Span
from clipmill.schemas.records import Part, Video
from clipmill.stages.compose.render_synthetic import Settings, render
from clipmill.stages.frames.sample_frames import SampleFrames
from clipmill.stages.frames.sample_frames import Settings as Frames
from clipmill.stages.media.probe import probe
from clipmill.stages.models import encoder_stage
from clipmill.stages.split.merge_segments import MergeSegments
from clipmill.stages.split.merge_segments import Settings as Merge
from clipmill.stages.split.split_shots import Settings as Shots
from clipmill.stages.split.split_shots import SplitShots, pieces

FILMS = Settings(
    count=5,
    seed=9,
    width=128,
    height=96,
    fps=12,
    min_scenes=3,
    max_scenes=4,
    min_seconds=3,
    max_seconds=4.5,
    narration=False,
    gradual=0.6,
    upsets=1.0,
    words=0,
    sounds=0,
)


def event_f1(found: Sequence[Sequence[Span]], true: Sequence[Sequence[Span]]) -> float:
    """F1 of segments that share 0.7 of their union with an event of their own."""
    hits = 0
    for spans, events in zip(found, true, strict=True):
        left = list(events)
        for span in spans:
            best = max(left, key=span.iou, default=None)
            if best is not None and span.iou(best) >= 0.7:
                left.remove(best)
                hits += 1
    return 2 * hits / (sum(map(len, found)) + sum(map(len, true)))


def test_joined_pieces_are_events_where_cuts_alone_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_stage, "open_encoder", lambda _: Eye("colour", "backdrop"))
    own: dict[str, list[list[Span]]] = {"cuts": [], "pieces": [], "events": []}
    true = []
    for video in render(FILMS, tmp_path):
        part = Part(Video(video.truth.name, str(video.path), probe=probe(video.path)))
        shots = {"detector": "content", "threshold": 25.0, "min_seconds": 0.5}
        for stage in (
            SplitShots(Shots(layer="cuts", **shots)),
            SplitShots(Shots(layer="pieces", force_s=0.5, **shots)),
            SampleFrames(Frames(layer="pieces", policy="uniform", count=10, max_side=128)),
            MergeSegments(Merge(layer="pieces", into="events", stitch=1.1, transition=1.1)),
        ):
            stage.setup()
            part = stage.process(part)
        for layer, spans in own.items():
            held = [segment.span for segment in part.video.layer(layer)]
            spans.append([s for s in held if s.duration_s >= 1 or layer != "events"])
        true.append([Span.of_seconds(s.start_s, s.end_s) for s in video.truth.scenes])
    found = {layer: event_f1(spans, true) for layer, spans in own.items()}
    print(found)
    assert found["events"] >= 0.9 and found["cuts"] <= 0.8 and found["pieces"] <= 0.8


@pytest.mark.parametrize(("length", "most", "count"), [(9.9, 5, 2), (10.1, 5, 3), (4, 5, 1)])
def test_pieces_tile_their_shot(length: float, most: float, count: int) -> None:
    clock = Clock("v0", 1001, 30000, 7)
    span = Span.of_seconds(3, 3 + length, clock)
    found = pieces(span, most)
    assert len(found) == count and all(p.duration_s <= most + 0.034 for p in found)
    assert found[0].start == span.start and found[-1].end == span.end
    assert all(a.end == b.start for a, b in itertools.pairwise(found))
    assert max(p.end - p.start for p in found) - min(p.end - p.start for p in found) <= 1
