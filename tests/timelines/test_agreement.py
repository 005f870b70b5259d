"""What by a captioner, when by localisers, then agreement: measured on composed videos."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from narrator import Localiser, Narrator
from watcher import event_of, events_in

from clipmill.schemas.records import Part, Segment
from clipmill.stages.caption import caption_clip
from clipmill.stages.caption.caption_clip import CaptionClip
from clipmill.stages.compose.truth import Truth
from clipmill.stages.ground.agree_spans import AgreeSpans
from clipmill.stages.ground.agree_spans import Settings as Agree
from clipmill.stages.ground.ground_text import GroundText
from clipmill.stages.ground.ground_text import Settings as Ground
from clipmill.stages.ground.write_timeline import Settings as Timeline
from clipmill.stages.ground.write_timeline import WriteTimeline
from clipmill.stages.models import encoder_stage, teacher_stage
from clipmill.stages.models.encoder import EncoderSettings
from clipmill.stages.rewrite.extract_structure import ExtractStructure
from clipmill.stages.rewrite.extract_structure import Settings as Structure
from clipmill.stages.stage import Stage

LEAST = 0.5  # the agreement that the recipe asks for


def ground(model: str, into: str, name: str) -> Stage[Any]:
    return GroundText(
        Ground(
            encoder=EncoderSettings(model=model),
            layer="events",
            frames_layer="clips",
            into=into,
            name=name,
            search_s=86400,
            window_s=2,
            span="grow",
            grow_share=0.75,
        )
    )


def localised() -> list[Stage[Any]]:
    """The chain of timelines/internvid_tg."""
    return [
        CaptionClip(caption_clip.Settings(layer="clips", role="dense", frames=64)),
        ExtractStructure(
            Structure(
                layer="clips", source_role="dense", read="events", prompt="structure_events.v1"
            )
        ),
        ground("one", "grounded", "grounding"),
        ground("two", "grounded_b", "grounding_b"),
        AgreeSpans(Agree()),
    ]


def run(
    stages: Sequence[Stage[Any]],
    sampled: Sequence[Part],
    videos: Sequence[tuple[Path, Truth]],
    monkeypatch: pytest.MonkeyPatch,
    teacher: Narrator | None = None,
) -> list[Part]:
    model = teacher or Narrator([truth for _, truth in videos], flat=True, invents=0.15)
    monkeypatch.setattr(teacher_stage, "open_teacher", lambda _: model)
    monkeypatch.setattr(encoder_stage, "open_encoder", Localiser)
    parts = []
    for stage in stages:
        stage.setup()
    for part in copy.deepcopy(list(sampled)):
        for stage in stages:
            done = stage.process(part)
            part = done if isinstance(done, Part) else asyncio.run(done)
        parts.append(part)
    return parts


def figures(
    parts: Sequence[Part], videos: Sequence[tuple[Path, Truth]], layer: str, least: float = 0.0
) -> dict[str, float]:
    """Mean IoU over told events, precision and recall at IoU 0.5, events a video.

    An event that is not in the video has no overlap with anything.
    """
    ious: list[float] = []
    found = total = 0
    for part, (_, truth) in zip(parts, videos, strict=True):
        kept = [s for s in part.video.layer(layer) if s.scores.get("agreement", 1) >= least]
        total += len(truth.scenes)
        hit: set[int] = set()
        for segment in kept:
            [told] = events_in(segment.texts_of("caption")[-1].text)
            own = {n: s for n, s in enumerate(truth.scenes) if event_of(s) == told}
            overlap = {n: iou(segment, s.start_s, s.end_s) for n, s in own.items()}
            ious.append(max(overlap.values(), default=0.0))
            hit |= {n for n, value in overlap.items() if value >= 0.5}
        found += len(hit)
    right = np.array(ious or [0.0])
    return {
        "miou": float(right.mean()),
        "precision": float((right >= 0.5).mean()),
        "recall": found / total,
        "events": len(ious) / len(parts),
    }


def iou(segment: Segment, start: float, end: float) -> float:
    a, b = segment.span.start_s, segment.span.end_s
    shared = max(0.0, min(b, end) - max(a, start))
    return shared / (max(b, end) - min(a, start)) if shared else 0.0


def accept(alone: dict[str, float], placed: dict[str, float], agreed: dict[str, float]) -> None:
    """The family's acceptance."""
    assert placed["miou"] >= alone["miou"] + 0.1, (alone, placed)
    assert agreed["precision"] >= placed["precision"] + 0.10, (placed, agreed)
    assert agreed["recall"] >= placed["recall"] - 0.35, (placed, agreed)


def measure(
    parts: Sequence[Part], told: Sequence[Part], videos: Sequence[tuple[Path, Truth]]
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    return (
        figures(told, videos, "events"),
        figures(parts, videos, "grounded"),
        figures(parts, videos, "agreed", LEAST),
    )


def watching() -> list[Stage[Any]]:
    return [WriteTimeline(Timeline(frames=64))]


def test_localisers_beat_the_captioners_times_and_agreement_adds_precision(
    videos: list[tuple[Path, Truth]], sampled: list[Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = run(watching(), sampled, videos, monkeypatch)
    parts = run(localised(), sampled, videos, monkeypatch)
    arms = measure(parts, told, videos)
    for name, arm in zip(("captioner", "+ localiser", "+ agreement"), arms, strict=True):
        print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in arm.values()) + " |")
    accept(*arms)
    for part in parts:
        for event in part.video.layer("agreed"):
            [text] = event.texts_of("caption")
            assert [s.split("-")[0] for s in text.sources] == ["grounded", "grounded_b"]


class Identity(Stage[Any]):
    """An operator's place with nothing in it."""

    def process(self, part: Part) -> Part:
        return part


@pytest.mark.parametrize(
    "gone", ["extract_structure", "ground_text", "agree_spans", "write_timeline"]
)
def test_without_an_operator_the_acceptance_fails(
    gone: str,
    videos: list[tuple[Path, Truth]],
    sampled: list[Part],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def left(stages: list[Stage[Any]]) -> list[Stage[Any]]:
        return [Identity(None) if stage.name() == gone else stage for stage in stages]  # type: ignore[arg-type]

    told = run(left(watching()), sampled, videos, monkeypatch)
    parts = run(left(localised()), sampled, videos, monkeypatch)
    with pytest.raises(AssertionError):
        arms = measure(parts, told, videos)
        assert arms[0]["events"] > 0, "nobody to compare with"
        accept(*arms)
