"""Ask for the same thing in steps: what is it, when does it happen, where in the picture is it.

Whether a model that answers rightly has seen what it speaks of shows when the next question builds
on its answer (V-STaR asks what, then when and where, in both orders). A language model reads the
numbered timeline, picks events and writes the three questions; as in `timeline_qa` it cites the
event and never writes seconds, so the span that answers "when" is the timeline's. Then it is shown
the pictures of that span and marks the thing in each as a box, or says that it is not there. Boxes
are a model's and drafts for people to check; a chain of whose thing no picture has a box is counted
and not written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import Field

from clipmill.schemas.records import Frame, Part, Segment
from clipmill.schemas.within import holder_of, relative
from clipmill.stages.ground.watched import frames_of
from clipmill.stages.media.probe import probed
from clipmill.stages.models.contract import mark_rejected
from clipmill.stages.models.frame_choice import spread
from clipmill.stages.models.prompts import load_prompt
from clipmill.stages.models.teacher import Request
from clipmill.stages.models.teacher_stage import (
    AskSettings,
    PromptName,
    Question,
    TeacherStage,
    object_schema,
    one_line,
)

Order = Literal["what_when_where", "what_where_when"]

SCALE = 1000
"""Models write boxes in thousandths of the picture's sides."""


class Settings(AskSettings):
    layer: str = "events"
    """Layer of events, with a text each."""
    role: str = "caption"
    """Role of that text; of several, the last written."""
    onto: str = ""
    """Layer whose segment gets a chain: the first that holds its event. Empty: the event itself."""
    prompt: PromptName = "qa_chain.v1"
    """How chains are asked for: a prompt by id, or the path of a .txt file with the same
    variables."""
    locate_prompt: PromptName = "locate_thing.v1"
    """How a thing is marked in pictures: a prompt by id, or the path of a .txt file."""
    chains: int = Field(default=3, ge=1, le=50)
    """At most so many chains a timeline."""
    events: int = Field(default=30, ge=1, le=500)
    """A longer timeline is asked about in stretches of so many events."""
    frames_layer: str = "shots"
    """Layer whose frames are marked, those within the event."""
    frames: int = Field(default=6, ge=1)
    """At most so many frames of an event, spread over it."""
    orders: tuple[Order, ...] = Field(default=("what_when_where", "what_where_when"), min_length=1)
    """Orders in which each chain is written."""
    kind: str = Field(default="chain", pattern=r"^[a-z0-9_]+$")
    """Kind of the samples; labels chain, order and step tell which belong together."""
    max_tokens: int = Field(default=1536, ge=1)
    """Longer replies are cut off, and rejected for it."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Three questions about one event, and the frames in which the thing is sought."""

    name: str
    event: Segment
    item: dict[str, Any]
    frames: tuple[Frame, ...]


