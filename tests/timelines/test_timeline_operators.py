"""Events written from pictures, places that agree, and hidden events: contracts and bad replies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from narrated import Eye
from narrator import part_at

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Author, Frame, Part, Segment, Video
from clipmill.stages.compose.truth import Truth
from clipmill.stages.frames.sample_frames import SampleFrames
from clipmill.stages.frames.sample_frames import Settings as Frames
from clipmill.stages.ground.agree_spans import AgreeSpans
from clipmill.stages.ground.agree_spans import Settings as Agree
from clipmill.stages.ground.write_timeline import Settings as Timeline
from clipmill.stages.ground.write_timeline import WriteTimeline
from clipmill.stages.models import encoder_stage, teacher_stage
from clipmill.stages.models.identity import ModelIdentity
from clipmill.stages.models.teacher import Reply, Request
from clipmill.stages.models.teacher_settings import TeacherSettings
from clipmill.stages.qa.mask_events import MaskEvents, shared_words
from clipmill.stages.qa.mask_events import Settings as Mask
from clipmill.stages.split.merge_segments import MergeSegments
from clipmill.stages.split.merge_segments import Settings as Merge
from clipmill.stages.split.split_uniform import Settings as Windows
from clipmill.stages.split.split_uniform import SplitUniform
from clipmill.stages.stage import Stage


class Says:
    """A model at the edge that says what the test plants, by request."""

    identity = ModelIdentity("says", "1")
    settings = TeacherSettings()

    def __init__(self, says: Callable[[Request], Any]) -> None:
        self.says = says
        self.asked: list[Request] = []

    def setup(self) -> None: ...

    def close(self) -> None: ...

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        self.asked += requests
        return [Reply(r.id, json.dumps(self.says(r))) for r in requests][::-1]


def done(stage: Stage[Any], part: Part, teacher: Says, monkeypatch: pytest.MonkeyPatch) -> Part:
    monkeypatch.setattr(teacher_stage, "open_teacher", lambda _: teacher)
    stage.setup()
    result = stage.process(part)
    return result if isinstance(result, Part) else asyncio.run(result)


def watched(*events: tuple[float, float, str]) -> Any:
    return {"events": [{"start": a, "end": b, "text": text} for a, b, text in events]}


def clip(start: float, end: float) -> Part:
    video = Video("v", "v.mp4")
    video.add_segments("clips", [Span.of_seconds(start, end)])
    frames = [Frame(MILLISECONDS, round(start * 1000) + 500, b"jpeg", 1, 1)]
    return Part(video, frames={"clips-00000": frames})


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        (watched((10, 14, "one"), (14, 20.4, "two")), None),
        (watched((10, 14, "one"), (13, 20, "two")), None),  # overlaps are for check_timeline
        (watched((5, 14, "one")), "off_contract"),
        (watched((10, 25, "one")), "off_contract"),
        (watched((14, 14, "one")), "off_contract"),
        (watched((14, 20, "one"), (10, 14, "two")), "off_contract"),
        (watched((10, 14, " ")), "off_contract"),
        ({"events": [{"start": 10, "text": "one"}]}, "off_schema"),
    ],
)
def test_times_that_make_no_sense_are_refused(
    events: Any, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = done(WriteTimeline(Timeline()), clip(10, 20), Says(lambda _: events), monkeypatch)
    [own] = part.video.layer("clips")
    assert own.labels.get("rejected_caption") == reason
    made = part.video.layer("events")
    assert len(made) == (0 if reason else 2)
    assert all(own.span.overlap_s(e.span) == e.span.duration_s for e in made)  # cut at the clip
    assert all(event.parent == own.id for event in made)


def placed(video: Video, layer: str, event: str, start: float, end: float) -> None:
    segment = Segment(f"{layer}-{event}", layer, Span.of_seconds(start, end), parent="clips-00000")
    segment.add_text("caption", event, Author("test"), sources=[f"events-{event}/caption:x:0"])
    video.segments.append(segment)


def test_places_agree_by_their_overlap_and_what_one_did_not_place_stays_out() -> None:
    video = Video("v", "v.mp4")
    placed(video, "a", "run", 0, 4)
    placed(video, "b", "run", 2, 6)
    placed(video, "c", "run", 0, 8)
    placed(video, "a", "jump", 6, 9)
    placed(video, "b", "jump", 6, 9)
    AgreeSpans(Agree(layers=("a", "b", "c"))).process(Part(video))
    [agreed] = video.layer("agreed")
    assert (agreed.id, agreed.parent) == ("agreed-run", "clips-00000")
    assert (agreed.span.start_s, agreed.span.end_s) == (0, 6)  # medians
    assert agreed.scores["agreement"] == pytest.approx((2 / 6 + 4 / 8 + 4 / 8) / 3)
    assert [source.split("/")[0] for source in agreed.texts[0].sources] == [
        "a-run",
        "b-run",
        "c-run",
    ]


def timeline(events: Sequence[str]) -> Part:
    video = Video("v", "v.mp4")
    video.add_segments("clips", [Span.of_seconds(0, 60)])
    spans = [Span.of_seconds(n * 2, n * 2 + 2) for n in range(len(events))]
    video.add_segments("timeline", spans, parent="clips-00000")
    for segment, text in zip(video.layer("timeline"), events, strict=True):
        segment.add_text("caption", text, Author("test"))
    return Part(video)


TOLD = ["eggs are broken", "milk is poured in", "all of it is stirred", "the pan is heated"]


def test_a_hidden_event_is_not_shown_and_the_answer_is_the_true_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = {"reasoning": "something follows", "event": "milk is drunk"}
    teacher = Says(lambda _: wrong)
    part = done(MaskEvents(Mask(share=1.0, around=2)), timeline(TOLD), teacher, monkeypatch)
    [own] = part.video.layer("clips")
    assert [sample.answer for sample in own.samples] == TOLD
    for event, request, sample in zip(
        part.video.layer("timeline"), teacher.asked, own.samples, strict=True
    ):
        assert sample.answer not in request.prompt and sample.answer not in sample.question
        assert sample.evidence == [event.span] and sample.labels["inferred"] == "milk is drunk"
        assert event.texts_of("reasoning")[0].text == "something follows"
        assert event.scores["reasoning_hit"] == shared_words(sample.answer, "milk is drunk")
    # Two events on either side are shown, no more.
    assert TOLD[3] not in teacher.asked[0].prompt and TOLD[2] in teacher.asked[0].prompt
    assert part.video.layer("timeline")[1].scores["reasoning_hit"] == pytest.approx(4 / 7)


def test_two_events_hide_nothing_and_silence_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = Says(lambda _: {"reasoning": " ", "event": "x"})
    short = done(MaskEvents(Mask()), timeline(TOLD[:2]), silent, monkeypatch)
    assert not silent.asked and not short.video.layer("clips")[0].samples
    part = done(MaskEvents(Mask(share=0.25)), timeline(TOLD), silent, monkeypatch)
    marks = [event.labels for event in part.video.layer("timeline") if event.labels]
    assert marks == [{"rejected_reasoning": "off_contract"}]
    assert not part.video.layer("clips")[0].samples


def test_windows_of_a_second_are_stitched_to_the_clips_they_were_cut_from(
    videos: list[tuple[Path, Truth]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_stage, "open_encoder", lambda _: Eye())
    found = {"windows": 0, "merged": 0}
    for path, truth in videos[:3]:
        part = SplitUniform(Windows(window_s=1.0)).process(part_at(path))
        frames = Frames(layer="windows", policy="first-middle-last", max_side=112)
        part = SampleFrames(frames).process(part)
        # Two of three slots may be the same in neighbours: a distance of 0.8.
        stage = MergeSegments(Merge(layer="windows", stitch=0.5, transition=0.5, gap_s=0.9))
        stage.setup()
        part = stage.process(part)
        for layer in found:
            found[layer] += sum(
                any(
                    s.span.iou(Span.of_seconds(scene.start_s, scene.end_s)) >= 0.5
                    for s in part.video.layer(layer)
                )
                for scene in truth.scenes
            )
    total = sum(len(truth.scenes) for _, truth in videos[:3])
    # The eye takes a thing that turns for another shape now and then, which parts a clip.
    assert found["merged"] >= 0.75 * total and found["windows"] <= 0.1 * total, (found, total)
