"""A captioner that goes by what it sees, told the time by a clock in the picture, or not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from clock_reader import read_clock
from narrator import Narrator, parted
from test_agreement import figures, run
from watcher import times_of, told_as

from clipmill.schemas.records import Part
from clipmill.stages.compose.truth import Truth
from clipmill.stages.frames.compose_frames import ComposeFrames
from clipmill.stages.frames.compose_frames import Settings as Compose
from clipmill.stages.frames.thin_frames import Settings as Thin
from clipmill.stages.frames.thin_frames import ThinFrames
from clipmill.stages.ground.write_timeline import Settings as Timeline
from clipmill.stages.ground.write_timeline import WriteTimeline
from clipmill.stages.models.teacher import Request
from clipmill.stages.stage import Stage


class Onlooker(Narrator):
    """Reads clocks and no lists of seconds; without a clock it takes its pictures for evenly
    spaced.
    """

    def _timeline(self, request: Request) -> list[dict[str, Any]]:
        low, high = self._window(request)
        true, count = times_of(request), len(request.images)
        told: list[tuple[float, str]] = []
        for place, (second, picture) in enumerate(zip(true, request.images, strict=True)):
            event = self._sees(request, second, count)
            face = read_clock(picture)
            if face is None:
                at = low + (place + 0.5) * (high - low) / count
            else:
                hours, minutes, seconds = map(int, face.split(":"))
                at = 3600 * hours + 60 * minutes + seconds + 0.5
            if event is not None and (not told or told[-1][1] != told_as(event)):
                told.append((at, told_as(event)))
        marks = parted(sorted(at for at, _ in told[1:]), low, high)
        return [
            {"start": round(marks[n], 3), "end": round(marks[n + 1], 3), "text": text}
            for n, (_, text) in enumerate(told)
        ]


def watched(
    chain: Sequence[Stage[Any]],
    parts: Sequence[Part],
    videos: Sequence[tuple[Path, Truth]],
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, float]:
    onlooker = Onlooker([truth for _, truth in videos], flat=True)
    done = run(chain, parts, videos, monkeypatch, onlooker)
    return figures(done, videos, "events")


def test_a_clock_in_the_picture_gives_a_captioner_the_time(
    videos: list[tuple[Path, Truth]], sampled: list[Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pictures that repeat the last one are left out, so their number says nothing about time.
    thin = ThinFrames(Thin(layer="clips", every_s=60))
    clock = ComposeFrames(Compose(layer="clips", clock=True))
    watch = WriteTimeline(Timeline(frames=64, prompt="timeline_clock.v1"))
    told = watched([thin, clock, watch], sampled, videos, monkeypatch)
    alone = watched([thin, watch], sampled, videos, monkeypatch)
    print({"clock": told, "no clock": alone})

    def passes(found: dict[str, float]) -> bool:
        return found["miou"] >= alone["miou"] + 0.1

    assert passes(told)
    assert not passes(alone), "the check does not notice that no clock was drawn"
