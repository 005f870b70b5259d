"""Keep one of clips that look alike, and none that look like a reference set.

Clips are taken from the best down; one whose vector is as near as `threshold` to one that was taken
goes. So whatever is dropped has a better twin that is kept, kept clips are all further apart, and
the outcome does not depend on the order of rows. Chains are not followed: of clips that change bit
by bit several stay.

The comparison is exact and costs the product of clips and kept clips, as blocks of a matrix.
Millions want `within`: twins share a video, or a topic of `cluster_corpus` (after SemDeDup, Abbas
et al. 2023), and with k topics the cost is a k-th.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field, field_validator

from clipmill.schemas.errors import InputError, ModelError
from clipmill.stages.decision import Decision
from clipmill.stages.filter.flat_rows import Order, answer, column, ranked, vectors
from clipmill.stages.models.encoder import Vectors
from clipmill.stages.stage import StageSettings

BLOCK = 1024
"""Rows compared at a time."""
WIDE = 16 * BLOCK
"""Rows that a block is compared with at a time: 64 MB of cosines."""


class Settings(StageSettings):
    embedding: str = "clip"
    """Embedding by which clips are compared."""
    threshold: float = Field(default=0.95, gt=0, le=1)
    """Cosine from which two clips are one; it belongs to the encoder."""
    by: str = ""
    """Score by which the one that stays is chosen; empty: the first by name."""
    order: Order = "highest"
    """Which end of the score is best."""
    within: str = ""
    """Compare clips of one `video` only, or those that share this label; empty: all."""
    reference: str = ""
    """Parquet file of vectors, or a folder of such, e.g. `tables/embeddings` of another output:
    clips near one of them go."""

    @field_validator("reference")
    @classmethod
    def _the_same_everywhere(cls, path: str) -> str:
        return str(Path(path).expanduser().absolute()) if path else path


class Dedup(Decision[Settings]):
    """Drop near-duplicates by an embedding, of one another or of a reference set."""

    settings: Settings

    def reads(self) -> frozenset[str]:
        settings = self.settings
        found = {f"embeddings:{settings.embedding}"}
        found |= {f"scores:{settings.by}"} if settings.by else set()
        found |= {f"labels:{settings.within}"} if settings.within not in ("", "video") else set()
        return frozenset(found)

    def identity(self) -> dict[str, Any]:
        own = super().identity()
        if self.settings.reference:  # it counts by what is in it, wherever it lies
            own["settings"]["reference"] = [_digest(file) for file in self._files()]
        return own

    def decide(self, segments: pa.Table) -> pa.Table:
        settings = self.settings
        rows, own = vectors(segments, settings.embedding)
        at = {row: place for place, row in enumerate(rows)}
        order = [at[row] for row in ranked(segments, settings.by, settings.order) if row in at]
        reasons: list[str | None] = [None] * segments.num_rows
        if settings.reference:
            known = self._reference(segments)
            for start in range(0, len(order), BLOCK):
                block = order[start : start + BLOCK]
                for place in np.array(block)[near(own[block], known, settings.threshold)]:
                    reasons[rows[place]] = "near the reference set"
        groups: dict[Any, list[int]] = defaultdict(list)
        kinds = self._groups(segments)
        for place in order:
            if reasons[rows[place]] is None and kinds[rows[place]] is not None:
                groups[kinds[rows[place]]].append(place)
        for group in groups.values():
            for place in duplicates(own, group, settings.threshold):
                reasons[rows[place]] = "near-duplicate"
        return answer(segments, reasons)

    def _groups(self, segments: pa.Table) -> list[Any]:
        """What a clip is compared within, by row; None where that is not known."""
        within = self.settings.within
        if not within:
            return [""] * segments.num_rows
        return column(segments, "video" if within == "video" else f"label_{within}")

    def _files(self) -> list[Path]:
        path = Path(self.settings.reference)
        files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not all(file.is_file() for file in files) or not files:
            raise self._no_reference("there is no such file")
        return files

    def _no_reference(self, why: str) -> InputError:
        return InputError(
            f"{self.settings.reference} is no reference set: {why}",
            cure="give a Parquet file with a column `vector`, or tables/embeddings of an output",
            stage=self.name(),
        )

    def _reference(self, segments: pa.Table) -> Vectors:
        """The reference set's vectors, of the same model as the clips' where both are known."""
        name = f"embedding_{self.settings.embedding}"
        try:
            parts = [pq.read_table(file) for file in self._files()]
            table = pa.concat_tables(parts, promote_options="default")
            if "name" in table.column_names:
                table = table.filter(pc.equal(table["name"], self.settings.embedding))
            found = vectors(pa.table({name: table["vector"]}), self.settings.embedding)[1]
        except (KeyError, ValueError, pa.ArrowException) as error:
            raise self._no_reference(str(error)) from error
        own = (segments.schema.field(name).metadata or {}).get(b"model", b"").decode()
        models = set(column(table, "model")) - {None, own}
        if own and models:
            raise ModelError(
                f"vectors of {self.settings.reference} were made by {', '.join(sorted(models))},"
                f" those of clips by {own}",
                cure="embed both with the same encoder",
                stage=self.name(),
            )
        return found


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def near(asked: Vectors, known: Vectors, threshold: float) -> np.ndarray:
    """Which of the unit vectors `asked` [n, d] lie as near as `threshold` to one `known` [m, d]."""
    found = np.zeros(len(asked), bool)
    for start in range(0, len(known), WIDE):
        found |= (asked @ known[start : start + WIDE].T >= threshold).any(axis=1)
    return found


def duplicates(own: Vectors, order: list[int], threshold: float) -> list[int]:
    """Places of `order`, the best first, that lie near one before them that is not dropped."""
    dropped: list[int] = []
    kept = np.empty((len(order), own.shape[1]), np.float32)
    count = 0
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        taken = own[block]
        gone = near(taken, kept[:count], threshold)
        among = np.triu(taken @ taken.T >= threshold, 1)
        for place in np.flatnonzero(among.any(axis=1)):
            if not gone[place]:
                gone |= among[place]
        dropped += [place for place, out in zip(block, gone, strict=True) if out]
        staying = taken[~gone]
        kept[count : count + len(staying)] = staying
        count += len(staying)
    return dropped
