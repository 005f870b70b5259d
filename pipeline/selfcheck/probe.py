"""Probe: how well any recipe finds events that were planted by composing videos.

Rendered scenes, each a clip of its own, are put one after the other; where they begin and end is
known to the frame. The recipe gets the composed media alone. An event counts as found where a
segment of the recipe's packed layer covers it (temporal IoU of at least one half), and the mean of
each event's best IoU says how tightly.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clipmill.pipeline.engine.run import run
from clipmill.pipeline.output.tables import read_videos
from clipmill.pipeline.recipe.recipe import Recipe
from clipmill.pipeline.store.store import Store
from clipmill.schemas.clocks import Span
from clipmill.schemas.errors import InputError
from clipmill.stages.compose.compose_clips import Settings as ComposeSettings
from clipmill.stages.compose.compose_clips import compose
from clipmill.stages.compose.render_synthetic import Settings as RenderSettings
from clipmill.stages.compose.render_synthetic import render
from clipmill.stages.compose.timeline import Clip, Manifest

FOUND = 0.5
"""Temporal IoU from which an event is found: the usual threshold of recall in grounding."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What a recipe made of the planted events."""

    events: int
    found: int
    mean_iou: float

    @property
    def recall(self) -> float:
        return self.found / self.events if self.events else 0.0


def draw(folder: Path, videos: int, clips: int = 4, seed: int = 271_828) -> list[Manifest]:
    """Composed videos under `folder/footage`, their manifests under `folder/truth`."""
    scenes = render(
        RenderSettings(
            count=videos * clips,
            seed=seed,
            min_scenes=1,
            max_scenes=1,
            min_seconds=2.0,
            max_seconds=4.0,
            narration=False,
            upsets=0.0,
            width=160,
            height=120,
            fps=12,
        ),
        folder / "studio",
    )
    names = random.Random(seed)
    made = []
    for sub in ("footage", "truth"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    for number in range(videos):
        own = scenes[number * clips : (number + 1) * clips]
        parts = [Clip(s.truth.name, s.path, None, s.truth.scenes[0].brief[0]) for s in own]
        path = folder / "footage" / f"{names.getrandbits(48):012x}.mp4"
        manifest = compose(parts, ComposeSettings(operation="permute", seed=number), path)
        path.with_suffix(".json").rename(folder / "truth" / f"{path.stem}.json")
        made.append(manifest)
    return made


def probe(recipe: Recipe, folder: Path, out: Path, engine: str = "inline") -> Probed:
    """Run a recipe on drawn videos and compare the segments of its packed layer with the truth.

    Raises InputError where inputs failed: what was not looked at is no miss.
    """
    summary = run(recipe, str(folder / "footage"), str(out), engine=engine)
    if not summary.ok:
        raise InputError(
            f"the recipe did not come through: {summary.failed}",
            cure="what it needs must be installed before it can be measured",
            input=str(folder / "footage"),
        )
    videos = {Path(video.source).stem: video for video in read_videos(Store.open(str(out)))}
    best: list[float] = []
    for path in sorted((folder / "truth").glob("*.json")):
        video = videos.get(path.stem)
        spans = [segment.span for segment in video.layer(recipe.pack.layer)] if video else []
        best += overlaps(Manifest.load(path), spans)
    found = sum(iou >= FOUND for iou in best)
    return Probed(len(best), found, sum(best) / len(best) if best else 0.0)


def overlaps(manifest: Manifest, spans: Sequence[Span]) -> list[float]:
    """Per planted event the best IoU with any of the spans; 0 where there is none."""
    events = [Span.of_seconds(piece.start_s, piece.end_s) for piece in manifest.pieces]
    return [max((event.iou(span) for span in spans), default=0.0) for event in events]
