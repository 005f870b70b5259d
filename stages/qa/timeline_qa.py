"""Let a language model ask about a video's timeline; the events it cites give the evidence.

A model that is asked for seconds makes them up. Here it reads numbered events and cites numbers,
and a question inherits the exact spans of the events that prove it, so evidence is as right as the
timeline and lies inside the video always. The reply's form puts events and answer before the
question: what is written first decides what can be asked. For the type `when` the answer is the
cited span itself, in seconds and as a share of the video, behind the model's explanation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.records import Part, Segment
from clipmill.schemas.within import holder_of, joined, relative
from clipmill.stages.media.probe import probed
from clipmill.stages.models.contract import mark_rejected
from clipmill.stages.models.teacher import Request
from clipmill.stages.models.teacher_stage import (
    AskSettings,
    PromptName,
    Question,
    TeacherStage,
    object_schema,
    one_line,
)
from clipmill.stages.score.score_text import title_of

Type = Literal["open", "yes_no", "counting", "order", "causal", "temporal", "when"]
_SEVERAL = ("order", "causal", "temporal")


class Settings(AskSettings):
    """The teacher may be a language model: it is shown no pictures."""

    layer: str = "events"
    """Layer of events, with a text each."""
    role: str = "caption"
    """Role of that text; of several, the last written."""
    prompt: PromptName = "qa_timeline.v1"
    """Prompt by id (qa_timeline.v1, qa_reasoning_when.v1), or the path of a .txt file with the same
    variables."""
    types: tuple[Type, ...] = ("open", "yes_no", "counting", "order", "causal", "temporal")
    """Kinds of questions it may ask."""
    questions: int = Field(default=6, ge=1, le=50)
    """At most so many questions a timeline."""
    events: int = Field(default=30, ge=2, le=500)
    """A longer timeline is asked about in stretches of so many events."""
    title: bool = False
    """Tell the model the video's title."""
    kind: str = Field(default="qa", pattern=r"^[a-z0-9_]+$")
    """Kind of the samples that are written."""
    onto: str = ""
    """Layer whose segment gets a question: the first that holds all its evidence. Empty: the first
    event that is cited, whose own clip shows too little for a question about time."""
    max_tokens: int = Field(default=1024, ge=1)
    """Longer replies are cut off, and rejected for it."""


class TimelineQa(TeacherStage[Settings]):
    """Ask questions about a timeline, with the cited events' spans as evidence."""

    settings: Settings
    needs: ClassVar = {"probe", "segments:{layer}", "texts:{role}"}
    provides: ClassVar = {"samples:{kind}", "labels:rejected_{kind}"}

    def reads(self) -> frozenset[str]:
        onto = {f"segments:{self.settings.onto}"} if self.settings.onto else set()
        return super().reads() | onto

    async def process(self, part: Part) -> Part:
        settings = self.settings
        stretches = {events[0].id: events for events in self._stretches(part)}
        questions: list[Question] = [
            (events[0], self.question(part, events)) for events in stretches.values()
        ]
        answers = await self.answers(
            part,
            questions,
            settings.kind,
            lambda first, value: complaint(value, len(stretches[first.id])),
        )
        for first, value in answers:
            for item in value["questions"]:
                cited = [stretches[first.id][number - 1] for number in sorted(item["events"])]
                self._write(part, cited, item)
        return part

    def question(self, part: Part, events: Sequence[Segment]) -> Request:
        """What the teacher is asked about one stretch of events."""
        settings = self.settings
        lines = [
            f"{number}. {event.span.start_s:.1f}-{event.span.end_s:.1f} s: {self._text(event)}"
            for number, event in enumerate(events, 1)
        ]
        title = one_line(title_of(part.video), 300) if settings.title else ""
        prompt = self.prompt.render(
            language=settings.language,
            questions=settings.questions,
            types=", ".join(f'"{name}"' for name in settings.types),
            context=f"title: {title}" if title else "",
            timeline="\n".join(lines),
        )
        return self.request(
            f"{part.video.id}/{events[0].id}/{self.label}",
            prompt,
            timeline_schema(len(events), settings.questions, settings.types),
        )

    def _stretches(self, part: Part) -> Iterator[list[Segment]]:
        """Events that lie inside the video and say something, in time order, so many at a time."""
        settings = self.settings
        whole = probed(part.video).span.on(MILLISECONDS)
        events = []
        for event in part.video.layer(settings.layer):
            span = event.span.on(MILLISECONDS)
            inside = whole.start <= span.start < span.end <= whole.end
            if inside and event.texts_of(settings.role):
                events.append(event)
        events.sort(key=lambda event: event.span.on(MILLISECONDS).start)
        for start in range(0, len(events), settings.events):
            yield events[start : start + settings.events]

    def _write(self, part: Part, cited: list[Segment], item: dict[str, Any]) -> None:
        settings = self.settings
        evidence = joined([event.span for event in cited])
        holder, whole = cited[0], probed(part.video).span
        if settings.onto:
            found = holder_of(evidence, part.video.layer(settings.onto))
            if found is None:
                mark_rejected(cited[0], settings.kind, "too_wide")
                return
            holder, whole = found, found.span
        answer = one_line(item["answer"])
        if item["type"] == "when":
            times = " and ".join(f"{span.start_s:.1f} to {span.end_s:.1f}" for span in evidence)
            answer = f"From {times} seconds. {answer}"
        holder.add_sample(
            settings.kind,
            one_line(item["question"]),
            answer,
            self.by_model(),
            evidence=evidence,
            sources=[f"{e.id}/{e.texts_of(settings.role)[-1].id}" for e in cited],
            labels={
                "type": item["type"],
                "fact": settings.role,
                "scope": "video",
                "relative": ";".join(relative(span, whole) for span in evidence),
            },
        )

    def _text(self, event: Segment) -> str:
        return one_line(event.texts_of(self.settings.role)[-1].text, 400)


def timeline_schema(events: int, questions: int, types: Sequence[str]) -> dict[str, Any]:
    """The contract of questions about so many events: what proves it first, the question last."""
    text = {"type": "string", "minLength": 1, "maxLength": 400}
    number = {"type": "integer", "minimum": 1, "maximum": events}
    item = object_schema(
        {
            "type": {"enum": list(types)},
            "events": {"type": "array", "items": number, "minItems": 1, "maxItems": 8},
            "answer": text,
            "question": text,
        }
    )
    return object_schema(
        {"questions": {"type": "array", "items": item, "minItems": 1, "maxItems": questions}}
    )


def complaint(value: Any, events: int) -> str | None:
    """What is wrong with questions that keep the schema; None if nothing."""
    asked: set[str] = set()
    for number, item in enumerate(value["questions"]):
        question, answer = one_line(item["question"]), one_line(item["answer"])
        if not question or not answer:
            return f"question {number} is blank"
        if question.casefold() in asked:
            return f"question {number} is asked twice"
        asked.add(question.casefold())
        cited = item["events"]
        if len(set(cited)) < len(cited) or not all(1 <= event <= events for event in cited):
            return f"question {number} must cite events 1 to {events}, each once"
        if item["type"] in _SEVERAL and len(cited) < 2:
            return f"question {number} compares events and must cite them all"
        if item["type"] == "yes_no" and answer not in ("yes", "no"):
            return f"question {number} must be answered yes or no"
        if item["type"] == "counting" and not (answer.isascii() and answer.isdigit()):
            return f"question {number} must be answered with a number"
    return None
