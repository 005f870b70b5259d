"""Near-duplicates: every one that goes has a better twin that stays, whatever the order of rows."""

from __future__ import annotations

from pathlib import Path
from time import process_time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipmill.schemas.errors import InputError, ModelError
from clipmill.stages.filter import dedup
from clipmill.stages.filter.dedup import Dedup, Settings

CORNERS = st.lists(
    st.tuples(st.floats(-3, 3), st.sampled_from("abc"), st.sampled_from(["sea", "land", None])),
    max_size=25,
)
NEAR = 0.9
"""Cosine of 25.8 degrees."""


def table(
    vectors: list[list[float] | None],
    videos: list[str] | None = None,
    scores: list[float] | None = None,
    topics: list[str | None] | None = None,
    model: str = "m@1",
) -> pa.Table:
    size = len(next(vector for vector in vectors if vector)) if any(vectors) else 2
    kind = pa.list_(pa.float32(), size)
    count = len(vectors)
    columns = {
        "video": pa.array(videos or ["v"] * count, pa.string()),
        "segment": pa.array([f"s{row:05d}" for row in range(count)], pa.string()),
        "score_fit": pa.array(scores or [None] * count, pa.float64()),
        "label_topic": pa.array(topics or [None] * count, pa.string()),
    }
    field = pa.field("embedding_clip", kind, metadata={"model": model})
    return pa.table(columns).append_column(field, pa.array(vectors, kind))


def reasons(segments: pa.Table, **own: object) -> dict[str, str | None]:
    found = Dedup(Settings(**{"threshold": NEAR, **own})).decide(segments).to_pylist()
    assert [row["segment"] for row in found] == segments["segment"].to_pylist()
    assert all(row["keep"] == (row["reason"] is None) for row in found)
    return {row["segment"]: row["reason"] for row in found}


@given(CORNERS, st.sampled_from(["", "video", "topic"]), st.integers(1, 7), st.randoms())
def test_what_goes_has_a_better_twin_and_what_stays_has_none(
    clips: list[tuple[float, str, str | None]], within: str, block: int, random: object
) -> None:
    angles = [angle for angle, *_ in clips]
    scores = [round(angle * 7) % 5 / 4 for angle in angles]
    segments = table(
        [[3 * np.cos(angle), 3 * np.sin(angle)] for angle in angles],
        [video for _, video, _ in clips],
        scores,
        [topic for *_, topic in clips],
    )
    with pytest.MonkeyPatch.context() as patch:  # the borders of blocks decide nothing
        patch.setattr(dedup, "BLOCK", block)
        patch.setattr(dedup, "WIDE", 2 * block)
        found = reasons(segments, by="fit", within=within)
    assert found == reasons(segments, by="fit", within=within)

    def rank(row: int) -> tuple[float, str, str]:
        return -scores[row], clips[row][1], f"s{row:05d}"

    def comparable(one: int, other: int) -> bool:
        column = {"video": 1, "topic": 2}.get(within)
        if column is None:
            return True
        return clips[one][column] == clips[other][column] is not None

    def cosine(one: int, other: int) -> float:
        return float(np.cos(angles[one] - angles[other]))

    kept = [row for row in range(len(clips)) if found[f"s{row:05d}"] is None]
    for row in range(len(clips)):
        twins = [o for o in kept if o != row and comparable(row, o)]
        if row in kept:
            assert all(cosine(row, other) < NEAR + 1e-5 for other in twins)
        else:
            better = [o for o in twins if rank(o) < rank(row)]
            assert any(cosine(row, other) > NEAR - 1e-5 for other in better)
    order = list(range(len(clips)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert reasons(segments.take(pa.array(order, pa.int64())), by="fit", within=within) == found


def test_clips_without_a_vector_stay() -> None:
    segments = table([[1.0, 0.0], None, [1.0, 0.01], None])
    assert list(reasons(segments).values()) == [None, None, "near-duplicate", None]
    assert list(reasons(table([None, None])).values()) == [None, None]


def test_clips_near_a_reference_set_go_and_the_overlap_can_be_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    known = rng.normal(size=(400, 32)).astype(np.float32)
    new = rng.normal(size=(300, 32)).astype(np.float32)
    planted = rng.choice(300, 20, replace=False)
    new[planted] = known[rng.choice(400, 20)] + 0.05 * rng.normal(size=(20, 32))
    file = tmp_path / "known.parquet"
    pq.write_table(
        pa.table(
            {"vector": pa.array(known.tolist()), "name": ["clip"] * 400, "model": ["m@1"] * 400}
        ),
        file,
    )
    segments = table(new.tolist())
    for place in (file, tmp_path):
        found = list(reasons(segments, reference=str(place)).values())
        assert {row for row, why in enumerate(found) if why == "near the reference set"} == set(
            planted.tolist()
        )
    before = Dedup(Settings(reference=str(file))).fingerprint()
    file.rename(tmp_path / "other.parquet")
    assert Dedup(Settings(reference=str(tmp_path / "other.parquet"))).fingerprint() == before
    with pytest.raises(ModelError, match="other@2"):
        reasons(table(new.tolist(), model="other@2"), reference=str(tmp_path))
    pq.write_table(pa.table({"x": [1]}), file)
    for wrong in (file, tmp_path / "nothing"):
        with pytest.raises(InputError, match="no reference set"):
            reasons(segments, reference=str(wrong))


def test_ten_thousand_clips_take_seconds() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(10_000, 64)).astype(np.float32)
    vectors[5000:5100] = vectors[:100] + 0.01
    segments = table(vectors.tolist())
    before = process_time()
    assert sum(why is not None for why in reasons(segments).values()) == 100
    assert process_time() - before < 10
