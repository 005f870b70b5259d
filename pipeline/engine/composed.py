"""Videos that a recipe makes of its inputs before anything is annotated.

    composed/<name>-<fingerprint>.mp4       the video
    composed/<name>-<fingerprint>.json      its columns, the manifest among them; put last

The inputs of such a run are the composed videos: they are packed, and they are what the account
counts. One that could not be made stays an input that fails with the reason, so nothing is lost
without being counted. What is there is never made again; its name covers clips and settings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from clipmill.pipeline.engine.events import Event
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import ClipmillError, InputError, StoreError
from clipmill.schemas.fingerprints import short
from clipmill.schemas.records import Video
from clipmill.schemas.shards import video_key
from clipmill.stages.compose.arrangements import Arrangement, Job, jobs, make

T = TypeVar("T")
R = TypeVar("R")


class RunAll(Protocol):
    """An engine's `map`: results in any order."""

    def __call__(self, function: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]: ...


@dataclass(frozen=True, slots=True)
class _Making:
    store: Store
    job: Job
    name: str


def composed(
    store: Store,
    arrangements: Mapping[str, Arrangement],
    videos: Sequence[Video],
    run_all: RunAll,
    check: Callable[[], None],
    tell: Callable[[Event], None],
) -> list[Video]:
    """The composed videos, those of earlier runs among them, in the order of the recipe.

    Raises InputError where two would have one id.
    """
    wanted = [
        _Making(store, job, f"composed/{video_key(job.id)}-{short(job.fingerprint())}")
        for name, arrangement in arrangements.items()
        for job in jobs(name, arrangement, videos)
    ]
    there = {item.key for item in store.list("composed/")}
    missing = [item for item in wanted if f"{item.name}.json" not in there]
    failed: dict[str, str] = {}
    tell(Event("inputs", f"composing {len(missing)} of {len(wanted)} videos"))
    for name, problem in run_all(_make, missing):
        check()
        if problem:
            failed[name] = problem
    made = [_video(item, failed.get(item.name, "")) for item in wanted]
    if len({video.id for video in made}) != len(made):
        raise InputError("two composed videos have one id", cure="rename one of the arrangements")
    return made


def _make(item: _Making) -> tuple[str, str]:
    """(name, why it could not be made); run on any machine."""
    with item.store.scratch() as folder:
        path = folder / "composed.mp4"
        try:
            _, columns = make(item.job, path)
        except StoreError:
            raise
        except ClipmillError as error:
            return item.name, f"{error.kind}: {error.message}"
        item.store.put_file(f"{item.name}.mp4", path)
    item.store.put(f"{item.name}.json", json.dumps(columns, sort_keys=True).encode())
    return item.name, ""


def _video(item: _Making, problem: str) -> Video:
    """The composed video as an input; where there is none, its first clip with the reason."""
    sources = item.job.videos
    if problem:
        first = replace(sources[0], id=item.job.id)
        first.meta = {**sources[0].meta, "not_composed": problem}
        return first
    columns = json.loads(item.store.get(f"{item.name}.json"))
    return Video(
        id=item.job.id,
        source=item.store.url(f"{item.name}.mp4"),
        licence=_together(video.licence for video in sources),
        consent=_together(video.consent for video in sources),
        provenance=_together(video.provenance for video in sources),
        meta=columns,
        parents=[video.id for video in sources],
    )


def _together(values: Iterable[str | None]) -> str | None:
    """What holds for all sources: the distinct values, or None where one has none."""
    listed = list(values)
    return "; ".join(dict.fromkeys(v for v in listed if v)) if all(listed) else None
