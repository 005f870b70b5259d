"""What differs between two outputs: settings, clips, verdicts, scores and texts.

Two prompts, two thresholds or two releases are compared by what they do to the same videos. Clips
are matched by video and exact span, not by their numbers, which shift when a shot more is found; so
a clip that only one side has is a difference of the cuts, and all other figures are about clips
that both sides have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipmill.pipeline.output.decide import Verdicts, read_verdicts
from clipmill.pipeline.output.made_by import made_by
from clipmill.pipeline.output.tables import read_table
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import StoreError

_EXAMPLES = 5
_SPAN = ["video", "clock_num", "clock_den", "start", "end"]


@dataclass(slots=True)
class ScoreChange:
    """A score on the clips that have it on both sides."""

    clips: int
    old_mean: float
    new_mean: float
    changed: int
    largest: float  # largest absolute change


@dataclass(slots=True)
class TextChange:
    """The newest text of a role, on the clips of both sides."""

    same: int = 0
    changed: int = 0
    only_old: int = 0
    only_new: int = 0
    examples: list[dict[str, str]] = field(default_factory=list)  # of changed ones


@dataclass(slots=True)
class Comparison:
    """Differences of two outputs. Settings are `dotted.key: [old, new]`, None where absent."""

    settings: dict[str, list[Any]] = field(default_factory=dict)
    videos: dict[str, int] = field(default_factory=dict)  # both, only_old, only_new
    layer: str = ""
    clips: dict[str, int] = field(default_factory=dict)  # both, only_old, only_new
    verdicts: dict[str, int] = field(default_factory=dict)  # "kept -> dropped: reason" -> clips
    scores: dict[str, ScoreChange] = field(default_factory=dict)
    texts: dict[str, TextChange] = field(default_factory=dict)


def compare(old: Store, new: Store) -> Comparison:
    """Compare two outputs with clips of one layer; StoreError where they cannot be compared."""
    judged = _verdicts(old), _verdicts(new)
    if judged[0].layer != judged[1].layer:
        raise StoreError(
            f"{old.uri} holds clips of layer {judged[0].layer!r}, {new.uri} of {judged[1].layer!r}",
            cure="compare outputs whose recipes have the same pack.layer",
        )
    found = Comparison(settings=_settings(old, new), layer=judged[0].layer)
    names = [
        set(read_table(store, "videos", ["video"])["video"].to_pylist()) for store in (old, new)
    ]
    found.videos = _shares(*names)
    sides = [_clips(store, one) for store, one in zip((old, new), judged, strict=True)]
    spans = [{tuple(row[k] for k in _SPAN) for row in side.to_pylist()} for side in sides]
    found.clips = _shares(*spans)
    both = sides[0].join(sides[1], _SPAN, join_type="inner", right_suffix=" new").combine_chunks()
    both = both.sort_by([(name, "ascending") for name in _SPAN])
    found.verdicts = _moves(both)
    for name in sorted(set(sides[0].column_names) & set(sides[1].column_names)):
        if name.startswith("score_"):
            change = _score(both[name], both[f"{name} new"])
            if change is not None:
                found.scores[name.removeprefix("score_")] = change
    found.texts = _texts(old, new, both)
    return found


def _verdicts(store: Store) -> Verdicts:
    found = read_verdicts(store)
    if found is None:
        raise StoreError(f"{store.uri} is not decided yet", cure="run its recipe to the end first")
    return found


def _shares(old: set[Any], new: set[Any]) -> dict[str, int]:
    return {"both": len(old & new), "only_old": len(old - new), "only_new": len(new - old)}


def _clips(store: Store, verdicts: Verdicts) -> pa.Table:
    """The clips of the judged layer: span, verdict, scores."""
    segments = read_table(store, "segments")
    segments = segments.filter(pc.equal(segments["layer"], verdicts.layer))
    scores = [name for name in segments.column_names if name.startswith("score_")]
    return segments.select([*_SPAN, "segment", *scores]).join(
        verdicts.table, ["video", "segment"], join_type="inner"
    )


def _moves(both: pa.Table) -> dict[str, int]:
    """How verdicts moved, the most frequent first; clips that are kept on both sides are `kept`."""
    rows = (
        both.select(["keep", "decision", "reason", "keep new", "decision new", "reason new"])
        .to_pydict()
        .values()
    )
    moves: Counter[str] = Counter()
    for keep, decision, reason, keep2, decision2, reason2 in zip(*rows, strict=True):
        before, after = _verdict(keep, decision, reason), _verdict(keep2, decision2, reason2)
        moves[before if before == after else f"{before} -> {after}"] += 1
    return dict(moves.most_common())


def _verdict(keep: bool, decision: str | None, reason: str | None) -> str:
    return "kept" if keep else f"dropped ({decision}: {reason})"


def _score(old: pa.ChunkedArray, new: pa.ChunkedArray) -> ScoreChange | None:
    values = [column.to_numpy(zero_copy_only=False).astype(float) for column in (old, new)]
    known = np.isfinite(values[0]) & np.isfinite(values[1])
    if not known.any():
        return None
    before, after = values[0][known], values[1][known]
    moved = np.abs(after - before)
    return ScoreChange(
        int(known.sum()),
        float(before.mean()),
        float(after.mean()),
        int((moved > 1e-9).sum()),
        float(moved.max()),
    )


def _texts(old: Store, new: Store, both: pa.Table) -> dict[str, TextChange]:
    """By role, for the clips of both sides."""
    sides = [
        _newest(old, both["video"].to_pylist(), both["segment"].to_pylist()),
        _newest(new, both["video"].to_pylist(), both["segment new"].to_pylist()),
    ]
    found: dict[str, TextChange] = {}
    for role in sorted({role for side in sides for _, role in side}):
        change = found.setdefault(role, TextChange())
        for place in range(len(both)):
            before, after = (side.get((place, role)) for side in sides)
            if before == after:
                change.same += before is not None
            elif before is None:
                change.only_new += 1
            elif after is None:
                change.only_old += 1
            else:
                change.changed += 1
                if len(change.examples) < _EXAMPLES:
                    change.examples.append({"old": before, "new": after})
    return found


def _newest(store: Store, videos: list[str], segments: list[str]) -> dict[tuple[int, str], str]:
    """(place of a clip in the lists, role) -> its newest text."""
    place_of = {pair: place for place, pair in enumerate(zip(videos, segments, strict=True))}
    texts = read_table(store, "texts", ["video", "segment", "role", "text"])
    found: dict[tuple[int, str], str] = {}
    for video, segment, role, text in zip(*texts.to_pydict().values(), strict=True):
        place = place_of.get((video, segment))
        if place is not None:
            found[place, role] = text
    return found


def _settings(old: Store, new: Store) -> dict[str, list[Any]]:
    """Keys of the resolved recipes that differ."""
    recipes = [made["recipe"] if (made := made_by(store)) else {} for store in (old, new)]
    sides = [dict(_flat(recipe)) for recipe in recipes]
    keys = sorted(set(sides[0]) | set(sides[1]))
    return {
        key: [side.get(key) for side in sides]
        for key in keys
        if sides[0].get(key) != sides[1].get(key)
    }


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths of a resolved recipe; entries of `stages` go by their names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for number, item in enumerate(value):
            name = item.get("name", number) if isinstance(item, dict) else number
            yield from _flat(item, f"{path}.{name}")
    else:
        yield path, value
