"""Set a true text beside its false ones: pairs to choose from, yes and no, or a list by grade.

Negatives are texts of one clip by role; what is wrong with them, and in how many steps, is in the
role's name. A pair knows where its words differ, so that a loss can be put on them alone. The true
text stands at either place equally often within a clip, and of a yes-or-no pair both questions
carry the pair's name, because only who answers both has understood.
"""

from __future__ import annotations

import random
import re
from typing import ClassVar, Literal

from pydantic import Field

from clipmill.schemas.fingerprints import fingerprint
from clipmill.schemas.records import Part, Segment, Text
from clipmill.stages.qa.task_wording import worded
from clipmill.stages.rewrite.negatives import edited_span
from clipmill.stages.stage import Stage, StageSettings

Form = Literal["choice", "yes_no", "graded"]

QUESTIONS = ("Which description fits the video?", "Which of these texts tells what happens here?")
ASKED = ("Is this what the video shows: {text}?", "Does this fit the video: {text}?")
GRADED = "Sort these descriptions by how well they fit the video."

_ROLE = re.compile(r"(?P<kind>[a-z0-9_]+?)(?:_(?P<steps>\d+))?")


class Settings(StageSettings):
    layer: str = "whole"
    """Layer whose texts are paired."""
    told: str = "told"
    """Role of the true text; of several, the last written."""
    negatives: str = Field(default="negative", pattern=r"^[a-z0-9_]+$")
    """Role of the false ones up to the colon; behind it the kind, and the steps if they count."""
    form: Form = "choice"
    """`choice`: true or false, one sample per false text. `yes_no`: two samples per false text.
    `graded`: one sample with all, whose label `grades` says how many steps each is off."""
    kind: str = Field(default="pair", pattern=r"^[a-z0-9_]+$")
    """Kind of the samples."""
    most: int = Field(default=100, ge=1)
    """At most so many false texts a clip, drawn."""
    seed: int = 0
    """Another seed draws other wordings and places."""


class BuildPairs(Stage[Settings]):
    """Pair a clip's true text with its false ones."""

    settings: Settings
    needs: ClassVar = {"segments:{layer}", "texts:{told}"}
    provides: ClassVar = {"samples:{kind}"}

    def process(self, part: Part) -> Part:
        settings = self.settings
        for clip in part.video.layer(settings.layer):
            told = clip.texts_of(settings.told)
            false = [t for t in clip.texts if t.role.startswith(f"{settings.negatives}:")]
            if not told or not false:
                continue
            rng = random.Random(fingerprint(part.video.id, clip.id, settings.seed))
            chosen = [
                false[k]
                for k in sorted(rng.sample(range(len(false)), min(len(false), settings.most)))
            ]
            if settings.form == "graded":
                self._grade(clip, told[-1], chosen, rng)
                continue
            first = rng.randrange(2)
            for number, negative in enumerate(chosen):
                write = self._choose if settings.form == "choice" else self._ask
                write(clip, told[-1], negative, (first + number) % 2, rng)
        return part

    def _choose(
        self, clip: Segment, true: Text, false: Text, place: int, rng: random.Random
    ) -> None:
        options = [false.text]
        options.insert(place, true.text)
        self._write(clip, rng.choice(QUESTIONS), true.text, options, true, false, {})

    def _ask(self, clip: Segment, true: Text, false: Text, place: int, rng: random.Random) -> None:
        pair = f"{clip.id}/{false.id}"
        both = [("yes", true), ("no", false)]
        for answer, text in both[::-1] if place else both:
            question = worded(rng.choice(ASKED), {"text": text.text})
            self._write(clip, question, answer, ["yes", "no"], true, false, {"pair": pair})

    def _grade(self, clip: Segment, true: Text, false: list[Text], rng: random.Random) -> None:
        graded = [(0, true), *((steps_of(text)[1], text) for text in false)]
        rng.shuffle(graded)
        clip.add_sample(
            self.settings.kind,
            GRADED,
            true.text,
            self.author(),
            options=[text.text for _, text in graded],
            evidence=[clip.span],
            sources=[text.id for _, text in graded],
            labels={
                "task": "graded",
                "type": "graded",
                "scope": "clip",
                "grades": ",".join(str(steps) for steps, _ in graded),
                "causes": ",".join(
                    steps_of(text)[0] if steps else "true" for steps, text in graded
                ),
            },
        )

    def _write(
        self,
        clip: Segment,
        question: str,
        answer: str,
        options: list[str],
        true: Text,
        false: Text,
        more: dict[str, str],
    ) -> None:
        cause, steps = steps_of(false)
        start, end = edited_span(true.text, false.text)
        form = "choice" if self.settings.form == "choice" else "yes_no"
        labels = {"task": cause, "type": form, "scope": "clip", "steps": str(steps)}
        clip.add_sample(
            self.settings.kind,
            question,
            answer,
            self.author(),
            options=options,
            evidence=[clip.span],
            sources=[true.id, false.id],
            labels=labels | {"edited": f"{start}-{end}"} | more,
        )


def steps_of(negative: Text) -> tuple[str, int]:
    """What is wrong with a false text, and in how many steps, by its role."""
    found = _ROLE.fullmatch(negative.role.partition(":")[2])
    if found is None:
        return "false", 1
    return found["kind"], int(found["steps"] or 1)
