"""Replies land on the clip they belong to or nowhere, whatever a teacher does."""

from __future__ import annotations

import asyncio
import random

import pytest
from fake_teacher import MALFORMED, FakeTeacher, captioned, captions, part_of
from hypothesis import given
from hypothesis import strategies as st

from clipmill.schemas.errors import ReplyMismatch
from clipmill.stages.caption.caption_clip import CaptionClip
from clipmill.stages.models import teacher_stage
from clipmill.stages.models.replies import match
from clipmill.stages.models.teacher import Reply, Request

FATES = st.sampled_from(
    ["right", "lost", "doubled", "late", "malformed", "truncated", "error", "not_a_reply"]
)
NAMES = ("shots-00000", "shots-00001", "shots-00002", "shots-00003", "shots-00004")


def clip_of(request: Request) -> str:
    """Which clip a request is about, told from its pictures and not from its id."""
    return request.images[0].decode().removeprefix("jpeg of ")


def staged(teacher: FakeTeacher) -> CaptionClip:
    stage = CaptionClip(CaptionClip.Settings())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher_stage, "open_teacher", lambda _: teacher)
        stage.setup()
    return stage


@given(
    first=st.dictionaries(st.sampled_from(NAMES), FATES),
    second=st.dictionaries(st.sampled_from(NAMES), FATES),
    malformed=st.sampled_from(MALFORMED),
    foreign=st.lists(
        st.sampled_from(["x/shots-00000/caption", "", "v/shots-00009/caption", "v/shots-00000"]),
        max_size=3,
    ),
    seed=st.integers(0, 99),
)
def test_no_caption_lands_on_another_clip_and_every_clip_is_captioned_or_counted(
    first: dict[str, str], second: dict[str, str], malformed: str, foreign: list[str], seed: int
) -> None:
    rng = random.Random(seed)
    teacher = FakeTeacher(
        right=lambda request: captioned(f"about {clip_of(request)}"),
        fate=lambda request: (second if "~" in request.id else first).get(
            clip_of(request), "right"
        ),
        malformed=lambda _: malformed,
        order=lambda replies: rng.sample(replies, len(replies)),
        foreign=foreign,
    )
    stage = staged(teacher)
    for video in ("v", "w"):  # what comes late for the first video arrives with the second's
        part = asyncio.run(stage.process(part_of(video, 5)))
        for segment in part.video.segments:
            fates = (first.get(segment.id, "right"), second.get(segment.id, "right"))
            reached = "right" in fates
            assert captions(segment) == ([f"about {segment.id}"] if reached else [])
            assert ("rejected_caption" in segment.labels) is not reached


@given(st.lists(st.sampled_from("abcd"), unique=True), st.lists(st.sampled_from("abcdxy")))
def test_matching_partitions_the_requests_and_counts_every_reply(
    asked: list[str], answered: list[str]
) -> None:
    matched = match([Request(name, "?") for name in asked], [Reply(name) for name in answered])
    assert matched.replies.keys() | matched.rejected.keys() == set(asked)
    assert not matched.replies.keys() & matched.rejected.keys()
    for name in asked:
        count = answered.count(name)
        assert (name in matched.replies) == (count == 1)
        assert matched.rejected.get(name) == {0: "lost", 1: None}.get(count, "doubled")
    assert matched.foreign == sum(name not in asked for name in answered)
    assert all(name == reply.id for name, reply in matched.replies.items())


def test_two_requests_with_one_id_are_refused() -> None:
    with pytest.raises(ReplyMismatch, match="'a'"):
        match([Request("a", "?"), Request("a", "!")], [])


def test_a_clip_without_frames_is_counted_and_not_asked_about() -> None:
    teacher = FakeTeacher(lambda request: captioned("seen"))
    part = part_of("v", 2)
    del part.frames["shots-00001"]
    asyncio.run(staged(teacher).process(part))
    assert [captions(segment) for segment in part.video.segments] == [["seen"], []]
    assert part.video.segments[1].labels == {"rejected_caption": "no_frames"}
    assert len(teacher.asked) == 1
