"""Pose what a timeline says as tasks: questions, answers, options, the time that proves them.

Any layer with texts will do (captions, chapters, published events, the pieces of a composed video);
which tasks come of it depends on what is known of its segments. Rules alone, no model: the same
timeline gives the same questions, and all are right where the timeline is. `generate_qa` lets a
model ask, `template_qa` asks about measured facts of one clip.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from clipmill.schemas.clocks import Span, compare
from clipmill.schemas.fingerprints import fingerprint
from clipmill.schemas.records import Part, Segment, Video
from clipmill.stages.asr_text.untrusted import clean_line
from clipmill.stages.qa.scene import Asked, Event, Given, Rated, Scene
from clipmill.stages.qa.task_wording import QUESTIONS, Task, misworded, worded
from clipmill.stages.qa.tasks import asked
from clipmill.stages.qa.times import TimeFormat, Times
from clipmill.stages.stage import Stage, StageSettings

_MAX_TEXT = 500


class Settings(StageSettings):
    layer: str = "pieces"
    """Layer of the events."""
    into: str = "whole"
    """Layer of the clips that are asked about: each gets the questions on the events inside it."""
    tasks: tuple[Task, ...] = ("localisation", "span_caption", "timeline")
    """Tasks to pose, where the timeline decides them; only those that the input's column `tasks`
    lists, where it has one."""
    role: str = "caption"
    """Role of the texts that name an event."""
    rated: str = ""
    """Layer of stretches with a text and a score `rating`, for highlight and summary."""
    questions: str = ""
    """Layer of segments with samples of kind `question`, for question and grounded_question; their
    labels come along."""
    times: TimeFormat = "seconds"
    """How times are told: `12.3 s`, `00:00:12`, `45.2%`, `<45>` of so many bins, `0012.3`, or
    `<time>`, whose numbers are in the labels `src` (of the question) and `tgt` (of the answer). All
    count from the clip's start."""
    bins: int = Field(default=100, ge=2, le=10_000)
    """Bins of a clip, where times are told in them."""
    wordings: dict[Task, tuple[str, ...]] = Field(default_factory=dict)
    """Wordings of one's own for a task, in place of those that come with it, with the same names
    between braces."""
    each: int = Field(default=4, ge=1, le=1000)
    """At most so many questions of one task and clip."""
    distractors: str = "distractors"
    """Column of the input with texts of other videos as a JSON list: wrong options, and what does
    not happen. Texts of the video of role `foreign` are such as well."""
    columns: tuple[str, ...] = ()
    """Columns of the input to be labels of its questions, e.g. `set`, to be mixed by."""
    parted: bool = False
    """Work on parts, so that events found by stages that do can be asked about; events and clips
    that lie in different parts do not meet."""
    seed: int = 0
    """Another seed draws other wordings, options and questions."""

    @model_validator(mode="after")
    def _wordings_fit(self) -> Self:
        if problem := misworded(self.wordings):
            raise ValueError(problem)
        return self


