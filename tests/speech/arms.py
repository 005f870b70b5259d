"""The five arms of narration turned to captions, each an item list with errors and ranks.

raw speech <= captions at speech times <= captions at the reader's times <= re-timed <= filtered.
The evaluator looks at other slots than the scorer, and its gallery is the same for every arm.
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from narrated import Eye, caption_of, is_filler, part_of, scene_of

from clipmill.schemas.profiles import Profile
from clipmill.schemas.records import Part, Segment
from clipmill.stages.asr_text.restore_sentences import RestoreSentences
from clipmill.stages.asr_text.restore_sentences import Settings as Sentences
from clipmill.stages.asr_text.transcribe import Settings as Speech
from clipmill.stages.asr_text.transcribe import Transcribe
from clipmill.stages.compose.render_synthetic import RenderedVideo
from clipmill.stages.compose.truth import Truth
from clipmill.stages.filter.filter_scores import FilterScores
from clipmill.stages.filter.filter_scores import Settings as Filter
from clipmill.stages.frames.sample_frames import SampleFrames
from clipmill.stages.frames.sample_frames import Settings as Frames
from clipmill.stages.ground import ground_text
from clipmill.stages.ground.check_timeline import CheckTimeline
from clipmill.stages.ground.check_timeline import Settings as Timeline
from clipmill.stages.ground.ground_text import GroundText
from clipmill.stages.ground.ground_text import Settings as Grounding
from clipmill.stages.ground.watched import watched
from clipmill.stages.ground.write_events import Settings as Events
from clipmill.stages.ground.write_events import WriteEvents
from clipmill.stages.models import teacher_stage
from clipmill.stages.models.contract import Reply
from clipmill.stages.models.encoder import EncoderSettings
from clipmill.stages.models.identity import ModelIdentity
from clipmill.stages.models.teacher import Request
from clipmill.stages.models.teacher_settings import TeacherSettings
from clipmill.stages.split.split_uniform import Settings as Windows
from clipmill.stages.split.split_uniform import SplitUniform

ARMS = ("raw", "captions", "reader_times", "retimed", "filtered")


@dataclass(frozen=True)
class Item:
    """A text with a span in a video; `scene` is what it is about, None for what is not seen."""

    video: int
    text: str
    start: float
    end: float
    scene: int | None
    filler: bool
    key: str = ""


class Reader:
    """A language model at the edge: keeps what tells of a thing, and one filler in five.

    It reads its prompt alone and gives each caption the second of its line.
    """

    identity = ModelIdentity("reader", "1")

    def setup(self) -> None: ...

    def close(self) -> None: ...

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        replies = []
        for request in requests:
            lines = re.findall(r'^"(\d+\.\d+): (.*)"$', request.prompt, re.MULTILINE)
            events = []
            for second, words in lines:
                text = caption_of(words)
                if text is None and zlib.crc32(words.encode()) % 5 == 0:
                    text = words
                if text is not None:
                    events.append({"time": float(second), "text": text})
            replies.append(Reply(request.id, json.dumps({"events": events})))
        return replies


def annotate(
    video: RenderedVideo,
    monkeypatch: pytest.MonkeyPatch,
    engine: str = "subtitles",
    encoder: str = "",
    teacher: str = "",
) -> Part:
    """The whole chain on one video, stage after stage.

    Without an encoder an eye stands at the edge, without a teacher a reader.
    """
    if not teacher:
        monkeypatch.setattr(teacher_stage, "open_teacher", lambda _: Reader())
    if not encoder:
        monkeypatch.setattr(
            ground_text.GroundText,
            "setup",
            lambda stage: vars(stage).update(encoder=Eye("colour", "backdrop")),
        )
    loaded = EncoderSettings(model=encoder or "embedded")
    part = part_of(video)
    for stage in (
        Transcribe(Speech(engine=engine)),  # type: ignore[arg-type]
        RestoreSentences(Sentences(pause_s=0.3)),
        SplitUniform(Windows(window_s=8.0)),
        # As the recipes' variants have it: the small model mixes up the words of long blocks.
        WriteEvents(
            Events(
                teacher=TeacherSettings(model=teacher or "embedded"),
                block_words=12 if teacher else 200,
            )
        ),
        CheckTimeline(Timeline(into="timeline")),
        SampleFrames(Frames(layer="windows", policy="fps", fps=2, count=16, max_side=128)),
        GroundText(
            Grounding(encoder=loaded, layer="timeline", window_s=2.0, span="grow", prior="start")
        ),
    ):
        stage.setup()
        done = stage.process(part)
        part = done if isinstance(done, Part) else asyncio.run(done)
        stage.close()
    return part


def arms(
    videos: Sequence[RenderedVideo], parts: Sequence[Part], least: float = 0.5
) -> dict[str, list[Item]]:
    """What each arm would train on; `least` is the filter's threshold, the encoder's own."""
    made: dict[str, list[Item]] = {arm: [] for arm in ARMS}
    for number, (video, part) in enumerate(zip(videos, parts, strict=True)):
        truth = video.truth
        spoken = {segment.id: segment for segment in part.video.layer("sentences")}
        for segment in spoken.values():
            text = segment.texts_of("asr")[0].text
            made["raw"].append(item(number, text.casefold(), segment, truth))
        for segment in part.video.layer("events"):
            text = segment.texts_of("caption")[0]
            source = spoken[text.sources[0].split("/")[0]]
            made["captions"].append(item(number, text.text, source, truth))
            made["reader_times"].append(item(number, text.text, segment, truth))
        kept = keep(part.video.layer("grounded"), least)
        for segment in part.video.layer("grounded"):
            found = item(number, segment.texts_of("caption")[0].text, segment, truth)
            made["retimed"].append(found)
            if segment.id in kept:
                made["filtered"].append(found)
    return made


def item(number: int, text: str, segment: Segment, truth: Truth) -> Item:
    span = segment.span
    filler = is_filler(text, truth)
    scene = None if filler else scene_of(text, truth, _said_at(segment, truth, text))
    return Item(number, text, span.start_s, span.end_s, scene, filler, segment.id)


def _said_at(segment: Segment, truth: Truth, text: str) -> float:
    """Where the text was said: a moved segment tells by how much it was moved."""
    return segment.span.start_s - segment.scores.get("grounding_shift_s", 0.0)


def keep(segments: Sequence[Segment], least: float) -> set[str]:
    """What the profile of the arm `filtered` keeps, by the decision that recipes use."""
    names = [segment.id for segment in segments]
    table = pa.table(
        {
            "video": ["v"] * len(names),
            "segment": names,
            "score_grounding": [s.scores["grounding"] for s in segments],
            "label_grounding_nms": [s.labels["grounding_nms"] for s in segments],
        }
    )
    profile = {"grounding": {"min": least}, "grounding_nms": {"in": ["kept"]}}
    verdict = FilterScores(Filter(profile=Profile.model_validate(profile))).decide(table)
    return {row["segment"] for row in verdict.to_pylist() if row["keep"]}


def start_errors(items: Sequence[Item], videos: Sequence[RenderedVideo]) -> np.ndarray:
    """Seconds between an item's start and its scene's, nan for what is about no scene."""
    return np.array(
        [
            np.nan
            if own.scene is None
            else abs(own.start - videos[own.video].truth.scenes[own.scene].start_s)
            for own in items
        ]
    )


def ranks(
    made: dict[str, list[Item]], videos: Sequence[RenderedVideo], parts: Sequence[Part]
) -> dict[str, np.ndarray]:
    """Per arm and item: how many clips of other videos its text finds before its own clip.

    The gallery is every scene of the other videos; a tie counts against the text.
    """
    judge = Eye("colour", "shape")
    lines = [watched(part, "windows", judge) for part in parts]

    def clip(video: int, start: float, end: float) -> np.ndarray:
        times, vectors = lines[video]
        inside = vectors[(times >= start) & (times < max(end, start + 0.5))]
        return inside.mean(0) if len(inside) else np.zeros(vectors.shape[1])

    gallery = [
        (number, clip(number, scene.start_s, scene.end_s))
        for number, video in enumerate(videos)
        for scene in video.truth.scenes
    ]
    found = {}
    for arm, items in made.items():
        texts = judge.texts([own.text for own in items])
        found[arm] = np.array(
            [
                sum(
                    text @ other >= text @ clip(own.video, own.start, own.end)
                    for video, other in gallery
                    if video != own.video
                )
                for own, text in zip(items, texts, strict=True)
            ]
        )
    return found


def interval(
    value: Callable[[np.ndarray], float], videos: int, rounds: int = 1000
) -> tuple[float, float]:
    """95 % bootstrap interval over videos of a figure computed from drawn video numbers."""
    rng = np.random.default_rng(0)
    drawn = [value(rng.integers(0, videos, videos)) for _ in range(rounds)]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True)
class Scored:
    """One arm: its items by video, and how well each is placed and finds its clip."""

    owners: np.ndarray  # video of each item
    away: np.ndarray  # seconds between starts, nan for what is not seen
    rank: np.ndarray

    def start_error(self, drawn: np.ndarray | None = None) -> float:
        return float(np.nanmean(self.away[self._of(drawn)]))

    def recall(self, most: int, drawn: np.ndarray | None = None) -> float:
        return float(np.mean(self.rank[self._of(drawn)] < most))

    def _of(self, drawn: np.ndarray | None) -> np.ndarray:
        if drawn is None:
            return np.arange(len(self.owners))
        return np.concatenate([np.flatnonzero(self.owners == number) for number in drawn])


def scored(
    made: dict[str, list[Item]], videos: Sequence[RenderedVideo], parts: Sequence[Part]
) -> dict[str, Scored]:
    """Start errors and retrieval ranks of every arm."""
    found = ranks(made, videos, parts)
    return {
        arm: Scored(np.array([own.video for own in items]), start_errors(items, videos), found[arm])
        for arm, items in made.items()
    }
