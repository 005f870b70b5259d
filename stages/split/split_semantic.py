"""Cut where the topic changes: groups of windows or shots whose vectors tell one story.

Pieces that already have vectors, of pictures, sound or text, are taken in time order and joined to
segments; a border lies only where one piece ends. Two methods:

- `dip` compares what lies before a border with what lies after it, and cuts where that similarity
  has a deep valley between two peaks: TextTiling (Hearst 1997), as SceneTilling (Wang et al. 2024)
  applies it to frames. Local, so of any length at the same price, and blind to slow change;
- `kernel` looks for the borders that leave the least scatter inside the segments, each border paid
  for: change points by dynamic programming (Harchaoui and Cappé 2007; Potapov et al. 2014). It sees
  the whole, and its work grows with the square of the number of pieces.

The price of a border is counted in what pieces `min_s` apart differ by, so that no threshold
depends on an encoder's scale. Segments do not cross the border of a part: where topics are longer
than `engine.max_segments` pieces, raise it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clipmill.schemas.records import Part, Segment
from clipmill.stages.split.merge_segments import hull
from clipmill.stages.stage import Stage, StageSettings

Floats = NDArray[np.float64]


class Settings(StageSettings):
    layer: str = "windows"
    """Layer whose segments are joined; they carry the vectors."""
    embeddings: tuple[str, ...] = ("clip",)
    """Names of the vectors that are compared, side by side where there are several."""
    gaps: Literal["skip", "carry"] = "skip"
    """A piece that lacks one of them says nothing and stays with its neighbours, or it takes that
    of the last piece that has one, so that silence or an empty screen is no change; a kind that no
    piece has then counts for nothing."""
    method: Literal["kernel", "dip"] = "kernel"
    """How borders are found."""
    into: str = Field(default="topics", pattern=r"^[a-z][a-z0-9_]*$")
    """Layer that is written."""
    min_s: float = Field(default=2.0, ge=0)
    """Borders are at least this far apart, and from either end."""
    penalty: float = Field(default=3.0, gt=0)
    """`kernel`: price of a border. Twice as high: about half as many."""
    context: int = Field(default=3, ge=1)
    """`dip`: pieces compared on either side of a border."""
    depth: float = Field(default=1.0, ge=0)
    """`dip`: standard deviations by which a valley must be deeper than the mean one."""


class SplitSemantic(Stage[Settings]):
    """Cut a video where its topic changes, by vectors of its windows or shots."""

    provides = frozenset({"segments:{into}"})

    def reads(self) -> frozenset[str]:
        settings = self.settings
        vectors = {f"embeddings:{name}" for name in settings.embeddings}
        return frozenset({f"segments:{settings.layer}", *vectors})

    def process(self, part: Part) -> Part:
        settings = self.settings
        layer = part.video.layer(settings.layer)
        found = [vector_of(segment, settings.embeddings) for segment in layer]
        if settings.gaps == "carry":
            found = carried(layer, settings.embeddings)
        held = [
            (segment, vector)
            for segment, vector in zip(layer, found, strict=True)
            if vector is not None
        ]
        if not held:
            return part
        pieces = [segment for segment, _ in held]
        vectors = np.stack([vector for _, vector in held])
        starts = np.array([piece.span.start_s for piece in pieces] + [pieces[-1].span.end_s])
        if settings.method == "kernel":
            borders = change_points(vectors, starts, settings.penalty, settings.min_s)
        else:
            borders = dips(vectors, starts, settings.context, settings.depth, settings.min_s)
        for first, end in pairwise([0, *borders, len(pieces)]):
            run = pieces[first:end]
            # Named after its first piece: parts of a video count apart.
            name = f"{settings.into}-{run[0].id.rsplit('-', 1)[-1]}"
            span = hull([piece.span for piece in run])
            part.video.segments.append(Segment(name, settings.into, span))
        return part


def vector_of(segment: Segment, names: Sequence[str]) -> Floats | None:
    """The named vectors of a segment, each of unit length, as one; None if one is missing."""
    found = {each.name: np.asarray(each.vector, np.float64) for each in segment.embeddings}
    if any(name not in found or not np.linalg.norm(found[name]) for name in names):
        return None
    return np.concatenate([found[name] / np.linalg.norm(found[name]) for name in names])


def carried(segments: Sequence[Segment], names: Sequence[str]) -> list[Floats | None]:
    """Vectors in which each kind stays as it was last, and before its first as that one is."""
    kinds: list[list[Floats]] = []
    for name in names:
        own = [vector_of(segment, (name,)) for segment in segments]
        last = next((vector for vector in own if vector is not None), None)
        kind: list[Floats] = []
        for vector in own:
            last = vector if vector is not None else last
            if last is not None:
                kind.append(last)
        if kind:
            kinds.append(kind)
    if not kinds:
        return [None] * len(segments)
    return [np.concatenate(side_by_side) for side_by_side in zip(*kinds, strict=True)]


def change_points(vectors: Floats, starts: Floats, penalty: float, min_s: float) -> list[int]:
    """Numbers of the pieces at which a new segment begins, for [n, d] vectors in time order.

    `starts` are the n starts and the last end, in seconds. Minimised is the squared distance of all
    vectors to the mean of their segment, plus for each border `penalty` log n times half the
    squared distance of pieces that lie `min_s` apart.
    """
    count = len(vectors)
    if count < 2:
        return []
    lag = int(np.clip(np.ceil(min_s / np.median(np.diff(starts))), 1, count - 1))
    # The median is that of pieces in one segment, unless borders lie closer than about twice `lag`.
    usual = float(np.median(((vectors[lag:] - vectors[:-lag]) ** 2).sum(1))) / 2
    price = penalty * np.log(count) * max(usual, 1e-9)
    sums = np.vstack([np.zeros(vectors.shape[1]), vectors.cumsum(0)])
    squares = np.r_[0.0, (vectors**2).sum(1).cumsum()]
    best = np.full(count + 1, np.inf)
    best[0] = -price
    before = np.zeros(count + 1, int)
    for end in range(1, count + 1):
        first = np.flatnonzero(starts[end] - starts[:end] >= min_s)
        if not len(first):
            continue
        within = squares[end] - squares[first]
        within = within - ((sums[end] - sums[first]) ** 2).sum(1) / (end - first)
        total = best[first] + within + price
        chosen = int(np.argmin(total))
        best[end], before[end] = total[chosen], first[chosen]
    borders = []
    at = int(before[count])  # 0 also where the whole is too short
    while at:
        borders.append(at)
        at = int(before[at])
    return borders[::-1]


def dips(vectors: Floats, starts: Floats, context: int, depth: float, min_s: float) -> list[int]:
    """Numbers of the pieces at which a new segment begins: where similarity has its deep valleys.

    Similarity is the cosine between the mean vectors of `context` pieces on either side. A valley
    is as deep as the peaks on both sides rise above it, together.
    """
    count = len(vectors)
    if count < 3:
        return []
    similar = np.array([_cosine(vectors, border, context) for border in range(1, count)])
    depths = np.array([_depth(similar, place) for place in range(len(similar))])
    least = max(float(depths.mean() + depth * depths.std()), 1e-6)
    borders: list[int] = []
    for place in np.argsort(-depths, kind="stable"):
        border = int(place) + 1
        walls = [0.0 + starts[0], starts[-1], *(starts[other] for other in borders)]
        if depths[place] >= least and all(abs(starts[border] - wall) >= min_s for wall in walls):
            borders.append(border)
    return sorted(borders)


def _cosine(vectors: Floats, border: int, context: int) -> float:
    left = vectors[max(0, border - context) : border].mean(0)
    right = vectors[border : border + context].mean(0)
    length = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / length if length else 0.0


def _depth(similar: Floats, place: int) -> float:
    """How far similarity climbs from a place to the first peak on either side, together."""
    climbed = 0.0
    for side in (similar[place::-1], similar[place:]):
        falls = np.flatnonzero(np.diff(side) < 0)
        peak = side[falls[0]] if len(falls) else side[-1]
        climbed += float(peak - similar[place])
    return climbed
