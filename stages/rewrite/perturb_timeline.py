"""Tell what happens in a clip in one sentence, and again with a counted number of things wrong.

What a caption model must learn of time cannot be learnt from captions of other videos: those differ
in everything. So the events of a timeline are told in their order, and once for every kind of edit
and every count of steps falsely, by rules: the words are the same in another order, or one word of
a kind stands for another, or an event of another video for one of this. No model is asked; what is
edited is known, and how wrong a telling is is a number. `perturb_text` lets a language model choose
the words, for texts that no vocabulary covers.

Who only reads must not find the false one. So a word is drawn as often as the foreign texts use it,
and events of which one refers to another ("then he ...") are not told in another order.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from clipmill.schemas.clocks import Span, compare
from clipmill.schemas.fingerprints import fingerprint
from clipmill.schemas.records import Part, Segment, Video
from clipmill.stages.asr_text.untrusted import clean_line
from clipmill.stages.rewrite.negatives import Step, partial, places, reorder, replace
from clipmill.stages.stage import Stage, StageSettings

Kind = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*$")]
_OWN = ("reorder", "partial", "combined")
REFERS = (
    "after", "afterwards", "again", "another", "both", "continues", "eventually", "finally", "he",
    "her", "his", "it", "its", "later", "next", "now", "once", "other", "she", "that", "the",
    "their", "then", "these", "they", "this", "those", "when", "while",
)  # fmt: skip


class Settings(StageSettings):
    layer: str = "timeline"
    """Layer of the events that are told."""
    into: str = "whole"
    """Layer of the clips whose events are told together: those inside each."""
    source_role: str = "caption"
    """Role of the events' texts; of several, the last written."""
    told: str = Field(default="told", pattern=r"^[a-z0-9_]+$")
    """Role of the true telling."""
    role: str = Field(default="negative", pattern=r"^[a-z0-9_]+$")
    """Role of the false ones, followed by a colon, the kind, `_` and the number of steps."""
    kinds: tuple[Kind, ...] = ("reorder", "partial")
    """What is made wrong: `reorder`; `partial`, by the video's texts of role `foreign`; a name of
    `vocabulary`; or `combined`, half of it order and half words of the first name."""
    vocabulary: dict[Kind, tuple[str, ...]] = Field(default_factory=dict)
    """Words of a kind, one of which may stand for another, e.g. `action: [lifts, drops]`. They are
    drawn as often as texts of role `foreign` have them, else as often as they are listed."""
    refers: tuple[str, ...] = REFERS
    """Words that an event begins with where it refers to another; such are not told in another
    order, for reading alone would show it. Empty: no event refers."""
    steps: tuple[Annotated[int, Field(ge=1, le=20)], ...] = Field(default=(1, 2, 3), min_length=1)
    """How many things are wrong: one false telling for each that can be made."""
    order: Literal["time", "listed"] = "time"
    """Which events have an order: those that do not overlap, or all, as the layer lists them."""
    then: str = ", then "
    """What stands between two events."""
    most: int = Field(default=8, ge=1, le=50)
    """Clips with more events are left out: nobody holds so many in mind."""
    seed: int = 0
    """Another seed makes other edits."""

    @model_validator(mode="after")
    def _kinds_are_known(self) -> Self:
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise ValueError("name at least one kind, each once")
        for kind in self.kinds:
            if kind not in _OWN and len(set(self.vocabulary.get(kind, ()))) < 2:
                raise ValueError(f"{kind} needs two words in vocabulary")
        if "combined" in self.kinds and not self.vocabulary:
            raise ValueError("combined needs words in vocabulary")
        return self


