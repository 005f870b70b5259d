"""Let a language model ask along a video, stop after stop, knowing the past and not what comes.

A model that is shown a whole timeline asks with hindsight, and forgets what it has asked. Here it
goes through the events in runs: at each stop it reads the earlier events, the new ones and the
conversation so far, and asks about what is new, so questions form chains and may reach back to
earlier chains (`link`). A question may have several answers that follow one another as the video
changes; each cites the events that prove it and inherits their spans. As in `timeline_qa` no model
ever writes seconds. Stops of one video wait for one another, those of several go abreast; a stop
whose reply is refused twice is counted and adds nothing to the conversation.

Sources: answers at several times of MMDuet (Wang et al. 2024), replies at changes of state of
VideoLLM-online (Chen et al. 2024), linked chains of SVBench (Yang et al. 2025).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

from pydantic import Field

from clipmill.schemas.records import Part, Segment
from clipmill.schemas.within import holder_of, joined
from clipmill.stages.models.teacher import Request
from clipmill.stages.models.teacher_stage import (
    AskSettings,
    PromptName,
    TeacherStage,
    object_schema,
    one_line,
)
from clipmill.stages.score.score_text import title_of

_LONGEST = 400  # characters of an event, a question or an answer


class Settings(AskSettings):
    """The teacher may be a language model: it is shown no pictures."""

    layer: str = "events"
    """Layer of events, with a text each."""
    role: str = "caption"
    """Role of that text; of several, the last written."""
    onto: str = "whole"
    """Layer whose segments are gone through one by one and get the questions."""
    prompt: PromptName = "qa_stream.v1"
    """Prompt by id, or the path of a .txt file with the same variables."""
    events: int = Field(default=5, ge=1, le=100)
    """New events at a stop."""
    memory: int = Field(default=20, ge=0, le=500)
    """So many earlier events are shown again."""
    turns: int = Field(default=8, ge=0, le=100)
    """So many of the last questions are shown again."""
    questions: int = Field(default=3, ge=1, le=50)
    """At most so many questions a stop."""
    answers: int = Field(default=1, ge=1, le=20)
    """At most so many answers a question."""
    title: bool = False
    """Tell the model the video's title."""
    kind: str = Field(default="qa", pattern=r"^[a-z0-9_]+$")
    """Kind of the samples that are written, one an answer. Labels: thread (answers of one question
    share it), step, chain (the stop), link (stops of earlier events that it needs)."""
    max_tokens: int = Field(default=1536, ge=1)
    """Longer replies are cut off, and rejected for it."""


@dataclass(slots=True)
class Walk:
    """One segment on its way: its events, where it has got to, and the conversation so far."""

    onto: Segment
    events: list[Segment]
    at: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Stop:
    """Events that are shown, numbered from `first_shown`; the new ones begin at `first`."""

    shown: list[Segment]
    first_shown: int
    first: int

    @property
    def last(self) -> int:
        return self.first_shown + len(self.shown) - 1

    def event(self, number: int) -> Segment:
        return self.shown[number - self.first_shown]


