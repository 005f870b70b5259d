"""Hide one event of a timeline and let a language model infer it from what stands around it.

Where an event follows from its neighbours, telling how teaches a reader of videos cause and order:
the fill-in task of TEMPURA (Cheng et al. 2025). The model sees the timeline with a gap and must say
first why, then what. The sample's answer is the event that was really there, never the guess; how
many words the guess shares with it is a score, so that a profile can leave out reasoning that led
elsewhere. Samples belong to the clip whose events they are (the events' parent), so that they are
packed with it; to the event itself where it has none.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from clipmill.schemas.fingerprints import fingerprint
from clipmill.schemas.records import Part, Segment
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

_WORD = re.compile(r"[^\W_]+")


class Settings(AskSettings):
    """The teacher may be a language model: it is shown no pictures."""

    layer: str = "timeline"
    """Layer of the events."""
    source_role: str = "caption"
    """Role of their text."""
    role: str = Field(default="reasoning", pattern=r"^[a-z0-9_]+$")
    """Role of the text that says why, on the event that was hidden; score ROLE_hit with it."""
    prompt: PromptName = "mask_events.v1"
    """Prompt by id, or the path of a .txt file with the same variables."""
    share: float = Field(default=0.3, gt=0, le=1)
    """Share of a timeline's events that are hidden, one at a time; at least one."""
    around: int = Field(default=8, ge=1)
    """So many events before and after are shown."""
    max_chars: int = Field(default=1200, ge=10)
    """Longer reasoning breaks the contract."""


class MaskEvents(TeacherStage[Settings]):
    """Ask for a hidden event of a timeline, with reasons, as a fill-in sample."""

    settings: Settings
    needs = frozenset({"segments:{layer}", "texts:{source_role}"})
    provides = frozenset(
        {"samples:fill_in", "texts:{role}", "scores:{role}_hit", "labels:rejected_{role}"}
    )

    async def process(self, part: Part) -> Part:
        settings = self.settings
        clips = {segment.id: segment for segment in part.video.segments}
        shown: dict[str, str] = {}
        questions: list[Question] = []
        for events in self._timelines(part):
            rng = random.Random(fingerprint(part.video.id, events[0].id, settings.seed))
            hidden = rng.sample(range(len(events)), max(1, round(settings.share * len(events))))
            for place in sorted(hidden):
                event = events[place]
                shown[event.id] = self._with_gap(events, place)
                questions.append((event, self.question(part, event, shown[event.id])))
        for event, value in await self.answers(part, questions, settings.role, _complaint):
            self._write(event, clips.get(event.parent or "", event), shown[event.id], value)
        return part

    def _timelines(self, part: Part) -> list[list[Segment]]:
        """The events of each clip in time order, where enough stand around a gap."""
        found: dict[str | None, list[Segment]] = {}
        for event in part.video.layer(self.settings.layer):
            if event.texts_of(self.settings.source_role):
                found.setdefault(event.parent, []).append(event)
        for events in found.values():
            events.sort(key=lambda event: (event.span.start_s, event.id))
        return [events for events in found.values() if len(events) >= 3]

    def question(self, part: Part, event: Segment, lines: str) -> Request:
        """What the teacher is asked about one hidden event."""
        settings = self.settings
        title = one_line(title_of(part.video), 300)
        prompt = self.prompt.render(
            language=settings.language, context=f"title: {title}" if title else "", events=lines
        )
        reason = {"type": "string", "minLength": 1, "maxLength": settings.max_chars}
        return self.request(
            f"{part.video.id}/{event.id}/{settings.role}",
            prompt,
            object_schema({"reasoning": reason, "event": {**reason, "maxLength": 600}}),
        )

    def _with_gap(self, events: Sequence[Segment], hidden: int) -> str:
        around = self.settings.around
        first = max(0, hidden - around)
        return "\n".join(
            f"{event.span.start_s:.1f}-{event.span.end_s:.1f}: "
            + ("[hidden]" if first + n == hidden else self._said(event))
            for n, event in enumerate(events[first : hidden + around + 1])
        )

    def _said(self, event: Segment) -> str:
        return one_line(event.texts_of(self.settings.source_role)[-1].text)

    def _write(self, event: Segment, clip: Segment, lines: str, value: dict[str, str]) -> None:
        settings, author = self.settings, self.by_model()
        source = event.texts_of(settings.source_role)[-1]
        reason = event.add_text(
            settings.role,
            one_line(value["reasoning"]),
            author,
            language=settings.language,
            sources=[source.id],
        )
        hit = shared_words(value["event"], source.text)
        event.scores[f"{settings.role}_hit"] = hit
        clip.add_sample(
            "fill_in",
            f"The video goes on like this, with one event hidden:\n{lines}\nWhat is hidden?",
            one_line(source.text),
            author,
            evidence=[event.span],
            sources=[f"{event.id}/{source.id}", f"{event.id}/{reason.id}"],
            labels={"type": "fill_in", "times": "seconds", "inferred": one_line(value["event"])},
        )


def shared_words(a: str, b: str) -> float:
    """F1 of the words of two texts, each word as often as it stands there; 0 to 1."""
    left, right = (Counter(_WORD.findall(text.casefold())) for text in (a, b))
    total = left.total() + right.total()
    return 2 * (left & right).total() / total if total else 0.0


def _complaint(_: Segment, value: Any) -> str | None:
    if not value["reasoning"].strip() or not value["event"].strip():
        return "reasoning and event must not be empty"
    return None