class PerturbTimeline(Stage[Settings]):
    """Tell a timeline in one sentence, truly, and falsely by a counted number of edits."""

    settings: Settings
    needs: ClassVar = {"segments:{layer}", "segments:{into}", "texts:{source_role}"}
    provides: ClassVar = {"texts:{told}"}

    def adds(self) -> frozenset[str]:
        settings = self.settings
        roles = (f"{kind}_{steps}" for kind in settings.kinds for steps in settings.steps)
        return super().adds() | {f"texts:{settings.role}:{role}" for role in roles}

    def process(self, part: Part) -> Part:
        settings, video = self.settings, part.video
        foreign = [_line(text.text) for text in video.texts if text.role == "foreign"]
        told = {
            _line(found[-1].text)
            for event in video.layer(settings.layer)
            if (found := event.texts_of(settings.source_role))
        }
        for clip in video.layer(settings.into):
            events = self._events(video, clip)
            if not 1 <= len(events) <= settings.most:
                continue
            texts = [step.text for step, _ in events]
            alone = not any(_refers(text, settings.refers) for text in texts)
            sources = [name for _, name in events]
            rng = random.Random(fingerprint(video.id, clip.id, settings.seed))
            self._tell(clip, settings.told, texts, sources)
            seen = {settings.then.join(texts)}
            for kind in settings.kinds:
                if not alone and kind in ("reorder", "combined"):
                    continue
                for steps in settings.steps:
                    made = self._made(kind, steps, [step for step, _ in events], foreign, told, rng)
                    if made is not None and settings.then.join(made) not in seen:
                        seen.add(settings.then.join(made))
                        self._tell(clip, f"{settings.role}:{kind}_{steps}", made, sources)
        return part

    def _made(
        self,
        kind: str,
        steps: int,
        events: list[Step],
        foreign: list[str],
        told: set[str],
        rng: random.Random,
    ) -> list[str] | None:
        """The texts of a false telling, None where it cannot have exactly so many steps."""
        settings = self.settings
        texts = [event.text for event in events]
        if kind == "reorder":
            return reorder(events, steps, rng)
        if kind == "partial":
            return partial(texts, foreign, steps, rng)
        if kind != "combined":
            words = settings.vocabulary[kind]
            return replace(texts, words, steps, rng, _common(words, foreign), told)
        words = next(iter(settings.vocabulary.values()))
        common = _common(words, foreign)
        changed = replace(texts, words, steps // 2, rng, common, told) if steps > 1 else None
        if changed is None:
            return None
        moved = [Step(text, e.start, e.end) for text, e in zip(changed, events, strict=True)]
        return reorder(moved, steps - steps // 2, rng)

    def _events(self, video: Video, clip: Segment) -> list[tuple[Step, str]]:
        """What happens inside a clip, in the order of the layer, and the ids of its texts."""
        found: list[tuple[Step, str]] = []
        for event in video.layer(self.settings.layer):
            texts = event.texts_of(self.settings.source_role)
            own = event.parent == clip.id or _inside(event.span, clip.span)
            line = _line(texts[-1].text) if texts else ""
            if line and own:
                at = (event.span.start_s, event.span.end_s)
                if self.settings.order == "listed":
                    at = (float(len(found)), float(len(found)))
                found.append((Step(line, *at), f"{event.id}/{texts[-1].id}"))
        return found

    def _tell(self, clip: Segment, role: str, texts: list[str], sources: list[str]) -> None:
        said = self.settings.then.join(texts)
        clip.add_text(role, said, self.author(), sources=sources)


def _common(words: Sequence[str], foreign: Sequence[str]) -> Sequence[str]:
    """The words as often as the foreign texts have them; none where those have hardly any."""
    told = " ".join(foreign)
    found = [word for word in dict.fromkeys(words) for _ in range(len(places(told, word)))]
    return found if len(set(found)) > 2 else ()


def _line(text: str) -> str:
    """A text in one line, without the stop that would stand before a connective."""
    return clean_line(text, 500).rstrip(".!?;, ")


def _refers(text: str, words: Sequence[str]) -> bool:
    first = [word.strip(",.").casefold() for word in text.split()[:2]]
    return any(word in words for word in first)


def _inside(span: Span, whole: Span) -> bool:
    return (
        compare(whole.clock, whole.start, span.clock, span.start) <= 0
        and compare(span.clock, span.end, whole.clock, whole.end) <= 0
    )
