"""Say of every question what gives its answer away, from who could answer it out of which view.

Each way of asking that ought to fail (nothing shown, no options, one frame, frames out of order) is
a leak with a name, and the entries of `answer_qa` that tried it are its panel. One member that is
right clearly more often than a guess is enough: what one model finds, the next finds too. A guess
is right once in as many times as there are options, so the bound lies above that; a share rests on
few tries, and the bound is what keeps luck from counting as knowledge (five tries at five options
reach 0.8 by luck in 0.7 %).

    temporal_need   best share in the right view minus the best in a wrong one, at least 0
    difficulty      share of the panel's answers in the right view that were wrong
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, ClassVar

from pydantic import Field

from clipmill.schemas.records import Part, Sample
from clipmill.stages.qa.answer_qa import asked
from clipmill.stages.stage import Stage, StageSettings

Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
SOUND = "none"


class Leak(StageSettings):
    """A way of asking that ought to fail."""

    name: Name
    """What it is called."""
    by: tuple[Name, ...] = Field(min_length=1)
    """Names of the `answer_qa` entries that tried it, one per model of the panel."""
    margin: float = Field(default=0.4, gt=0, le=1)
    """A share above that of a guess by more than this is a leak. The best of many frames
    (`each_frame`) is lucky more often than one view is, and wants more: 0.7 at five options is all
    of five tries."""


class Settings(StageSettings):
    layer: str = "events"
    """Layer whose segments hold the questions."""
    kind: str = "choice"
    """Kind of the samples that are tagged."""
    full: tuple[Name, ...] = ("full",)
    """Names of the `answer_qa` entries that saw everything, one per model of the panel; without any
    there is neither need nor difficulty."""
    leaks: tuple[Leak, ...] = Field(
        default=(
            Leak(name="knowledge", by=("knows",)),
            Leak(name="blind", by=("blind",)),
            Leak(name="single_frame", by=("one_frame",)),
            Leak(name="order_free", by=("shuffled",)),
        ),
        min_length=1,
    )
    """The leaks that are looked for. Of several the first is the label, so the one that takes least
    stands first."""
    name: str = Field(default="leak", pattern=r"^[a-z0-9_]+$")
    """Label of a sample: its first leak, or none; label NAME_all has all of them. On the segment it
    is the most frequent leak of its questions, none where they have none."""


class TagLeaks(Stage[Settings]):
    """Tag questions by what gives their answer away, from the answers out of several views."""

    settings: Settings
    needs: ClassVar = {"segments:{layer}", "samples:{kind}"}
    provides: ClassVar = {"labels:{name}"}

    def adds(self) -> frozenset[str]:
        measured = {"scores:temporal_need", "scores:difficulty"} if self.settings.full else set()
        return super().adds() | measured

    def reads(self) -> frozenset[str]:
        settings = self.settings
        panel = {*settings.full, *(name for leak in settings.leaks for name in leak.by)}
        return super().reads() | {f"scores:{name}" for name in panel}

    def process(self, part: Part) -> Part:
        settings = self.settings
        found: dict[str, Counter[str]] = {}
        needs: dict[str, list[tuple[float, float]]] = {}
        for segment, sample in asked(part, settings.layer, settings.kind):
            leak = self._tag(sample)
            if leak is not None:
                found.setdefault(segment.id, Counter())[leak] += 1
            if (both := self._need(sample)) is not None:
                sample.labels["temporal_need"] = f"{both[0]:.3f}"
                sample.labels["difficulty"] = f"{both[1]:.3f}"
                needs.setdefault(segment.id, []).append(both)
        for segment in part.video.layer(settings.layer):
            if leaks := found.get(segment.id):
                leaky = Counter({name: n for name, n in leaks.items() if name != SOUND})
                segment.labels[settings.name] = max(sorted(leaky), key=leaky.get, default=SOUND)  # type: ignore[arg-type]
            if own := needs.get(segment.id):
                need, hard = (sum(values) / len(own) for values in zip(*own, strict=True))
                segment.scores["temporal_need"], segment.scores["difficulty"] = need, hard
        return part

    def _tag(self, sample: Sample) -> str | None:
        """The first leak, which is written with all others; None where some view was not judged
        and the others show nothing.
        """
        settings = self.settings
        best = [(leak, _shares(sample, leak.by)) for leak in settings.leaks]
        leaks = [
            leak.name
            for leak, shares in best
            if shares and max(shares) > chance(sample) + leak.margin
        ]
        if not leaks and not all(shares for _, shares in best):
            return None
        sample.labels[settings.name] = leaks[0] if leaks else SOUND
        sample.labels[f"{settings.name}_all"] = "+".join(leaks) or SOUND
        return sample.labels[settings.name]

    def _need(self, sample: Sample) -> tuple[float, float] | None:
        """Temporal need and difficulty."""
        seen = _shares(sample, self.settings.full)
        wrong = [share for leak in self.settings.leaks for share in _shares(sample, leak.by)]
        if not seen or not wrong:
            return None
        return max(0.0, max(seen) - max(wrong)), 1 - sum(seen) / len(seen)


def chance(sample: Sample) -> float:
    """How often a guess is right: once in as many times as there are options, 0 without any."""
    if sample.options:
        return 1 / len(sample.options)
    return 0.5 if sample.answer.casefold() in ("yes", "no") else 0.0


def _shares(sample: Sample, names: tuple[str, ...]) -> list[float]:
    return [float(sample.labels[name]) for name in names if name in sample.labels]