class RecordToTasks(Stage[Settings]):
    """Pose a timeline as tasks with answers, options and time evidence, by rules."""

    settings: Settings
    unit = "video"
    needs = frozenset({"segments:{layer}", "segments:{into}", "texts:{role}"})
    provides = frozenset({"samples:qa"})
    version = 2

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        if settings.parted:
            vars(self).update(unit="part")

    def reads(self) -> frozenset[str]:
        settings = self.settings
        more = {f"segments:{settings.rated}", "scores:rating"} if settings.rated else set()
        if settings.questions:
            more |= {f"segments:{settings.questions}", "samples:question"}
        return super().reads() | more

    def process(self, part: Part) -> Part:
        settings, author, video = self.settings, self.author(), part.video
        events = [_event(segment, settings.role) for segment in video.layer(settings.layer)]
        rated = [
            Rated(segment.span, _text(segment, settings.role)[0], segment.scores["rating"])
            for segment in video.layer(settings.rated)
            if "rating" in segment.scores
        ]
        given = [one for segment in video.layer(settings.questions) for one in _given(segment)]
        wrong = _foreign(video, settings.distractors)
        columns = {name: video.meta[name] for name in settings.columns if video.meta.get(name)}
        meant = set(_listed(video, "tasks")) or set(settings.tasks)
        for segment in video.layer(settings.into):
            rng = random.Random(fingerprint(video.id, segment.id, settings.seed))
            inside = tuple(event for event in events if _inside(event.span, segment.span))
            own = {event.text for event in inside}
            scene = Scene(
                segment.span,
                inside,
                _text(segment, settings.role)[0],
                _text(segment, "contrast")[0],
                tuple(text for text in wrong if text not in own),
                Times(settings.times, settings.bins),
                tuple(clip for clip in rated if _inside(clip.span, segment.span)),
                tuple(one for one in given if _inside(one.span, segment.span)),
            )
            for task in (task for task in settings.tasks if task in meant):
                wordings = settings.wordings.get(task, QUESTIONS[task])
                items = asked(task, scene, rng)
                for item in rng.sample(items, min(len(items), settings.each)):
                    segment.add_sample(
                        "qa",
                        worded(rng.choice(wordings), item.values),
                        item.answer,
                        author,
                        options=list(item.options),
                        evidence=list(item.evidence),
                        sources=list(item.sources),
                        labels=self._labels(item, segment.span) | columns,
                    )
        return part

    def _labels(self, item: Asked, whole: Span) -> dict[str, str]:
        form = "open"
        if item.options:
            form = "yes_no" if set(item.options) == {"yes", "no"} else "choice"
        labels = {"task": item.task, **dict(item.labels)}
        labels |= {"type": form, "fact": "timeline", "scope": "clip"}
        labels["times"] = self.settings.times
        if self.settings.times == "placeholder":
            labels |= {"src": _numbers(item.asks, whole), "tgt": _numbers(item.tells, whole)}
        return labels


def _numbers(spans: Sequence[Span], whole: Span) -> str:
    """Starts and ends in seconds from the clip's start, in the order of their placeholders."""
    ends = (at for span in spans for at in (span.start_s, span.end_s))
    return json.dumps([round(at - whole.start_s, 3) for at in ends])


def _event(segment: Segment, role: str) -> Event:
    text, text_id = _text(segment, role)
    labels = segment.labels
    rank, speed = labels.get("rank", ""), labels.get("speed", "")
    count = labels.get("count", "")
    return Event(
        segment.span,
        text,
        text_id,
        labels.get("role", ""),
        labels.get("source", ""),
        int(rank) if rank.isdecimal() else 0,
        float(speed) if speed else 0.0,
        labels.get("playback", ""),
        labels.get("number", ""),
        labels.get("relation", ""),
        labels.get("relates_to", ""),
        int(count) if count.isdecimal() else 0,
        _boxes(labels.get("boxes", "")),
    )


def _boxes(label: str) -> tuple[tuple[float, ...], ...]:
    """Boxes of a label that is a list of five numbers each in JSON; none where it is not."""
    try:
        return tuple(tuple(map(float, box)) for box in json.loads(label or "[]") if len(box) == 5)
    except (ValueError, TypeError):
        return ()


def _given(segment: Segment) -> list[Given]:
    return [
        Given(
            s.question,
            s.answer,
            tuple(s.options),
            segment.span,
            f"{segment.id}/{s.id}",
            tuple(sorted(s.labels.items())),
        )
        for s in segment.samples
        if s.kind == "question"
    ]


def _text(segment: Segment, role: str) -> tuple[str, str]:
    """The newest text of a role, in one line, and its id."""
    texts = segment.texts_of(role)
    return (clean_line(texts[-1].text, _MAX_TEXT), texts[-1].id) if texts else ("", "")


def _listed(video: Video, column: str) -> list[str]:
    """Texts of a column that is a list in JSON; none where it is not, as strangers' may be."""
    try:
        values = json.loads(video.meta.get(column, "[]"))
    except ValueError:
        return []
    texts = values if isinstance(values, list) else []
    lines = [clean_line(text, _MAX_TEXT) for text in texts if isinstance(text, str)]
    return [line for line in dict.fromkeys(lines) if line]


def _foreign(video: Video, column: str) -> list[str]:
    """Texts that are told of other videos, each once."""
    told = [clean_line(text.text, _MAX_TEXT) for text in video.texts if text.role == "foreign"]
    return list(dict.fromkeys([*_listed(video, column), *filter(None, told)]))


def _inside(span: Span, whole: Span) -> bool:
    return (
        compare(whole.clock, whole.start, span.clock, span.start) <= 0
        and compare(span.clock, span.end, whole.clock, whole.end) <= 0
    )
