"""Ask questions that measured facts decide, with the seconds that prove the answers.

Camera, motion, light and colour labels, speech, screen text and the neighbour in the same layer are
what other stages found out; a template over them costs nothing and is right wherever the
measurement is. Questions are drawn by a seed from the segment's id, so the same facts give the same
questions. `generate_qa` lets a model ask.
"""

from __future__ import annotations

import random

from pydantic import Field

from clipmill.schemas.fingerprints import fingerprint
from clipmill.schemas.records import Part
from clipmill.stages.qa.facts import Fact, facts_of, token
from clipmill.stages.qa.templates import Draft, Type, about_clip, about_neighbours
from clipmill.stages.stage import Stage, StageSettings


class Settings(StageSettings):
    layer: str = "shots"
    """Layer whose segments are asked about."""
    facts: tuple[Fact, ...] = ("camera", "motion", "brightness", "colour")
    """What is known: labels of describe_clip, and the texts asr and ocr."""
    types: tuple[Type, ...] = ("open", "choice", "yes_no", "counting", "order", "temporal")
    """Kinds of questions to ask."""
    neighbours: bool = True
    """Also ask about a segment together with the next. Such samples are labelled
    `scope: neighbours`: their clip alone does not answer them."""
    questions: int = Field(default=6, ge=1, le=50)
    """At most so many questions a segment."""
    seed: int = 0
    """Another seed draws other questions."""


class TemplateQa(Stage[Settings]):
    """Ask questions that measured facts decide, by templates."""

    settings: Settings
    needs = frozenset({"segments:{layer}"})
    provides = frozenset({"samples:qa"})

    def reads(self) -> frozenset[str]:
        return super().reads() | {token(fact) for fact in self.settings.facts}

    def process(self, part: Part) -> Part:
        use = frozenset(self.settings.facts)
        segments = part.video.layer(self.settings.layer)
        known = [facts_of(part.video, segment, use) for segment in segments]
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
        return part

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