class ChainQa(TeacherStage[Settings]):
    """Ask what, when and where about one event, each question building on the last."""

    settings: Settings
    needs: ClassVar = {
        "probe", "frames", "segments:{layer}", "segments:{frames_layer}", "texts:{role}",
    }  # fmt: skip
    provides: ClassVar = {"samples:{kind}", "labels:rejected_{kind}"}

    def reads(self) -> frozenset[str]:
        onto = {f"segments:{self.settings.onto}"} if self.settings.onto else set()
        return super().reads() | onto

    def setup(self) -> None:
        super().setup()
        self.locate = load_prompt(self.settings.locate_prompt)

    async def process(self, part: Part) -> Part:
        settings = self.settings
        told = [s for s in part.video.layer(settings.layer) if s.texts_of(settings.role)]
        stretches = {
            told[start].id: told[start : start + settings.events]
            for start in range(0, len(told), settings.events)
        }
        asked: list[Question] = [
            (events[0], self.asking(part, events)) for events in stretches.values()
        ]
        answers = await self.answers(
            part, asked, settings.kind, lambda s, value: complaint(value, len(stretches[s.id]))
        )
        chains = [
            chain
            for first, value in answers
            for chain in self._chains(part, first, value, stretches)
        ]
        marks: list[Question] = [(chain.event, self.locating(chain)) for chain in chains]
        boxes = await self.answers_by_id(part, marks, settings.kind, _box_fault)
        for chain in chains:
            if chain.name in boxes:
                self._write(part, chain, boxes[chain.name]["boxes"])
        return part

    def asking(self, part: Part, events: Sequence[Segment]) -> Request:
        """The question for chains about a stretch of the timeline."""
        settings = self.settings
        lines = [
            f"{number}. {one_line(event.texts_of(settings.role)[-1].text, 400)}"
            for number, event in enumerate(events, 1)
        ]
        return self.request(
            f"{part.video.id}/{events[0].id}/{self.label}/ask",
            self.prompt.render(
                language=settings.language, chains=settings.chains, timeline="\n".join(lines)
            ),
            chain_schema(len(events), settings.chains),
        )

    def locating(self, chain: Chain) -> Request:
        """The question where a chain's thing is in its event's pictures."""
        prompt = self.locate.render(
            count=len(chain.frames), scale=SCALE, thing=one_line(chain.item["thing"])
        )
        return self.request(
            chain.name, prompt, box_schema(len(chain.frames)), [f.jpeg for f in chain.frames]
        )

    def _chains(
        self, part: Part, first: Segment, value: Any, stretches: dict[str, list[Segment]]
    ) -> list[Chain]:
        frames = frames_of(part, self.settings.frames_layer)
        chains = []
        for number, item in enumerate(value["chains"]):
            event = stretches[first.id][item["event"] - 1]
            own = [frame for frame in frames if event.span.contains(frame.clock, frame.tick)]
            if own:
                name = f"{part.video.id}/{event.id}/{self.label}/{number}"
                chains.append(Chain(name, event, item, tuple(spread(own, self.settings.frames))))
            else:
                mark_rejected(event, self.settings.kind, "no_frames")
        return chains

    def _write(self, part: Part, chain: Chain, boxes: list[dict[str, Any]]) -> None:
        settings, event, item = self.settings, chain.event, chain.item
        holder, whole = event, probed(part.video).span
        if settings.onto:
            found = holder_of([event.span], part.video.layer(settings.onto))
            if found is None:
                mark_rejected(event, settings.kind, "too_wide")
                return
            holder, whole = found, found.span
        seen = [
            [round(frame.clock.seconds(frame.tick), 3), *(side / SCALE for side in mark["box"])]
            for mark in sorted(boxes, key=lambda mark: int(mark["picture"]))
            if mark["box"]
            for frame in [chain.frames[mark["picture"] - 1]]
        ]
        if not seen:
            mark_rejected(event, settings.kind, "nowhere")
            return
        span = event.span
        answers = {
            "what": one_line(item["answer"]),
            "when": f"From {span.start_s:.1f} to {span.end_s:.1f} seconds.",
            "where": json.dumps(seen, separators=(",", ":")),
        }
        for order in settings.orders:
            for step, kind in enumerate(order.split("_"), 1):
                holder.add_sample(
                    settings.kind,
                    one_line(item[kind]),
                    answers[kind],
                    self.by_model(),
                    evidence=[span],
                    sources=[f"{event.id}/{event.texts_of(settings.role)[-1].id}"],
                    labels={
                        "type": kind,
                        "chain": chain.name.partition("/")[2],
                        "order": order,
                        "step": str(step),
                        "thing": one_line(item["thing"], 100),
                        "relative": relative(span, whole),
                    },
                )


def chain_schema(events: int, chains: int) -> dict[str, Any]:
    """The contract of chains about so many events: event, thing and answer before the questions."""
    text = {"type": "string", "minLength": 1, "maxLength": 400}
    item = object_schema(
        {
            "event": {"type": "integer", "minimum": 1, "maximum": events},
            **dict.fromkeys(("thing", "answer", "what", "when", "where"), text),
        }
    )
    return object_schema({"chains": {"type": "array", "items": item, "maxItems": chains}})


def box_schema(pictures: int) -> dict[str, Any]:
    """The contract of boxes in so many pictures: left, top, right, bottom, or an empty list."""
    side = {"type": "integer", "minimum": 0, "maximum": SCALE}
    mark = object_schema(
        {
            "picture": {"type": "integer", "minimum": 1, "maximum": pictures},
            "box": {"type": "array", "items": side, "maxItems": 4},
        }
    )
    return object_schema(
        {"boxes": {"type": "array", "items": mark, "minItems": pictures, "maxItems": pictures}}
    )


def complaint(value: Any, events: int) -> str | None:
    """What is wrong with chains that keep the schema; None if nothing."""
    asked: set[str] = set()
    for number, item in enumerate(value["chains"]):
        texts = {
            name: one_line(item[name]) for name in ("thing", "answer", "what", "when", "where")
        }
        if not all(texts.values()):
            return f"chain {number} has a blank text"
        if texts["what"].casefold() in asked:
            return f"chain {number} asks what another has asked"
        asked.add(texts["what"].casefold())
        if not 1 <= item["event"] <= events:
            return f"chain {number} must cite an event from 1 to {events}"
        if texts["answer"].casefold() in texts["what"].casefold():
            return f"the first question of chain {number} gives its answer away"
    return None


def _box_fault(_: Segment, value: Any) -> str | None:
    pictures = [mark["picture"] for mark in value["boxes"]]
    if len(set(pictures)) < len(pictures):
        return "a picture is marked twice"
    for mark in value["boxes"]:
        if box := mark["box"]:
            if len(box) != 4:
                return f"the box of picture {mark['picture']} must have four sides or none"
            if not (box[0] < box[2] and box[1] < box[3]):
                return f"the box of picture {mark['picture']} must be left, top, right, bottom"
    return None
