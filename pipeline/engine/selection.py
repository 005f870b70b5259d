"""What of a part a stage still has to do.

A fresh part needs every stage on every segment. A part taken up again (after a crash, or from an
older output with `--from`) carries the steps already applied, and needs a stage only on segments
that its `when` profile spared before and passes now, and on those that a provider of its needs has
just worked on. Frames are never stored, so their provider runs again exactly where a later stage
with work left reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clipmill.pipeline.engine.plan import Link
from clipmill.schemas.records import Part, Step
from clipmill.stages.stage import IN_FLIGHT


@dataclass(frozen=True, slots=True)
class Selection:
    """The segments a stage works on now, those it works on again, and those `when` spares."""

    ids: frozenset[str]
    again: frozenset[str] = frozenset()
    spared: frozenset[str] = frozenset()
    whole: bool = True  # `ids` is every segment of the part


def select(
    link: Link, part: Part, chain: Sequence[Link], fresh: dict[str, frozenset[str]]
) -> Selection | None:
    """The work of `link` on `part`, or None where there is none.

    `chain` is the whole recipe in order; `fresh` maps stage names to the segments they have worked
    on *again* since the part was taken up.
    """
    step = step_of(link, part)
    everything = frozenset(segment.id for segment in part.video.segments)
    if link.stage.unit == "video":
        return None if step else Selection(everything)
    if link.adds & IN_FLIGHT:
        return Selection(everything) if _wanted(link, part, chain, fresh) else None
    if step is None:
        ids, again = everything, frozenset[str]()
    else:
        again = _fresh_for(link, chain, fresh) & everything
        ids = (frozenset(step.spared) & everything) | again
        if not ids:
            return None
    spared = frozenset[str]()
    if link.when is not None:
        spared = frozenset(
            segment.id
            for segment in part.video.segments
            if segment.id in ids and link.when.reason_of(segment) is not None
        )
        ids -= spared
    return Selection(ids, again & ids, spared, whole=ids == everything)


def _wanted(
    link: Link, part: Part, chain: Sequence[Link], fresh: dict[str, frozenset[str]]
) -> bool:
    """Whether what a stage puts in flight is read by work still to be done.

    A stage that only passes it on, changed, has work where whoever reads its own has.
    """
    rest = chain[chain.index(link) + 1 :]
    return any(
        _wanted(later, part, rest, fresh)
        if later.adds & IN_FLIGHT
        else _has_work(later, part, fresh)
        for later in rest
        if later.reads & link.adds & IN_FLIGHT
    )


def step_of(link: Link, part: Part) -> Step | None:
    """The step by which this very stage has been applied to the part, if it has."""
    for step in part.video.steps:
        if step.stage == link.name and step.fingerprint == link.fingerprint:
            return step
    return None


def _has_work(link: Link, part: Part, fresh: dict[str, frozenset[str]]) -> bool:
    step = step_of(link, part)
    return step is None or bool(step.spared) or bool(fresh)


def _fresh_for(
    link: Link, chain: Sequence[Link], fresh: dict[str, frozenset[str]]
) -> frozenset[str]:
    found = frozenset[str]()
    for earlier in chain[: chain.index(link)]:
        if earlier.adds & link.reads:
            found |= fresh.get(earlier.name, frozenset())
    return found
