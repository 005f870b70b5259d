"""Find the smallest stretch of a video that a model needs to answer a question: its certificate.

The longer the stretch, the more a question is about the video as a whole (EgoSchema, Mangalam et
al. 2023, where people judged it). Here a model does. The end is the earliest up to which the video
suffices, found by halving; the start is the latest from which it suffices until there. So the
stretch can be cut at neither side; of several such it is the one that ends first. It takes about
two logarithms of the number of frames in rounds, in each of which all questions of a part are asked
at once.

Halving believes that more of the video is never worse, so a view must show everything that counts:
`frames` bounds what is shown of a stretch, and a question that the whole video does not answer so
has no certificate. Its length is from the first needed frame to the last, so it is known to twice
their distance, and a question that one frame answers has 0 seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from clipmill.schemas.records import Frame, Part, Sample, Segment
from clipmill.stages.ground.watched import frames_of
from clipmill.stages.models.frame_choice import spread
from clipmill.stages.models.teacher_stage import AskSettings, PromptName, Question, TeacherStage
from clipmill.stages.qa.answer_qa import asked
from clipmill.stages.qa.put_question import is_right, put, tries_of


class Settings(AskSettings):
    layer: str = "events"
    """Layer whose segments hold the questions."""
    kind: str = "choice"
    """Kind of the samples whose certificate is searched."""
    frames_layer: str = "windows"
    """Layer whose frames are the video, all of them together."""
    frames: int = Field(default=32, ge=1)
    """At most so many frames of a stretch are shown, spread over it."""
    prompt: PromptName = "answer_qa.v2"
    """Prompt by id, or the path of a .txt file with the same variables."""
    tries: int = Field(default=5, ge=1, le=64)
    """How often a stretch is tried, the options one place further on each time; without a
    temperature no more often than there are options."""
    least: float = Field(default=0.8, gt=0, le=1)
    """A stretch suffices where this share of its tries is right."""
    least_overlap: float = Field(default=0.5, gt=0, le=1)
    """Times are right from this intersection over union with the evidence on."""
    name: str = Field(default="certificate", pattern=r"^[a-z0-9_]+$")
    """Label of a sample with its certificate's seconds, score of a segment with their mean; label
    NAME_span says from when to when."""


@dataclass(slots=True)
class Search:
    """A question under search. Frames `low` to `high` are where the end in question lies.

    `first` and `last` bound the stretch that is known to suffice.
    """

    segment: Segment
    sample: Sample
    frames: list[Frame]
    first: int
    last: int
    low: int
    high: int
    end_found: bool = False

    @property
    def done(self) -> bool:
        return self.end_found and self.low >= self.high

    def stretch(self) -> tuple[int, int]:
        """First and last frame of the stretch that is tried next."""
        if not self.end_found:
            return self.first, (self.low + self.high) // 2
        return (self.low + self.high + 1) // 2, self.last

    def told(self, suffices: bool) -> None:
        """Go on with what the stretch that was tried says."""
        start, end = self.stretch()
        if not self.end_found:
            self.low, self.high = (self.low, end) if suffices else (end + 1, self.high)
            if self.low >= self.high:
                self.last, self.end_found = self.high, True
                self.low, self.high = self.first, self.last
        elif suffices:
            self.low = self.first = start
        else:
            self.high = start - 1

    @property
    def seconds(self) -> tuple[float, float]:
        first, last = self.frames[self.low], self.frames[self.last]
        return first.clock.seconds(first.tick), last.clock.seconds(last.tick)


class FindCertificate(TeacherStage[Settings]):
    """Find the smallest stretch of the video that suffices to answer each question."""

    settings: Settings
    needs: ClassVar = {"segments:{layer}", "segments:{frames_layer}", "samples:{kind}", "frames"}
    provides: ClassVar = {"scores:{name}", "labels:rejected_{name}"}

    async def process(self, part: Part) -> Part:
        settings = self.settings
        frames = frames_of(part, settings.frames_layer)
        if not frames:
            return part
        last = len(frames) - 1
        searches = [
            Search(segment, sample, frames, 0, last, 0, last)
            for segment, sample in asked(part, settings.layer, settings.kind)
        ]
        whole = await self._suffice(part, {id(s): (s, (0, last)) for s in searches}, 0)
        answered = [search for search in searches if whole.get(id(search))]
        for search in answered:
            search.end_found = last == 0
        turn = 0
        while left := [search for search in answered if not search.done]:
            turn += 1
            suffice = await self._suffice(part, {id(s): (s, s.stretch()) for s in left}, turn)
            for search in left:
                search.told(suffice.get(id(search), False))
        self._write(answered)
        return part

    async def _suffice(
        self, part: Part, tried: Mapping[int, tuple[Search, tuple[int, int]]], turn: int
    ) -> dict[int, bool]:
        """Whether each stretch suffices; nothing is known of those whose replies were refused."""
        settings = self.settings
        questions: list[Question] = []
        about: dict[str, int] = {}
        for key, (search, (start, end)) in tried.items():
            sample = search.sample
            name = f"{part.video.id}/{search.segment.id}/{self.label}/{sample.id}/{turn}"
            shown = spread(search.frames[start : end + 1], settings.frames)
            tries = tries_of(sample, settings.tries, settings.temperature)
            for request in put(self, name, sample, [shown] * tries):
                about[request.id] = key
                questions.append((search.segment, request))
        right: dict[int, list[bool]] = defaultdict(list)
        answers = await self.answers_by_id(part, questions, settings.name)
        for request_id, value in answers.items():
            key = about[request_id]
            sample = tried[key][0].sample
            right[key].append(is_right(value["answer"], sample, settings.least_overlap))
        return {key: sum(own) >= settings.least * len(own) for key, own in right.items()}

    def _write(self, answered: list[Search]) -> None:
        name = self.settings.name
        lengths: dict[str, list[float]] = defaultdict(list)
        for search in answered:
            start, end = search.seconds
            search.sample.labels[name] = f"{end - start:.3f}"
            search.sample.labels[f"{name}_span"] = f"{start:.3f}-{end:.3f}"
            lengths[search.segment.id].append(end - start)
        for segment in {search.segment.id: search.segment for search in answered}.values():
            own = lengths[segment.id]
            segment.scores[name] = sum(own) / len(own)