class StreamQa(TeacherStage[Settings]):
    """Ask along a timeline with the past and the conversation as state, by a language model."""

    settings: Settings
    needs: ClassVar = {"segments:{layer}", "segments:{onto}", "texts:{role}"}
    provides: ClassVar = {"samples:{kind}", "labels:rejected_{kind}"}

    async def process(self, part: Part) -> Part:
        walks = list(self._walks(part))
        if getattr(self.model, "one_by_one", False):
            await asyncio.gather(*(self._walk(part, [walk]) for walk in walks))
        else:
            await self._walk(part, walks)
        return part

    def _walks(self, part: Part) -> Iterator[Walk]:
        """The events that lie within each segment, in the order in which they end."""
        told = [s for s in part.video.layer(self.settings.layer) if s.texts_of(self.settings.role)]
        told.sort(key=lambda event: (event.span.end_s, event.span.start_s, event.id))
        for onto in part.video.layer(self.settings.onto):
            events = [event for event in told if holder_of([event.span], [onto])]
            if events:
                yield Walk(onto, events)

    async def _walk(self, part: Part, walks: Sequence[Walk]) -> None:
        """Take the stops of several walks, one of each per round."""
        while going := {walk.onto.id: walk for walk in walks if walk.at < len(walk.events)}:
            answers = await self.answers(
                part,
                [(walk.onto, self.question(part, walk)) for walk in going.values()],
                self.settings.kind,
                partial(self._complaint, going),
            )
            for onto, value in answers:
                self._write(going[onto.id], value["questions"])
            for walk in going.values():
                walk.at += self.settings.events

    def _complaint(self, going: dict[str, Walk], onto: Segment, value: Any) -> str | None:
        walk = going[onto.id]
        return complaint(value, self._stop(walk), walk.asked)

    def _stop(self, walk: Walk) -> Stop:
        begin = max(0, walk.at - self.settings.memory)
        shown = walk.events[begin : walk.at + self.settings.events]
        return Stop(shown, begin + 1, walk.at + 1)

    def question(self, part: Part, walk: Walk) -> Request:
        """What the teacher is asked at a walk's next stop."""
        settings, stop = self.settings, self._stop(walk)
        lines = [
            f"{number}. {one_line(event.texts_of(settings.role)[-1].text, _LONGEST)}"
            for number, event in enumerate(stop.shown, stop.first_shown)
        ]
        new = stop.first - stop.first_shown
        said = walk.asked[-settings.turns :] if settings.turns else []
        title = one_line(title_of(part.video), 300) if settings.title else ""
        prompt = self.prompt.render(
            language=settings.language,
            questions=settings.questions,
            answers=settings.answers,
            first=stop.first,
            last=stop.last,
            context=f"title: {title}" if title else "",
            before="\n".join(lines[:new]),
            timeline="\n".join(lines[new:]),
            asked="\n".join(_said(item) for item in said),
        )
        return self.request(
            f"{part.video.id}/{walk.onto.id}/{self.label}/{stop.first}",
            prompt,
            stream_schema(stop, settings.questions, settings.answers),
        )

    def _write(self, walk: Walk, items: list[dict[str, Any]]) -> None:
        settings, stop = self.settings, self._stop(walk)
        for number, item in enumerate(items):
            walk.asked.append(item)
            cited = sorted({n for answer in item["answers"] for n in answer["events"]})
            old = {(n - 1) // settings.events + 1 for n in cited if n < stop.first}
            for step, answer in enumerate(item["answers"], 1):
                events = [stop.event(n) for n in sorted(answer["events"])]
                walk.onto.add_sample(
                    settings.kind,
                    one_line(item["question"]),
                    one_line(answer["answer"]),
                    self.by_model(),
                    evidence=joined([event.span for event in events]),
                    sources=[f"{e.id}/{e.texts_of(settings.role)[-1].id}" for e in events],
                    labels={
                        "type": "open",
                        "fact": settings.role,
                        "scope": "video",
                        "thread": f"{walk.onto.id}/{stop.first}/{number}",
                        "step": str(step),
                        "chain": str(walk.at // settings.events + 1),
                        "link": ",".join(map(str, sorted(old))),
                    },
                )


def stream_schema(stop: Stop, questions: int, answers: int) -> dict[str, Any]:
    """The contract of a stop's questions: what proves an answer first, the question last."""
    text = {"type": "string", "minLength": 1, "maxLength": _LONGEST}
    number = {"type": "integer", "minimum": stop.first_shown, "maximum": stop.last}
    answer = object_schema(
        {
            "events": {"type": "array", "items": number, "minItems": 1, "maxItems": 8},
            "answer": text,
        }
    )
    item = object_schema(
        {
            "answers": {"type": "array", "items": answer, "minItems": 1, "maxItems": answers},
            "question": text,
        }
    )
    return object_schema(
        {"questions": {"type": "array", "items": item, "minItems": 1, "maxItems": questions}}
    )


def complaint(value: Any, stop: Stop, before: Sequence[dict[str, Any]]) -> str | None:
    """What is wrong with questions that keep the schema; None if nothing."""
    asked = {one_line(item["question"]).casefold() for item in before}
    for number, item in enumerate(value["questions"], 1):
        question = one_line(item["question"]).casefold()
        answers = [one_line(answer["answer"]).casefold() for answer in item["answers"]]
        if not question or not all(answers):
            return f"question {number} or an answer of it is blank"
        if question in asked:
            return f"question {number} has been asked before"
        asked.add(question)
        if any(answer in question for answer in answers):
            return f"question {number} gives its answer away"
        cited = [answer["events"] for answer in item["answers"]]
        if any(len(set(events)) < len(events) for events in cited):
            return f"question {number} cites an event twice for one answer"
        if not all(stop.first_shown <= n <= stop.last for events in cited for n in events):
            return f"question {number} must cite events {stop.first_shown} to {stop.last}"
        if all(n < stop.first for events in cited for n in events):
            return f"question {number} needs none of the new events {stop.first} to {stop.last}"
        if any(max(a) >= max(b) for a, b in pairwise(cited)):
            return f"each answer of question {number} must rest on later events than the last"
        if any(a == b for a, b in pairwise(answers)):
            return f"two answers of question {number} that follow each other say the same"
    return None


def _said(item: dict[str, Any]) -> str:
    answers = " / ".join(one_line(answer["answer"], _LONGEST) for answer in item["answers"])
    return f"{one_line(item['question'], _LONGEST)} - {answers}"
