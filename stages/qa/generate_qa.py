"""Generate questions with answers, and the seconds that prove them.

By template (the default) every question is decided by what other stages measured: camera, motion,
light and colour labels, speech, screen text, and the neighbour in the same layer. It costs nothing
and is right wherever the measurement is. By teacher a model writes them from frames and facts under
a schema; evidence outside the clip, or an answer that is none of the options, breaks the contract.
Questions are drawn by a seed from the segment's id, so the same facts give the same questions.
"""

from __future__ import annotations

import random
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from clipmill.schemas.fingerprints import fingerprint
from clipmill.schemas.records import Part, Segment
from clipmill.stages.models.contract import ask, mark_rejected
from clipmill.stages.models.frame_choice import spread
from clipmill.stages.models.prompts import Prompt, anchored, load_prompt
from clipmill.stages.models.teacher import Request, TeacherSettings, Usage, open_teacher
from clipmill.stages.qa.facts import Facts, facts_of
from clipmill.stages.qa.model_contract import complaint, qa_schema, within
from clipmill.stages.qa.templates import Draft, Type, about_clip, about_neighbours
from clipmill.stages.stage import Stage, StageSettings

Fact = Literal["camera", "motion", "brightness", "colour", "asr", "ocr"]


class Settings(StageSettings):
    by: Literal["template", "teacher"] = "template"
    """Who asks: templates over measured facts, or a model."""
    layer: str = "shots"
    """Layer whose segments are asked about."""
    facts: tuple[Fact, ...] = ("camera", "motion", "brightness", "colour")
    """What is known: labels of describe_clip, and the texts asr and ocr."""
    types: tuple[Type, ...] = ("open", "choice", "yes_no", "counting", "order", "temporal")
    """Kinds of questions to ask."""
    neighbours: bool = True
    """Also ask about a segment together with the next (template). Such samples are labelled
    `scope: neighbours`: their clip alone does not answer them."""
    questions: int = Field(default=6, ge=1, le=50)
    """At most so many questions a segment."""
    seed: int = 0
    """Another seed draws other questions."""
    teacher: TeacherSettings = TeacherSettings()
    """By teacher: the model, and how it is run."""
    prompt: Annotated[str, AfterValidator(anchored)] = "qa.v1"
    """By teacher: prompt by id, or the path of a .txt file with the same variables."""
    frames: int = Field(default=8, ge=0)
    """By teacher: at most so many frames a clip; 0 asks a text model about the facts alone."""
    language: str = Field(default="en", pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]+)*$")
    """By teacher: language to write in. Templates are English."""
    max_tokens: int = Field(default=1024, ge=1)
    """By teacher: longer replies are cut off, and rejected for it."""


