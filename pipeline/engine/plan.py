"""From a recipe to a plan: fingerprints, groups of stages that share an actor, commit points.

Neighbours that run on the same resources in the same environment share one actor, because every
hand-over between actors costs a copy of the part; stages that hold a model get an actor of their
own, so that preparation on the CPU never waits inside it. The last stage that needs a whole video
ends the video groups: there the video is committed and divided into parts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from clipmill.pipeline.recipe.recipe import Recipe, StageEntry
from clipmill.schemas.errors import RecipeError
from clipmill.schemas.fingerprints import fingerprint, short
from clipmill.schemas.profiles import Profile
from clipmill.stages.stage import Resources, Stage


@dataclass(frozen=True, slots=True)
class Link:
    """One stage in its place in the chain."""

    name: str
    stage: Stage  # type: ignore[type-arg]
    fingerprint: str
    when: Profile | None
    reads: frozenset[str]
    adds: frozenset[str]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Group:
    """Links that run in one actor. `commit` is the fingerprint under which its result is kept."""

    name: str
    links: tuple[Link, ...]
    resources: Resources
    actors: tuple[int, int] | None
    env: str | None
    divides: bool = False  # ends the video stages: commit the video, hand on its parts
    commit: str | None = None
    last: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What will run. `fingerprint` is the identity of the annotation it makes."""

    recipe: str
    groups: tuple[Group, ...]
    fingerprint: str
    max_segments: int
    max_part_mb: int
    attempts: int
    links: tuple[Link, ...] = field(default=())

    @property
    def final(self) -> str:
        """The commit under which a part is finished."""
        commit = self.groups[-1].commit
        assert commit is not None
        return commit

    def identity(self) -> dict[str, str]:
        """Stage name -> fingerprint, in order; what an output folder remembers."""
        return {link.name: link.fingerprint for link in self.links}


def plan(recipe: Recipe) -> Plan:
    """The plan of a recipe; raises RecipeError where a chain cannot be run as ordered."""
    links = _links(recipe)
    runs = _runs(recipe, links)
    groups: list[Group] = []
    done = 0
    last_video = max(
        (number for number, run in enumerate(runs) if run[0][0].stage.unit == "video"), default=-1
    )
    for number, run in enumerate(runs):
        done += len(run)
        entries = [entry for entry, _ in run]
        members = tuple(link for _, link in run)
        last = number == len(runs) - 1 and last_video != number
        teacher = any(link.stage.teacher for link in members) or any(e.commit for e in entries)
        groups.append(
            Group(
                name="+".join(link.name for link in members),
                links=members,
                resources=_combined([entry.resources for entry in entries]),
                actors=next((entry.actors for entry in entries if entry.actors), None),
                env=entries[0].env,
                divides=number == last_video,
                # Before the video is divided there is one commit, the video's own.
                commit=(
                    _upto(links[:done])
                    if last or number == last_video or (teacher and number > last_video)
                    else None
                ),
                last=last,
            )
        )
    if not groups or groups[-1].divides or not groups[-1].last:
        # A chain of video stages alone still commits its parts, so that every recipe ends alike.
        groups.append(
            Group("commit", (), Resources(cpus=0.25), None, None, commit=_upto(links), last=True)
        )
    return Plan(
        recipe=recipe.name,
        groups=tuple(groups),
        fingerprint=fingerprint(_upto(links), recipe.engine.max_segments),
        max_segments=recipe.engine.max_segments,
        max_part_mb=recipe.engine.max_part_mb,
        attempts=recipe.engine.attempts,
        links=tuple(links),
    )


def _links(recipe: Recipe) -> list[Link]:
    links: list[Link] = []
    providers: dict[str, str] = {}  # token -> fingerprint of its provider
    part_seen: StageEntry | None = None
    for entry in recipe.stages:
        stage = entry.stage
        stage.label = entry.name
        if stage.unit == "video":
            _refuse_video_stage(entry, part_seen)
        else:
            part_seen = entry
        reads = stage.reads() | (entry.when.names() if entry.when else frozenset())
        upstream = [providers[token] for token in sorted(stage.reads()) if token in providers]
        digest = stage.fingerprint(upstream)
        adds = stage.adds()
        links.append(
            Link(entry.name, stage, digest, entry.when, reads, adds, entry.resources.timeout_s)
        )
        providers.update(dict.fromkeys(adds, digest))
    return links


def _refuse_video_stage(entry: StageEntry, part_seen: StageEntry | None) -> None:
    if part_seen is not None:
        raise RecipeError(
            f"{entry.name} needs the whole video but stands after {part_seen.name}, "
            "which works on parts of it",
            line=entry.line,
            key=f"stages.{entry.name}",
            cure=f"move {entry.name} before {part_seen.name}",
        )
    if entry.when is not None:
        raise RecipeError(
            f"{entry.name} works on whole videos, so it cannot depend on segments",
            line=entry.line,
            key=f"stages.{entry.name}.when",
            cure="remove `when`, or put it on a stage that works on parts",
        )


def _runs(recipe: Recipe, links: list[Link]) -> list[list[tuple[StageEntry, Link]]]:
    """Neighbours that can share an actor."""
    runs: list[list[tuple[StageEntry, Link]]] = []
    for entry, link in zip(recipe.stages, links, strict=True):
        if runs and _together(runs[-1][-1][0], entry):
            runs[-1].append((entry, link))
        else:
            runs.append([(entry, link)])
    return runs


def _together(a: StageEntry, b: StageEntry) -> bool:
    alone = any(e.stage.own_actor or e.stage.teacher or e.actors or e.commit for e in (a, b))
    return (
        not alone
        and a.stage.unit == b.stage.unit
        and a.env == b.env
        and (a.resources.gpus > 0) == (b.resources.gpus > 0)
    )


def _combined(resources: list[Resources]) -> Resources:
    """Members take turns in one process, so the largest demand counts, not the sum."""
    return Resources(
        cpus=max(r.cpus for r in resources),
        gpus=max(r.gpus for r in resources),
        memory_gb=max(r.memory_gb for r in resources),
        timeout_s=max(r.timeout_s for r in resources),
        parts=min(r.parts for r in resources),
        most=min((r.most for r in resources if r.most is not None), default=None),
    )


def _upto(links: list[Link]) -> str:
    whens = [link.when.model_dump(mode="json") if link.when else None for link in links]
    return short(fingerprint([link.fingerprint for link in links], whens))
