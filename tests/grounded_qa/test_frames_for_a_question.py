"""Frames chosen for a question against evenly spread ones at the same budget, on painted scenes."""

from __future__ import annotations

import pytest
from narrated import Eye
from planted import World, painted, right

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Author, Frame, Part
from clipmill.stages.frames.select_frames import SelectFrames, Settings
from clipmill.stages.ground.watched import frames_of
from clipmill.stages.models import encoder_stage
from clipmill.stages.models.frame_choice import spread


@pytest.fixture(scope="module")
def world() -> World:
    """Three videos of twelve scenes with six frames each; a question about one scene in three."""
    made = painted(3, frames=6, scenes=12)
    for part in made.parts:
        part.video.add_segments("whole", [part.video.probe.span])  # type: ignore[union-attr]
        [whole] = part.video.layer("whole")
        for segment in part.video.layer("shots")[::3]:
            answer = right(made.scenes[f"{part.video.id}/{segment.id}"])
            whole.add_sample(
                "qa", "What can be seen?", answer, Author("a"), evidence=[segment.span]
            )
    return made


def chosen(world: World, monkeypatch: pytest.MonkeyPatch, **settings: object) -> list[Part]:
    monkeypatch.setattr(encoder_stage, "open_encoder", lambda _: Eye())
    stage = SelectFrames(Settings(frames_layer="shots", apart_s=0.2, **settings))
    stage.setup()
    for part in world.parts:
        stage.process(part)
    return world.parts


def f1(found: list[Frame], span: Span, held: list[Frame]) -> float:
    """F1 of chosen frames against all frames of the scene that a question is about."""
    hits = sum(span.contains(frame.clock, frame.tick) for frame in found)
    truth = sum(span.contains(frame.clock, frame.tick) for frame in held)
    return 2 * hits / (len(found) + truth)


@pytest.mark.parametrize("budget", [4, 6, 12])
def test_chosen_frames_beat_spread_ones_at_every_budget(
    world: World, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    own, even = [], []
    for part in chosen(world, monkeypatch, budget=budget, into=f"frames{budget}"):
        held = frames_of(part, "shots")
        by_tick = {frame.tick: frame for frame in held}
        [whole] = part.video.layer("whole")
        asked = {s.id: s for s in whole.samples if s.kind == "qa"}
        picked = [s for s in whole.samples if s.kind == f"frames{budget}"]
        assert [s.sources for s in picked] == [[name] for name in asked]
        for sample in picked:
            [scene] = asked[sample.sources[0]].evidence
            frames = [by_tick[span.start] for span in sample.evidence]
            assert 1 <= len(frames) <= budget
            assert all(whole.span.contains(span.clock, span.start) for span in sample.evidence)
            own.append(f1(frames, scene, held))
            even.append(f1(spread(held, budget), scene, held))  # the operator left out
    mine, spread_out = sum(own) / len(own), sum(even) / len(even)
    print(f"budget {budget}: {mine:.2f} against {spread_out:.2f}")
    assert mine >= spread_out + 0.3 and not spread_out >= mine


def test_a_budget_that_is_not_needed_is_spread_where_asked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in chosen(world, monkeypatch, budget=20, fill=True, into="filled"):
        [whole] = part.video.layer("whole")
        filled = [s for s in whole.samples if s.kind == "filled"]
        assert filled and all(len(s.evidence) == 20 for s in filled)
        for sample in filled:
            starts = [span.start for span in sample.evidence]
            assert starts == sorted(set(starts)) and starts[-1] - starts[0] > 12_000
