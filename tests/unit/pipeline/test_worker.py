"""The engine's promises, on tiny stages in a plain loop: nothing lost, doubled or swapped."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipmill.pipeline.engine.inline_engine import InlineEngine
from clipmill.pipeline.engine.ledger import Ledger, claim
from clipmill.pipeline.engine.parcel import divide
from clipmill.pipeline.engine.plan import Plan
from clipmill.pipeline.engine.reuse import Reuse
from clipmill.pipeline.engine.worker import Job
from clipmill.pipeline.store.store import Store
from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.errors import Conflict, DecoderLost, NoVideo
from clipmill.schemas.profiles import Profile
from clipmill.schemas.records import Part, Video
from clipmill.schemas.shards import video_key
from tests.unit.pipeline.chains import (
    Break,
    Cut,
    CutSettings,
    Say,
    StageSettings,
    chain,
    entry,
    parcel,
    receipts,
    standard,
)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / f"{name}.mp4").write_bytes(name.encode() * 100)
    return folder


def videos(media: Path, **meta: str) -> list[Video]:
    return [
        Video(path.name, str(path), meta={"break": meta.get(path.stem, "")})
        for path in sorted(media.iterdir())
    ]


def annotate(
    plan: Plan, store: Store, inputs: list[Video], reuse: Reuse | None = None
) -> tuple[list[Any], dict[str, Video]]:
    ledger = Ledger(store, plan.final)
    known = ledger.scan()
    parcels = []
    for video in inputs:
        held = known.get(video_key(video.id))
        if held is None:
            parcels.append(parcel(video))
        elif not held.complete:
            parcels.append(parcel(video, held.resume()))
    ended = list(InlineEngine().stream(Job(plan, store, reuse=reuse), parcels))
    whole = {}
    for key, held in ledger.scan().items():
        video = ledger.assemble(key, held)
        if video is not None:
            whole[video.id] = video
    return receipts(ended), whole


def listing(store: Store) -> dict[str, float]:
    """Names of all units and when each was written."""
    return {item.key: item.modified for item in store.list("units/")}


def captions(video: Video) -> dict[str, str]:
    return {s.id: t.text for s in video.segments for t in s.texts_of("caption")}


def test_every_segment_gets_its_own_caption_once(media: Path, tmp_path: Path) -> None:
    _, whole = annotate(chain(*standard(pieces=5)), Store.open(tmp_path / "out"), videos(media))
    assert set(whole) == {"a.mp4", "b.mp4", "c.mp4"}
    for video in whole.values():
        assert captions(video) == {
            f"windows-{n:05d}": f"this is {video.id}/windows-{n:05d}" for n in range(5)
        }
        assert [s.scores["place"] for s in video.segments] == [0.0, 1.0, 2.0, 3.0, 4.0]
        assert [step.stage for step in video.steps] == ["cut", "measure", "say", "tell"]


def test_a_second_run_does_no_work(media: Path, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    plan = chain(*standard())
    annotate(plan, store, videos(media))
    before = listing(store)
    Say.asked.clear()
    ended, _ = annotate(plan, store, videos(media))
    assert ended == [] and Say.asked == [] and listing(store) == before


def test_work_lost_at_any_commit_is_done_again_to_the_same_result(
    media: Path, tmp_path: Path
) -> None:
    store = Store.open(tmp_path / "out")
    plan = chain(*standard(pieces=5))
    _, whole = annotate(plan, store, videos(media))
    names = sorted(listing(store))
    for gone in names:
        store.delete([key for key in names if key >= gone])
        _, again = annotate(plan, store, videos(media))
        assert again == whole, f"after losing everything from {gone}"
        assert sorted(listing(store)) == names


def test_a_teacher_is_not_asked_again_after_its_commit(media: Path, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    plan = chain(*standard())
    _, whole = annotate(plan, store, videos(media))
    store.delete([key for key in listing(store) if key.endswith(f"-{plan.final}.parquet")])
    Say.asked.clear()
    _, again = annotate(plan, store, videos(media))
    assert Say.asked == [] and again == whole


def test_a_teacher_among_the_video_stages_commits_with_the_video(
    media: Path, tmp_path: Path
) -> None:
    class Ask(Cut):
        teacher = True

    class More(Cut):
        provides: ClassVar[set[str]] = {"segments:more"}

        def process(self, part: Part) -> Part:
            part.video.add_segments("more", [Span(MILLISECONDS, 0, 10)])
            return part

    plan = chain(entry(Ask(CutSettings())), entry(More(CutSettings())))
    assert [bool(group.commit) for group in plan.groups] == [False, True, True]
    _, whole = annotate(plan, Store.open(tmp_path / "out"), videos(media))
    assert {s.layer for s in whole["a.mp4"].segments} == {"windows", "more"}
    assert len(whole["a.mp4"].segments) == 5


def test_one_bad_input_is_counted_and_the_others_complete(media: Path, tmp_path: Path) -> None:
    def refuse(part: Part) -> None:
        raise NoVideo("there is no picture in it")

    def surprise(part: Part) -> None:
        raise ZeroDivisionError("1/0")

    Break.actions = {"refuse": refuse, "surprise": surprise}
    stages = [*standard(), entry(Break(StageSettings()))]
    store = Store.open(tmp_path / "out")
    plan = chain(*stages, max_segments=64)
    ended, whole = annotate(plan, store, videos(media, a="refuse", c="surprise"))
    failures = {r.video: r.failure for r in ended}
    assert failures["b.mp4"] is None
    assert failures["a.mp4"] is not None and failures["a.mp4"].kind == "no_video"
    assert failures["c.mp4"] is not None
    assert failures["c.mp4"].kind == "error:ZeroDivisionError"
    assert failures["c.mp4"].stage == "break"
    assert len(whole["b.mp4"].segments) == 4 and whole["a.mp4"].segments == []
    again, _ = annotate(plan, store, videos(media, a="refuse", c="surprise"))
    assert again == []


def test_a_lost_decoder_is_tried_again_then_quarantined(media: Path, tmp_path: Path) -> None:
    tries: list[str] = []

    def lose(part: Part) -> None:
        tries.append(part.name)
        raise DecoderLost("killed by signal 11")

    def lose_once(part: Part) -> None:
        tries.append(part.name)
        if tries.count(part.name) == 1:
            raise DecoderLost("killed by signal 11")

    Break.actions = {"always": lose, "once": lose_once}
    stages = [*standard(), entry(Break(StageSettings()))]
    plan = chain(*stages, max_segments=64)
    ended, whole = annotate(plan, Store.open(tmp_path / "out"), videos(media, a="always", b="once"))
    states = {r.video: r.failure.state if r.failure else "done" for r in ended}
    assert states == {"a.mp4": "quarantined", "b.mp4": "done", "c.mp4": "done"}
    assert tries.count("a.mp4") == 2
    assert len(captions(whole["b.mp4"])) == 4
    assert all(len(s.texts) == 1 for s in whole["b.mp4"].segments), "a retry doubled its texts"


def test_a_missing_file_is_a_counted_failure(media: Path, tmp_path: Path) -> None:
    gone = Video("gone.mp4", str(media / "gone.mp4"))
    ended, _ = annotate(chain(*standard()), Store.open(tmp_path / "out"), [gone])
    assert ended[0].failure is not None and ended[0].failure.state == "failed"
    assert ended[0].failure.stage == "ingest_video"


def test_a_stage_that_loses_a_segment_is_refused(media: Path, tmp_path: Path) -> None:
    def lose(part: Part) -> None:
        part.video.segments.pop()

    Break.actions = {"lose": lose}
    plan = chain(entry(Cut(CutSettings())), entry(Break(StageSettings())), max_segments=64)
    ended, _ = annotate(plan, Store.open(tmp_path / "out"), videos(media, a="lose"))
    failure = next(r.failure for r in ended if r.video == "a.mp4")
    assert failure is not None and failure.kind == "reply_mismatch"


def test_when_spares_the_teacher_and_loosening_it_asks_only_for_what_is_missing(
    media: Path, tmp_path: Path
) -> None:
    tight = Profile.model_validate({"place": {"min": 2}})
    loose = Profile.model_validate({"place": {"min": 1}})
    old = Store.open(tmp_path / "old")
    plan = chain(*standard(when=tight))
    claim(old, plan)
    Say.asked.clear()
    _, whole = annotate(plan, old, videos(media))
    assert sorted(captions(whole["a.mp4"])) == ["windows-00002", "windows-00003"]
    assert len(Say.asked) == 6
    Say.asked.clear()
    new = Store.open(tmp_path / "new")
    plan = chain(*standard(when=loose))
    claim(new, plan)
    _, whole = annotate(plan, new, videos(media), Reuse.of(str(tmp_path / "old")))
    assert sorted(Say.asked) == [f"{v}.mp4/windows-00001" for v in "abc"]
    for video in whole.values():
        assert sorted(captions(video)) == [f"windows-{n:05d}" for n in (1, 2, 3)]
        assert ["words" in s.scores for s in video.segments] == [False, True, True, True]
        assert all(len(s.texts) <= 1 for s in video.segments)


def test_reuse_runs_again_only_what_depends_on_a_change(media: Path, tmp_path: Path) -> None:
    old = Store.open(tmp_path / "old")
    plan = chain(*standard())
    claim(old, plan)
    _, first = annotate(plan, old, videos(media))
    reuse = Reuse.of(str(tmp_path / "old"))

    Say.asked.clear()
    plan = chain(*standard(factor=2.0))  # a score changes: no caption depends on it
    _, whole = annotate(plan, Store.open(tmp_path / "score"), videos(media), reuse)
    assert Say.asked == []
    assert captions(whole["b.mp4"]) == captions(first["b.mp4"])
    assert [s.scores["place"] for s in whole["b.mp4"].segments] == [0.0, 2.0, 4.0, 6.0]

    plan = chain(*standard(words="I see the"))  # a prompt changes: captions and what needs them
    _, whole = annotate(plan, Store.open(tmp_path / "prompt"), videos(media), reuse)
    assert len(Say.asked) == 12
    assert captions(whole["b.mp4"])["windows-00001"] == "I see the b.mp4/windows-00001"
    assert all(s.scores["words"] == 4 for s in whole["b.mp4"].segments)

    (media / "b.mp4").write_bytes(b"something else")  # an input changes: nothing of it is reused
    Say.asked.clear()
    annotate(chain(*standard()), Store.open(tmp_path / "input"), videos(media), reuse)
    assert sorted(Say.asked) == [f"b.mp4/windows-{n:05d}" for n in range(4)]


def test_an_output_refuses_another_recipe_and_names_the_stage(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "out")
    claim(store, chain(*standard()))
    claim(store, chain(*standard()))
    with pytest.raises(Conflict, match="say"):
        claim(store, chain(*standard(words="other")))


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    starts=st.lists(st.integers(0, 1000), max_size=60),
    parents=st.data(),
    cap=st.integers(1, 9),
)
def test_dividing_keeps_every_segment_once_in_time_order(
    starts: list[int], parents: st.DataObject, cap: int
) -> None:
    video = Video("v", "v.mp4")
    video.add_segments("shots", [Span(MILLISECONDS, s, s + 10) for s in starts])
    for segment in video.segments[1:]:
        if parents.draw(st.booleans()):
            segment.parent = video.segments[0].id
    parts = divide(video, cap)
    seen = [segment.id for part in parts for segment in part.video.segments]
    assert sorted(seen) == sorted(segment.id for segment in video.segments)
    assert all(0 < len(part.video.segments) <= cap for part in parts)
    assert [part.index for part in parts] == list(range(len(parts)))
    assert all(part.total == len(parts) for part in parts)