class GenerateQa(Stage[Settings]):
    """Generate questions with answers and time evidence, by template or by teacher."""

    settings: Settings
    version = 2
    needs = frozenset({"segments:{layer}"})
    provides = frozenset({"samples:qa"})

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        # Expensive or not is a matter of `by`; the engine asks the stage it will run.
        if settings.by == "teacher":
            vars(self).update(
                teacher=True,
                own_actor=True,
                resources=settings.teacher.resources(self.resources),
            )

    def reads(self) -> frozenset[str]:
        texts = {"asr", "ocr"}
        found = {
            f"texts:{fact}" if fact in texts else f"labels:{fact}" for fact in self.settings.facts
        }
        if self.settings.by == "teacher" and self.settings.frames:
            found.add("frames")
        return super().reads() | found

    def adds(self) -> frozenset[str]:
        mark = {"labels:rejected_qa"} if self.settings.by == "teacher" else set()
        return super().adds() | mark

    def requires(self) -> dict[str, str]:
        if self.settings.by == "template":
            return {}
        return self.settings.teacher.requires()

    def identity(self) -> dict[str, Any]:
        own = super().identity()
        if self.settings.by == "teacher":
            own["settings"]["teacher"] = self.settings.teacher.identity()
            own["settings"]["prompt"] = load_prompt(self.settings.prompt).identity()
        else:
            for unused in ("teacher", "prompt", "frames", "language", "max_tokens"):
                del own["settings"][unused]
        return own

    def setup(self) -> None:
        if self.settings.by == "teacher":
            self.usage = Usage()  # tokens since setup, for the engine's counters
            self.prompt: Prompt = load_prompt(self.settings.prompt)
            self.model = open_teacher(self.settings.teacher)
            self.model.setup()

    async def process(self, part: Part) -> Part:
        use = frozenset(self.settings.facts)
        segments = part.video.layer(self.settings.layer)
        known = [facts_of(part.video, segment, use) for segment in segments]
        if self.settings.by == "teacher":
            await self._by_teacher(part, segments, known)
        else:
            self._by_template(part, segments, known)
        return part

    def close(self) -> None:
        if self.settings.by == "teacher":
            self.model.close()

    def _by_template(self, part: Part, segments: list[Segment], known: list[Facts]) -> None:
        author = self.author()
        said = [frozenset(facts.words) for facts in known]
        for place, (segment, facts) in enumerate(zip(segments, known, strict=True)):
            rng = random.Random(fingerprint(part.video.id, segment.id, self.settings.seed))
            others = frozenset().union(*said[:place], *said[place + 1 :])
            drafts = about_clip(facts, rng, others)
            if self.settings.neighbours and place + 1 < len(known):
                drafts += about_neighbours(facts, known[place + 1], rng)
            for draft in self._drawn(drafts, rng):
                segment.add_sample(
                    "qa",
                    draft.question,
                    draft.answer,
                    author,
                    options=list(draft.options),
                    evidence=list(draft.evidence),
                    sources=[name for role, name in facts.sources if role == draft.fact],
                    labels={"type": draft.type, "fact": draft.fact, "scope": draft.scope},
                )

    def _drawn(self, drafts: list[Draft], rng: random.Random) -> list[Draft]:
        """A random choice that takes from every type in turn, so that none crowds out another."""
        piles = {type: [d for d in drafts if d.type == type] for type in self.settings.types}
        order = rng.sample(sorted(piles), len(piles))
        for type in order:
            rng.shuffle(piles[type])
        drawn: list[Draft] = []
        while len(drawn) < self.settings.questions and any(piles.values()):
            drawn += [piles[type].pop() for type in order if piles[type]]
        return drawn[: self.settings.questions]

    async def _by_teacher(self, part: Part, segments: list[Segment], known: list[Facts]) -> None:
        settings = self.settings
        asked: dict[str, Segment] = {}
        requests: list[Request] = []
        for segment, facts in zip(segments, known, strict=True):
            frames = spread(part.frames.get(segment.id, []), settings.frames)
            if settings.frames and not frames:
                mark_rejected(segment, "qa", "no_frames")
                continue
            start = segment.span.start_s
            seconds = float(f"{segment.span.duration_s:.3f}")
            request = Request(
                id=f"{part.video.id}/{segment.id}/qa",
                prompt=self.prompt.render(
                    count=len(frames),
                    seconds=seconds,
                    times=", ".join(f"{f.clock.seconds(f.tick) - start:.2f}" for f in frames),
                    language=settings.language,
                    questions=settings.questions,
                    context=_told(facts),
                ),
                images=tuple(frame.jpeg for frame in frames),
                schema=qa_schema(seconds, settings.questions, settings.types),
                max_tokens=settings.max_tokens,
                seed=settings.seed,
            )
            asked[request.id] = segment
            requests.append(request)
        answers = await ask(
            self.model, requests, lambda name, value: complaint(value, asked[name].span)
        )
        self.usage += answers.usage
        model = self.model.identity
        author = self.author(model.name, model.revision, self.prompt.id)
        for name, answer in answers.found.items():
            segment = asked[name]
            for item in answer.value["questions"]:
                segment.add_sample(
                    "qa",
                    item["question"].strip(),
                    item["answer"].strip(),
                    author,
                    options=[option.strip() for option in item["options"]],
                    evidence=[within(segment.span, e) for e in item["evidence"]],
                    labels={"type": item["type"], "fact": "model", "scope": "clip"},
                )
        for name, reason in answers.rejected.items():
            mark_rejected(asked[name], "qa", reason)


def _told(facts: Facts) -> str:
    lines = {
        "camera": facts.camera,
        "motion": facts.motion,
        "brightness": facts.brightness,
        "main colour": facts.colour,
        "speech": facts.said,
        "screen text": facts.seen,
    }
    return "\n".join(f"{name}: {value}" for name, value in lines.items() if value)
