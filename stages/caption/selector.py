"""A selector learnt from votes: which of several candidates people would take for a clip.

Teachers are good at different things, and which one to trust shows in the clip itself. So a
candidate is described by its role, its role times what the clip looks like, how well an encoder
finds that it fits, and how far it agrees with the others; a ridge-penalised conditional logit over
the candidates of each voted clip weighs these (McFadden 1974). It is small on purpose: a few
hundred votes carry a linear choice, and a file of numbers can be shipped with a recipe. Published
selectors fine-tune a retrieval model on 100,000 votes instead.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clipmill.schemas.errors import ModelError
from clipmill.schemas.fingerprints import fingerprint, short
from clipmill.stages.models.encoder import Vectors

Array = npt.NDArray[np.float64]

PRIOR = 4.0
"""Penalty of all votes together on half the squared weights: a prior that a weight is within half a
unit of nothing. A held-out choice of it was tried and is noise where votes are few.
"""


@dataclass(frozen=True, slots=True)
class Candidates:
    """One clip's candidates: its vector [d], the texts and their vectors [k, d], a role each."""

    clip: Vectors
    said: tuple[str, ...]
    texts: Vectors
    roles: tuple[str, ...]


def fits(candidates: Candidates) -> Array:
    """Cosine of every candidate with the clip, [k]."""
    return np.asarray(candidates.texts @ candidates.clip, np.float64)


def agreements(candidates: Candidates) -> Array:
    """Mean cosine of every candidate with the others, [k]; zero for one alone."""
    table = np.asarray(candidates.texts @ candidates.texts.T, np.float64)
    others = max(1, len(table) - 1)
    return np.asarray((table.sum(1) - np.diag(table)) / others, np.float64)


@dataclass(frozen=True, slots=True)
class Selector:
    """Weights over the features of a candidate; `encoder` names whose vectors they are for."""

    encoder: str
    roles: tuple[str, ...]
    mean: Array  # of the voted clips' vectors, [d]
    scale: float  # their root mean square distance from it
    weights: Array  # [r + r*d + 2]

    def utilities(self, candidates: Candidates) -> Array:
        """How much speaks for each candidate, [k]; differences are log odds. Candidates that say
        the same speak for one another.
        """
        values = _features(candidates, self.roles, self.mean, self.scale) @ self.weights
        top = values.max()
        return np.asarray(np.log(_same(candidates) @ np.exp(values - top)) + top, np.float64)

    def save(self, path: Path) -> None:
        path.write_text(
            json.dumps(
                {
                    "encoder": self.encoder,
                    "roles": self.roles,
                    "mean": self.mean.tolist(),
                    "scale": self.scale,
                    "weights": self.weights.tolist(),
                }
            )
            + "\n",
            encoding="utf-8",
        )


def load_selector(path: str) -> Selector:
    """A saved selector. Raises ModelError where the file is none."""
    try:
        held: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        mean, weights = np.array(held["mean"], float), np.array(held["weights"], float)
        roles = tuple(str(role) for role in held["roles"])
        right = np.isfinite(mean).all() and np.isfinite(weights).all()
        if mean.ndim != 1 or weights.shape != (len(roles) * (1 + len(mean)) + 2,) or not right:
            raise ValueError("its numbers do not fit together")
        return Selector(str(held["encoder"]), roles, mean, float(held["scale"]), weights)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} is no selector: {error}", cure="make one from votes: infra/selector/fit.py"
        ) from error


def selector_identity(path: str) -> str:
    """Digest of a selector's numbers, wherever the file lies."""
    found = load_selector(path)
    return short(fingerprint(found.encoder, list(found.roles), found.weights.tolist()))


def fit(votes: Sequence[tuple[Candidates, int]], encoder: str) -> Selector:
    """A selector from (candidates, place of the chosen one). Raises ModelError below two votes."""
    votes = [(own, chosen) for own, chosen in votes if len(own.roles) > 1]
    if len(votes) < 2:
        raise ModelError("a selector needs votes on two clips at least", cure="import more votes")
    roles = tuple(sorted({role for own, _ in votes for role in own.roles}))
    clips = np.array([own.clip for own, _ in votes], np.float64)
    mean = np.asarray(clips.mean(0))
    scale = float(np.sqrt(((clips - mean) ** 2).sum(1).mean())) or 1.0
    tables = [_features(own, roles, mean, scale) for own, _ in votes]
    # Who votes for a text votes for whoever has written it.
    chosen = [_same(own)[place] for own, place in votes]
    return Selector(encoder, roles, mean, scale, _solve(tables, chosen, PRIOR / len(tables)))


def _features(own: Candidates, roles: Sequence[str], mean: Array, scale: float) -> Array:
    """[k, r + r*d + 2]: role, role times the clip, fit, agreement; the last two per clip centred,
    because only differences between candidates of one clip decide.
    """
    is_role = np.array([[float(role == name) for name in roles] for role in own.roles])
    look = (np.asarray(own.clip, np.float64) - mean) / scale
    crossed = (is_role[:, :, None] * look).reshape(len(own.roles), -1)
    told = np.stack([fits(own), agreements(own)], axis=1)
    # Cosines differ by hundredths where roles differ by ones; a tenth counts as one.
    return np.hstack([is_role, crossed, (told - told.mean(0)) * 10])


def _same(own: Candidates) -> Array:
    """1 where two candidates say the same, [k, k]."""
    said = np.array([" ".join(text.casefold().split()) for text in own.said])
    return np.asarray(said[:, None] == said, np.float64)


def _solve(
    tables: Sequence[Array], chosen: Sequence[Array], penalty: float, rounds: int = 400
) -> Array:
    """Weights of least penalised loss, by accelerated gradient descent from zero (Nesterov)."""
    bound = 0.5 * float(np.mean([(table**2).sum() for table in tables])) + penalty
    weights = ahead = np.zeros(tables[0].shape[1])
    for number in range(rounds):
        slope = penalty * ahead
        for table, liked in zip(tables, chosen, strict=True):
            shares = _shares(table @ ahead)
            slope = slope + table.T @ (shares - shares * liked / (shares @ liked)) / len(tables)
        moved = ahead - slope / bound
        ahead = moved + number / (number + 3) * (moved - weights)
        weights = moved
    return np.asarray(weights)


def _shares(utilities: Array) -> Array:
    powers = np.exp(utilities - utilities.max())
    return np.asarray(powers / powers.sum(), np.float64)
