"""A teacher whose every misbehaviour is chosen by the test."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Literal

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Frame, Part, Segment, Video
from clipmill.stages.models.identity import ModelIdentity
from clipmill.stages.models.teacher import Reply, Request, TeacherSettings, Usage

Fate = Literal["right", "lost", "doubled", "late", "malformed", "truncated", "error", "not_a_reply"]

MALFORMED = (
    "",
    "a red car",
    '{"caption": "cut',
    '{"caption": 7}',
    '{"caption": ""}',
    '{"caption": "  "}',
    '{"caption": "x", "also": 1}',
    '{"caption": "x", "caption": "y"}',
    '{"caption": "\\ud800"}',
    '{"caption": "a\\u0000b"}',
    '["caption"]',
    "null",
    "NaN",
    "[" * 50_000,
    '{"caption": "' + "x" * 200_000 + '"}',
    '{"caption": "one"} {"caption": "two"}',
)


class FakeTeacher:
    """Answers `right(request)` unless `fate(request)` says otherwise, in the order of `order`."""

    identity = ModelIdentity("fake", "1")
    settings = TeacherSettings(model="fake")

    def __init__(
        self,
        right: Callable[[Request], str],
        fate: Callable[[Request], Fate] = lambda _: "right",
        malformed: Callable[[Request], str] = lambda _: MALFORMED[0],
        order: Callable[[list[object]], list[object]] = lambda replies: replies,
        foreign: Sequence[str] = (),
    ) -> None:
        self.right, self.fate, self.malformed = right, fate, malformed
        self.order, self.foreign = order, foreign
        self.asked: list[Request] = []
        self._late: list[Reply] = []

    def setup(self) -> None: ...

    def close(self) -> None: ...

    async def ask(self, requests: Sequence[Request]) -> list[object]:
        replies: list[object] = [*self._late]
        self._late = []
        for request in requests:
            self.asked.append(request)
            reply = Reply(request.id, self.right(request), usage=Usage(10, 5))
            match self.fate(request):
                case "right":
                    replies.append(reply)
                case "lost":
                    pass
                case "doubled":
                    replies += [reply, Reply(request.id, captioned("another clip"))]
                case "late":
                    self._late.append(reply)
                case "malformed":
                    replies.append(Reply(request.id, self.malformed(request)))
                case "truncated":
                    replies.append(Reply(request.id, reply.text, finish_reason="length"))
                case "error":
                    replies.append(Reply(request.id, finish_reason="error", error="out of memory"))
                case "not_a_reply":
                    replies.append({"id": request.id, "text": reply.text})
        replies += [Reply(name, captioned("another clip")) for name in self.foreign]
        return self.order(replies)


def captioned(text: str) -> str:
    return json.dumps({"caption": text})


def part_of(video_id: str, clips: int) -> Part:
    """A part of one-second clips with two frames each."""
    video = Video(video_id, f"{video_id}.mp4")
    video.add_segments(
        "shots", [Span(MILLISECONDS, n * 1000, (n + 1) * 1000) for n in range(clips)]
    )
    frames = {
        segment.id: [
            Frame(MILLISECONDS, segment.span.start + at, b"jpeg of " + segment.id.encode(), 64, 48)
            for at in (250, 750)
        ]
        for segment in video.segments
    }
    return Part(video, frames=frames)


def captions(segment: Segment) -> list[str]:
    return [text.text for text in segment.texts_of("caption")]
