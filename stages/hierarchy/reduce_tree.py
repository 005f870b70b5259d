"""Make one text of a parent from the texts of its children, and say which it rests on.

Used for a clip's timed changes, a video's shots, a film's chapters: they differ in prompt and
layers alone. Children come in numbered, with their times; every sentence that comes out must name
the numbers it rests on, and a number that does not exist is refused, so what a summary claims can
be looked up and a sentence from nowhere is not written. More children than `window` are reduced in
runs first and their results once more, each result standing for all children that it named. A run
that is refused twice refuses its parent: a text that silently lacks an hour is worse than none. So
does a family that was torn because it is larger than `engine.max_segments` (label `torn`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Part, Segment
from clipmill.stages.models.contract import ask, mark_rejected
from clipmill.stages.models.teacher import Request
from clipmill.stages.models.teacher_stage import (
    AskSettings,
    PromptName,
    TeacherStage,
    object_schema,
    one_line,
)
from clipmill.stages.rewrite.llm_rewrite import length_in_words
from clipmill.stages.score.score_text import title_of


class Settings(AskSettings):
    """The teacher may be a language model: it is shown no pictures."""

    layer: str = "shots"
    """Layer of the parents, which get the text."""
    children: str = "changes"
    """Layer of their children, by the children's `parent`."""
    source_roles: tuple[str, ...] = Field(default=("change",), min_length=1)
    """Roles of the children's texts that are read, each on a line of its own; of several texts of
    a role, the last written."""
    role: str = Field(default="dense", pattern=r"^[a-z0-9_:]+$")
    """Role of the text that is written."""
    prompt: PromptName = "reduce_changes.v1"
    """Prompt by id (reduce_changes.v1, reduce_story.v1), or the path of a .txt file with the same
    variables."""
    window: int = Field(default=40, ge=2)
    """Children read at a time."""
    max_words: int = Field(default=200, ge=1)
    """Longer texts break the contract. In scripts without spaces, twice as many letters."""
    max_share: float | None = Field(default=None, gt=0, le=1)
    """Longest text as a share of the words read, where that is less than `max_words`."""
    min_cited: float = Field(default=0.0, ge=0, le=1)
    """Least share of the lines read that must be named as a source."""
    timed_role: str = Field(default="", pattern=r"^[a-z0-9_:]*$")
    """Also write each sentence as a text of this role, with the span of what it rests on."""
    max_tokens: int = Field(default=1024, ge=1)
    """Longer replies are cut off, and rejected for it."""


@dataclass(frozen=True, slots=True)
class Item:
    """What one number of a prompt stands for: texts by kind, and the children behind them."""

    start: float
    end: float
    texts: tuple[tuple[str, str], ...]
    rests_on: tuple[Segment, ...]

    def words(self) -> int:
        return sum(length_in_words(text) for _, text in self.texts)


@dataclass(frozen=True, slots=True)
class Sentence:
    text: str
    rests_on: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """One request's items, and whose they are."""

    name: str
    parent: Segment
    items: tuple[Item, ...]


