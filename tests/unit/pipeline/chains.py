"""Tiny stages and recipes for tests of the engine: real stages, just small ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from clipmill.pipeline.engine.parcel import Parcel, Receipt, Resume
from clipmill.pipeline.engine.plan import Plan, plan
from clipmill.pipeline.recipe.recipe import EngineSettings, Recipe, StageEntry
from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.profiles import Profile
from clipmill.schemas.records import Frame, Part, Video
from clipmill.stages.stage import Resources, Stage, StageSettings


class CutSettings(StageSettings):
    pieces: int = 4


class Cut(Stage[CutSettings]):
    """Cut a video into equal windows of a second."""

    unit = "video"
    provides: ClassVar[set[str]] = {"segments:windows"}

    def process(self, part: Part) -> Part:
        spans = [Span(MILLISECONDS, 1000 * n, 1000 * n + 1000) for n in range(self.settings.pieces)]
        part.video.add_segments("windows", spans)
        return part


class Look(Stage[StageSettings]):
    """Frames that say whose they are."""

    needs: ClassVar[set[str]] = {"segments:windows"}
    provides: ClassVar[set[str]] = {"frames"}

    def process(self, part: Part) -> Part:
        for segment in part.video.segments:
            name = f"{part.video.id}/{segment.id}".encode()
            part.frames[segment.id] = [Frame(MILLISECONDS, segment.span.start, name, 1, 1)]
        return part


class MeasureSettings(StageSettings):
    factor: float = 1.0


class Measure(Stage[MeasureSettings]):
    """Score a segment by its place in time."""

    needs: ClassVar[set[str]] = {"segments:windows"}
    provides: ClassVar[set[str]] = {"scores:place"}

    def process(self, part: Part) -> Part:
        for segment in part.video.segments:
            segment.scores["place"] = segment.span.start_s * self.settings.factor
        return part


class SaySettings(StageSettings):
    words: str = "this is"


class Say(Stage[SaySettings]):
    """Write down what the frame says: a caption that must never land on another segment."""

    needs: ClassVar[set[str]] = {"frames", "segments:windows"}
    provides: ClassVar[set[str]] = {"texts:caption"}
    teacher = True
    asked: ClassVar[list[str]] = []

    async def process(self, part: Part) -> Part:
        for segment in part.video.segments:
            seen = part.frames[segment.id][0].jpeg.decode()
            self.asked.append(seen)
            segment.add_text("caption", f"{self.settings.words} {seen}", self.author())
        return part


class Tell(Stage[StageSettings]):
    """Count the words of the captions: depends on `Say`."""

    needs: ClassVar[set[str]] = {"texts:caption"}
    provides: ClassVar[set[str]] = {"scores:words"}

    def process(self, part: Part) -> Part:
        for segment in part.video.segments:
            captions = segment.texts_of("caption")
            if captions:
                segment.scores["words"] = len(captions[0].text.split())
        return part


class Break(Stage[StageSettings]):
    """Do to a part what its video's metadata says: for tests of isolation."""

    needs: ClassVar[set[str]] = {"segments:windows"}
    actions: ClassVar[dict[str, Callable[[Part], None]]] = {}

    def process(self, part: Part) -> Part:
        action = self.actions.get(part.video.meta.get("break", ""))
        if action is not None:
            action(part)
        return part


def entry(stage: Stage[Any], name: str = "", when: Profile | None = None) -> StageEntry:
    return StageEntry(
        name=name or type(stage).__name__.lower(),
        operator=type(stage).__name__.lower(),
        stage=stage,
        when=when,
        when_name="profile" if when else None,
        resources=stage.resources if stage.resources else Resources(),
        actors=None,
        commit=stage.teacher,
        env=None,
        line=1,
    )


def chain(*entries: StageEntry, max_segments: int = 2, attempts: int = 2) -> Plan:
    """The plan of a recipe made of these stages."""
    recipe = Recipe.__new__(Recipe)
    for key, value in {
        "name": "test",
        "stages": tuple(entries),
        "engine": EngineSettings(max_segments=max_segments, attempts=attempts),
    }.items():
        object.__setattr__(recipe, key, value)
    return plan(recipe)


def standard(**settings: Any) -> list[StageEntry]:
    """Cut, look, measure, say, tell."""
    return [
        entry(Cut(CutSettings(pieces=settings.get("pieces", 4)))),
        entry(Look(StageSettings())),
        entry(Measure(MeasureSettings(factor=settings.get("factor", 1.0)))),
        entry(Say(SaySettings(words=settings.get("words", "this is"))), when=settings.get("when")),
        entry(Tell(StageSettings())),
    ]


def parcel(video: Video, resume: Resume | None = None) -> Parcel:
    from clipmill.schemas.shards import video_key

    return Parcel(video_key(video.id), Part(video), resume or Resume())


def receipts(parcels: list[Parcel]) -> list[Receipt]:
    return [p.receipt for p in parcels if p.receipt is not None]
