"""One stage on one video in this process: the quickest look at what a stage does."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import time
from dataclasses import dataclass
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from clipmill.pipeline.recipe.lint import lint
from clipmill.pipeline.recipe.recipe import Recipe, load_resolved
from clipmill.pipeline.recipe.registry import load_stage, providers
from clipmill.schemas.arrow import to_arrow
from clipmill.schemas.errors import RecipeError
from clipmill.schemas.records import Part, Segment, Video
from clipmill.stages.source.ingest_video import Settings, ingest
from clipmill.stages.stage import Stage

_SHOWN = 20  # segments printed; --json has them all


def trial(spec: str, source: str, sets: list[str], *, chain: bool, as_json: bool) -> None:
    """Run a stage on a video and print what it added; with `chain`, what it needs runs first."""
    video = next(ingest(source, Settings(all_files=True)))
    recipe = _recipe(spec, sets, chain)
    part = Part(video)
    before = part.video
    for entry in recipe.stages:
        before = copy.deepcopy(part.video)
        started = time.perf_counter()
        part = _process(entry.stage, part)
        seconds = time.perf_counter() - started
        typer.echo(f"{entry.name}: {seconds:.2f} s", err=True)
    added = _added(before, part.video)
    if as_json:
        frames = {segment: len(frames) for segment, frames in part.frames.items()}
        typer.echo(json.dumps({**added.plain(), "frames": frames}, sort_keys=True))
    else:
        added.show(part)


def _recipe(spec: str, sets: list[str], chain: bool) -> Recipe:
    wanted = load_stage(spec)
    prefixed = [f"stages.{wanted.name()}.{change}" for change in sets]
    chosen: list[str] = []
    while True:
        entries: list[dict[str, Any]] = [{operator: {}} for operator in [*chosen, spec]]
        plain = {"recipe": 1, "name": "try", "stages": entries}
        recipe = load_resolved(plain, f"try {spec}", prefixed)
        missing = _first_missing(recipe)
        if missing is None:
            packages = [problem for problem in lint(recipe) if "pip install" in problem.cure]
            if packages:
                raise packages[0]
            return recipe
        reader, token = missing
        able = [name for name in providers(token) if name not in (*chosen, spec)]
        if not able:
            raise RecipeError(
                f"{reader} needs {token}, and no installed operator provides it",
                cure="write a recipe with the stage that does, and run it with --engine inline",
            )
        if not chain:
            raise RecipeError(
                f"{reader} needs {token}", cure=f"add --chain to run {able[0]} before it"
            )
        # A provider goes right before its first reader; what it needs itself is found next.
        names = [entry.name for entry in recipe.stages]
        chosen.insert(names.index(reader), able[0])


def _first_missing(recipe: Recipe) -> tuple[str, str] | None:
    made: set[str] = set()
    for entry in recipe.stages:
        for token in sorted(entry.stage.reads() - made):
            return entry.name, token
        made |= entry.stage.adds()
    return None


def _process(stage: Stage[Any], part: Part) -> Part:
    stage.setup()
    try:
        result = stage.process(part)
        if inspect.isawaitable(result):

            async def wait() -> Part:
                return await result

            return asyncio.run(wait())
        return result
    finally:
        stage.close()


@dataclass(frozen=True, slots=True)
class Added:
    """What the later of two states of a video has that the earlier has not."""

    probe: bool
    transcripts: int
    texts: list[Any]
    segments: list[Segment]  # only with what is new on them

    def plain(self) -> dict[str, Any]:
        return {
            "texts": [to_arrow(text) for text in self.texts],
            "segments": [_plain(segment) for segment in self.segments],
        }

    def show(self, part: Part) -> None:
        console = Console(highlight=False)
        video = part.video
        if self.probe and video.probe is not None:
            console.print(Text(f"probe: {video.probe.container}, {video.probe.duration_s:.3f} s"))
            for stream in video.probe.streams:
                console.print(Text(f"  {stream}"))
            for damage in video.probe.damage:
                console.print(Text(f"  damage: {damage}"))
        for transcript in video.transcripts[len(video.transcripts) - self.transcripts :]:
            console.print(Text(f"transcript: {transcript.kind}, {transcript.language}"))
            for said in transcript.utterances[:_SHOWN]:
                at = transcript.clock.seconds(said.start)
                doubt = f"  (doubted: {said.doubt})" if said.doubt else ""
                console.print(Text(f"  {at:8.2f} s  {said.text}{doubt}"))
        for text in self.texts:
            console.print(Text(f"{text.role}: {text.text}"))
        if self.segments:
            console.print(_table(self.segments))
        if part.frames:
            count = sum(map(len, part.frames.values()))
            console.print(f"frames in flight: {count} of {len(part.frames)} segments")
        if not (self.probe or self.transcripts or self.texts or self.segments or part.frames):
            console.print("nothing was added")


def _added(before: Video, after: Video) -> Added:
    old = {segment.id: segment for segment in before.segments}
    segments = [
        new
        for new in (_news(old.get(segment.id), segment) for segment in after.segments)
        if new is not None
    ]
    return Added(
        probe=before.probe is None and after.probe is not None,
        transcripts=len(after.transcripts) - len(before.transcripts),
        texts=after.texts[len(before.texts) :],
        segments=segments,
    )


def _news(old: Segment | None, new: Segment) -> Segment | None:
    if old is None:
        return new
    news = Segment(
        new.id,
        new.layer,
        new.span,
        new.parent,
        texts=new.texts[len(old.texts) :],
        scores={k: v for k, v in new.scores.items() if k not in old.scores},
        labels={k: v for k, v in new.labels.items() if k not in old.labels},
        embeddings=new.embeddings[len(old.embeddings) :],
        samples=new.samples[len(old.samples) :],
    )
    empty = not (news.texts or news.scores or news.labels or news.embeddings or news.samples)
    return None if empty else news


def _plain(segment: Segment) -> dict[str, Any]:
    return {
        "id": segment.id,
        "layer": segment.layer,
        "start_s": segment.span.start_s,
        "end_s": segment.span.end_s,
        "texts": {text.role: text.text for text in segment.texts},
        "scores": segment.scores,
        "labels": segment.labels,
        "embeddings": {e.name: len(e.vector) for e in segment.embeddings},
        "samples": [to_arrow(sample) for sample in segment.samples],
    }


def _table(segments: list[Segment]) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in ("segment", "start", "end"):
        table.add_column(column, no_wrap=True)
    table.add_column("added")
    for segment in segments[:_SHOWN]:
        words = [f"{name} {value:.4g}" for name, value in sorted(segment.scores.items())]
        words += [f"{name} {value}" for name, value in sorted(segment.labels.items())]
        words += [f"{text.role}: {text.text}" for text in segment.texts]
        words += [f"embedding {e.name} ({len(e.vector)})" for e in segment.embeddings]
        words += [f"{sample.kind}: {sample.question}" for sample in segment.samples]
        span = segment.span
        ends = (f"{span.start_s:.3f}", f"{span.end_s:.3f}")
        table.add_row(Text(segment.id), *ends, Text("\n".join(words)))
    if len(segments) > _SHOWN:
        table.add_row(f"and {len(segments) - _SHOWN} more", "", "", "")
    return table
