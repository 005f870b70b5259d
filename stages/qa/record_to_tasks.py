"""Pose what a timeline says as tasks: questions, answers, options, the time that proves them.

Any layer with texts will do (captions, chapters, the pieces of a composed video); which tasks come
of it depends on what is known of its segments. Rules alone, no model: the same timeline gives the
same questions, and all are right where the timeline is. `generate_qa` lets a model ask,
`template_qa` asks about measured facts of one clip.
"""

from __future__ import annotations

import json
import random

from pydantic import Field

from clipmill.schemas.clocks import Span, compare
from clipmill.schemas.fingerprints import fingerprint
from clipmill.schemas.records import Part, Segment, Video
from clipmill.stages.asr_text.untrusted import clean_line
from clipmill.stages.qa.timeline_tasks import (
    QUESTIONS,
    Asked,
    Event,
    Scene,
    Task,
    TimeFormat,
    asked,
)
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
    times: TimeFormat = "seconds"
    """How times are told: `12.3 s`, `00:00:12`, `45.2%`, `<45>` of a hundred bins, or `<time>`,
    whose numbers are those of the evidence, in its order. All count from the clip's start."""
    each: int = Field(default=4, ge=1, le=100)
    """At most so many questions of one task and clip."""
    distractors: str = "distractors"
    """Column of the input with texts of other videos as a JSON list: wrong options."""
    parted: bool = False
    """Work on parts, so that events found by stages that do can be asked about; events and clips
    that lie in different parts do not meet."""
    seed: int = 0
    """Another seed draws other wordings, options and questions."""


class RecordToTasks(Stage[Settings]):
    """Pose a timeline as tasks with answers, options and time evidence, by rules."""

    settings: Settings
    unit = "video"
    needs = frozenset({"segments:{layer}", "segments:{into}", "texts:{role}"})
    provides = frozenset({"samples:qa"})

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        if settings.parted:
            vars(self).update(unit="part")

    def process(self, part: Part) -> Part:
        settings, author = self.settings, self.author()
        events = [_event(segment, settings.role) for segment in part.video.layer(settings.layer)]
        wrong = _listed(part.video, settings.distractors)
        meant = set(_listed(part.video, "tasks")) or set(settings.tasks)
        for segment in part.video.layer(settings.into):
            rng = random.Random(fingerprint(part.video.id, segment.id, settings.seed))
            inside = tuple(event for event in events if _inside(event.span, segment.span))
            own = {event.text for event in inside}
            scene = Scene(
                segment.span,
                inside,
                _text(segment, settings.role)[0],
                _text(segment, "contrast")[0],
                tuple(text for text in wrong if text not in own),
                settings.times,
            )
            for task in (task for task in settings.tasks if task in meant):
                items = asked(task, scene, rng)
                for item in rng.sample(items, min(len(items), settings.each)):
                    segment.add_sample(
                        "qa",
                        rng.choice(QUESTIONS[task]).format_map(item.values),
                        item.answer,
                        author,
                        options=list(item.options),
                        evidence=list(item.evidence),
                        sources=list(item.sources),
                        labels=self._labels(item),
                    )
        return part

    def _labels(self, item: Asked) -> dict[str, str]:
        form = "open"
        if item.options:
            form = "yes_no" if set(item.options) == {"yes", "no"} else "choice"
        labels = {"task": item.task, "type": form, "fact": "timeline", "scope": "clip"}
        return labels | {"times": self.settings.times}


def _event(segment: Segment, role: str) -> Event:
    text, text_id = _text(segment, role)
    labels = segment.labels
    rank, speed = labels.get("rank", ""), labels.get("speed", "")
    return Event(
        segment.span,
        text,
        text_id,
        labels.get("role", ""),
        labels.get("source", ""),
        int(rank) if rank.isdecimal() else 0,
        float(speed) if speed else 0.0,
        labels.get("playback", ""),
    )


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


def _inside(span: Span, whole: Span) -> bool:
    return (
        compare(whole.clock, whole.start, span.clock, span.start) <= 0
        and compare(span.clock, span.end, whole.clock, whole.end) <= 0
    )