class ReduceTree(TeacherStage[Settings]):
    """Reduce the texts of children to one text of their parent, with sources."""

    settings: Settings
    needs = frozenset({"segments:{layer}", "segments:{children}"})
    provides = frozenset({"texts:{role}", "labels:rejected_{role}"})

    def reads(self) -> frozenset[str]:
        return super().reads() | {f"texts:{role}" for role in self.settings.source_roles}

    def adds(self) -> frozenset[str]:
        timed = self.settings.timed_role
        return super().adds() | ({f"texts:{timed}"} if timed else frozenset())

    async def process(self, part: Part) -> Part:
        waiting, level = list(self._families(part)), 0
        while waiting:
            runs = [run for family in waiting for run in self._runs(part, *family, level)]
            found = await self._reduced(part, runs)
            below: list[tuple[Segment, list[Item]]] = []
            for parent, items in waiting:
                own = [found.get(run.name) for run in runs if run.parent is parent]
                told = [sentences for sentences in own if sentences is not None]
                if len(told) < len(own):
                    continue  # marked; a text that lacks a run is none
                if len(items) <= self.settings.window:
                    self._write(parent, told[0])
                else:
                    below.append((parent, [_item(sentences) for sentences in told]))
            waiting, level = below, level + 1
        return part

    def _runs(
        self, part: Part, parent: Segment, items: Sequence[Item], level: int
    ) -> Iterator[Run]:
        window, role = self.settings.window, self.settings.role
        for number, at in enumerate(range(0, len(items), window)):
            name = f"{part.video.id}/{parent.id}/{role}/{level}.{number}"
            yield Run(name, parent, tuple(items[at : at + window]))

    async def _reduced(self, part: Part, runs: Sequence[Run]) -> dict[str, list[Sentence]]:
        """Sentences by run; one that failed twice is missing, and its parent marked."""
        by_name = {run.name: run for run in runs}
        answers = await ask(
            self.model,
            [self.question(part, run) for run in runs],
            lambda name, value: self._complaint(by_name[name], value),
        )
        for name, reason in answers.rejected.items():
            mark_rejected(by_name[name].parent, self.settings.role, reason)
        return {
            name: [
                Sentence(one_line(sentence["text"]), _behind(by_name[name], sentence["from"]))
                for sentence in answer.value["sentences"]
            ]
            for name, answer in answers.found.items()
        }

    def _families(self, part: Part) -> Iterator[tuple[Segment, list[Item]]]:
        settings = self.settings
        below: dict[str, list[Item]] = {}
        for child in part.video.layer(settings.children):
            texts = [(role, child.texts_of(role)) for role in settings.source_roles]
            said = tuple((role, one_line(found[-1].text)) for role, found in texts if found)
            if said and child.parent:
                span = child.span
                item = Item(span.start_s, span.end_s, said, (child,))
                below.setdefault(child.parent, []).append(item)
        here = Counter(segment.parent for segment in part.video.segments)
        for parent in part.video.layer(settings.layer):
            if here[parent.id] < parent.scores.get("tree_children", 0):  # as build_tree counted
                mark_rejected(parent, settings.role, "torn")
            elif items := below.get(parent.id):
                items.sort(key=lambda item: (item.start, item.end))
                yield parent, items

    def question(self, part: Part, run: Run) -> Request:
        """What the teacher is asked about one run of children."""
        settings = self.settings
        lines = [
            f"{number} ({item.start:.1f}-{item.end:.1f}) {kind}: {text}"
            for number, item in enumerate(run.items, 1)
            for kind, text in item.texts
        ]
        title = one_line(title_of(part.video), 300)
        prompt = self.prompt.render(
            start=round(run.items[0].start, 1),
            end=round(max(item.end for item in run.items), 1),
            language=settings.language,
            words=self._budget(run),
            context=f"title: {title}" if title else "",
            parts="\n".join(lines),
        )
        return self.request(
            run.name,
            prompt,
            sentences_schema(len(run.items)),
        )

    def _budget(self, run: Run) -> int:
        settings = self.settings
        if settings.max_share is None:
            return settings.max_words
        share = round(settings.max_share * sum(item.words() for item in run.items))
        return max(1, min(settings.max_words, share))

    def _complaint(self, run: Run, value: Any) -> str | None:
        if any(not sentence["text"].strip() for sentence in value["sentences"]):
            return "a sentence is empty"
        words = sum(length_in_words(sentence["text"]) for sentence in value["sentences"])
        if words > self._budget(run):
            return f"it has {words} words, at most {self._budget(run)} are allowed"
        named = {number for sentence in value["sentences"] for number in sentence["from"]}
        missing = [n for n in range(1, len(run.items) + 1) if n not in named]
        if len(named) < self.settings.min_cited * len(run.items):
            return f"it rests on too few lines: nothing is said of {', '.join(map(str, missing))}"
        return None

    def _write(self, parent: Segment, sentences: Sequence[Sentence]) -> None:
        settings = self.settings
        parent.add_text(
            settings.role,
            " ".join(sentence.text for sentence in sentences),
            self.by_model(),
            language=settings.language,
            sources=_once([s for sentence in sentences for s in self._sources(sentence)]),
        )
        if not settings.timed_role:
            return
        for sentence in sentences:
            parent.add_text(
                settings.timed_role,
                sentence.text,
                self.by_model(),
                language=settings.language,
                sources=_once(self._sources(sentence)),
                span=_hull(sentence.rests_on),
            )

    def _sources(self, sentence: Sentence) -> list[str]:
        return [
            f"{child.id}/{found[-1].id}"
            for child in sentence.rests_on
            for role in self.settings.source_roles
            if (found := child.texts_of(role))
        ]


def sentences_schema(items: int) -> dict[str, Any]:
    """The contract: sentences, each with the numbers of what it rests on, of 1 to `items`."""
    numbers = {"type": "integer", "minimum": 1, "maximum": items}
    sentence = object_schema(
        {
            "text": {"type": "string", "minLength": 1, "maxLength": 4000},
            "from": {"type": "array", "items": numbers, "minItems": 1, "maxItems": items},
        }
    )
    return object_schema(
        {"sentences": {"type": "array", "items": sentence, "minItems": 1, "maxItems": 200}}
    )


def _item(sentences: Sequence[Sentence]) -> Item:
    """The result of a run as one item of the next round."""
    children = tuple({c.id: c for sentence in sentences for c in sentence.rests_on}.values())
    text = " ".join(sentence.text for sentence in sentences)
    starts = [child.span.start_s for child in children]
    return Item(min(starts), max(c.span.end_s for c in children), (("summary", text),), children)


def _behind(run: Run, numbers: Sequence[int]) -> tuple[Segment, ...]:
    children = [child for n in dict.fromkeys(numbers) for child in run.items[n - 1].rests_on]
    return tuple({child.id: child for child in children}.values())


def _hull(segments: Sequence[Segment]) -> Span:
    clock = segments[0].span.clock
    spans = [segment.span.on(clock) for segment in segments]
    return Span(clock, min(span.start for span in spans), max(span.end for span in spans))


def _once(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))
