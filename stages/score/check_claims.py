"""Take a text apart into claims and hold each against the clip, or against a text that is trusted.

One number for a long text hides what is wrong with it. A language model splits the text without
seeing what it is held against, so that it cannot leave out what does not fit; then the claims alone
are judged, so that a fluent whole does not lend credit to its parts. Against pictures the score is
the share of the decided claims that are true; `unseen` counts neither way. Against a reference it
goes both ways, as DREAM-1K measures Tarsier's descriptions: the share of the text's claims that the
reference says (precision), and of the reference's that the text says (recall). With `kinds` every
claim is sorted, and each kind has scores of its own, as TUNA counts camera, scene, action and
attributes apart. One teacher asks and judges; every claim is kept with its verdict.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, StringConstraints, model_validator

from clipmill.schemas.records import Part, Segment
from clipmill.schemas.within import texts_within
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
from clipmill.stages.score.claims import (
    Claim,
    Judged,
    claims_of,
    matched_scores,
    measured,
    seen_scores,
)

Kind = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]


class Settings(AskSettings):
    layer: str = "shots"
    """Layer whose texts are checked."""
    role: str = "caption"
    """Role of the text; of several, the last written."""
    against: str = ""
    """Role of a text that is trusted, to check against in place of the pictures."""
    against_layer: str = ""
    """Layer whose texts of that role are the reference, those of all segments within the clip one
    after the other. Empty: the clip's own."""
    prompt: PromptName = "claims_check.v1"
    """How claims are judged: claims_check.v1 (by pictures), claims_entailed.v1 (by a text), or the
    path of a .txt file with the same variables."""
    split_prompt: PromptName = "claims_split.v1"
    """How a text is taken apart: claims_split.v1, claims_events.v1 (events alone), with `kinds`
    claims_kinds.v1, or the path of a .txt file."""
    kinds: tuple[Kind, ...] = ()
    """Kinds that claims are sorted into, e.g. camera, scene, action, attribute."""
    most: int = Field(default=20, ge=1, le=100)
    """Most claims of a text."""
    frames: int = Field(default=8, ge=1)
    """At most so many frames a clip, spread over it."""
    name: str = Field(default="claims", pattern=r"^[a-z0-9_]+$")
    """Scores by pictures: NAME_true, NAME_seen (share of all that are decided). By a reference:
    NAME_precision, NAME_recall, NAME_f1. With kinds also NAME_true_KIND and so on; NAME_count is
    how many claims the text makes. Every claim is a sample of the kind NAME, its verdict the
    answer; those of the reference are of the kind NAME_reference."""
    max_tokens: int = Field(default=1536, ge=1)
    """Longer replies are cut off, and rejected for it."""

    @model_validator(mode="after")
    def _prompts_go_with_what_is_asked(self) -> Self:
        if self.against_layer and not self.against:
            raise ValueError("`against_layer` needs `against`: the role of its texts")
        by = {"claims_check.v1": False, "claims_entailed.v1": True}.get(self.prompt)
        if by is not None and by != bool(self.against):
            raise ValueError(f"prompt {self.prompt} goes {'with' if by else 'without'} `against`")
        if self.split_prompt in ("claims_split.v1", "claims_events.v1") and self.kinds:
            raise ValueError(f"split_prompt {self.split_prompt} sorts no claims: claims_kinds.v1")
        return self


class CheckClaims(TeacherStage[Settings]):
    """Check a text claim by claim against its clip or a reference."""

    settings: Settings
    version = 2
    needs: ClassVar = {"segments:{layer}", "texts:{role}"}
    provides: ClassVar = {"samples:{name}", "scores:{name}_count", "labels:rejected_{name}"}

    def reads(self) -> frozenset[str]:
        settings = self.settings
        if not settings.against:
            return super().reads() | {"frames"}
        layer = {f"segments:{settings.against_layer}"} if settings.against_layer else set()
        return super().reads() | {f"texts:{settings.against}"} | layer

    def adds(self) -> frozenset[str]:
        settings = self.settings
        names = measured(bool(settings.against), settings.kinds)
        own = {f"scores:{settings.name}_{name}" for name in names}
        if settings.against:
            own.add(f"samples:{settings.name}_reference")
        return super().adds() | own

    def setup(self) -> None:
        super().setup()
        self.split = load_prompt(self.settings.split_prompt)

    async def process(self, part: Part) -> Part:
        settings = self.settings
        texts: dict[str, str] = {}
        trusted: dict[str, str] = {}
        for segment in part.video.layer(settings.layer):
            if not segment.texts_of(settings.role):
                continue
            reference = self._reference(part, segment) if settings.against else ""
            if settings.against and not reference:
                continue  # nobody has said what is right: no score, which is not a zero
            if not settings.against and not part.frames.get(segment.id):
                mark_rejected(segment, settings.name, "no_frames")
                continue
            texts[segment.id] = one_line(segment.texts_of(settings.role)[-1].text)
            trusted[segment.id] = reference
        segments = {segment.id: segment for segment in part.video.segments}
        if not settings.against:
            for id, judged in (await self._judged(part, "", texts, {})).items():
                self._write(segments[id], settings.name, judged, settings.role)
                self._score(segments[id], judged, seen_scores(judged, settings.kinds))
            return part
        said, meant = await asyncio.gather(
            self._judged(part, "", texts, trusted),
            self._judged(part, "_reference", trusted, texts),
        )
        for id in texts:
            if id in said and id in meant:
                self._write(segments[id], settings.name, said[id], settings.role)
                reference = f"{settings.name}_reference"
                self._write(segments[id], reference, meant[id], settings.against)
                found = matched_scores(said[id], meant[id], settings.kinds)
                self._score(segments[id], said[id], found)
        return part

    async def _judged(
        self, part: Part, side: str, texts: Mapping[str, str], by: Mapping[str, str]
    ) -> dict[str, list[Judged]]:
        """The claims of texts by their segments' ids, held against other texts or the pictures."""
        name = self.settings.name
        segments = {s.id: s for s in part.video.layer(self.settings.layer) if s.id in texts}
        splits: list[Question] = [
            (segment, self.splitting(part, segment, side, texts[id]))
            for id, segment in segments.items()
        ]
        found = await self.answers(part, splits, name, _repeats)
        claims = {segment.id: claims_of(value) for segment, value in found}
        checks: list[Question] = [
            (segments[id], self.checking(part, segments[id], side, own, by.get(id)))
            for id, own in claims.items()
            if own
        ]
        answers = await self.answers(
            part, checks, name, lambda s, value: _missing(value, len(claims[s.id]))
        )
        judged: dict[str, list[Judged]] = {id: [] for id, own in claims.items() if not own}
        for segment, value in answers:
            ordered = sorted(value["verdicts"], key=lambda item: int(item["claim"]))
            judged[segment.id] = [
                Judged(claim, item["verdict"], one_line(item["shown"]))
                for claim, item in zip(claims[segment.id], ordered, strict=True)
            ]
        return judged

    def splitting(self, part: Part, segment: Segment, side: str, text: str) -> Request:
        """The question that takes a text apart."""
        settings = self.settings
        claim: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 300}
        values: dict[str, str | int] = {"language": settings.language, "most": settings.most}
        if settings.kinds:
            values["kinds"] = ", ".join(f'"{kind}"' for kind in settings.kinds)
            claim = object_schema({"kind": {"enum": list(settings.kinds)}, "claim": claim})
        return self.request(
            f"{part.video.id}/{segment.id}/{self.label}/split{side}",
            self.split.render(text=text, **values),
            object_schema({"claims": {"type": "array", "items": claim, "maxItems": settings.most}}),
        )

    def checking(
        self, part: Part, segment: Segment, side: str, claims: Sequence[Claim], text: str | None
    ) -> Request:
        """The question that holds claims against a text, or a segment's pictures."""
        settings = self.settings
        frames = spread(part.frames[segment.id], settings.frames) if text is None else []
        verdict = object_schema(
            {
                "claim": {"type": "integer", "minimum": 1, "maximum": len(claims)},
                "shown": {"type": "string", "maxLength": 300},
                "verdict": {"enum": ["true", "false", "unseen"]},
            }
        )
        listed = {"type": "array", "items": verdict, "maxItems": len(claims)}
        values: dict[str, str | int] = {"language": settings.language}
        if text is None:
            seconds = (f"{frame.clock.seconds(frame.tick):.2f}" for frame in frames)
            values |= {"count": len(frames), "times": ", ".join(seconds)}
        else:
            values["text"] = text
        return self.request(
            f"{part.video.id}/{segment.id}/{self.label}/check{side}",
            self.prompt.render(
                claims="\n".join(f"{n}. {claim.text}" for n, claim in enumerate(claims, 1)),
                **values,
            ),
            object_schema({"verdicts": listed}),
            [frame.jpeg for frame in frames],
        )

    def _reference(self, part: Part, segment: Segment) -> str:
        """What is trusted about a segment, on one line; empty where there is nothing."""
        settings = self.settings
        said = texts_within(part.video, segment, settings.against, settings.against_layer)
        return one_line(" ".join(text.text for text in said))

    def _score(self, segment: Segment, own: Sequence[Judged], found: Mapping[str, float]) -> None:
        scores = {"count": float(len(own)), **found}
        segment.scores |= {f"{self.settings.name}_{name}": scores[name] for name in scores}

    def _write(self, segment: Segment, kind: str, judged: Sequence[Judged], role: str) -> None:
        sources = [text.id for text in segment.texts_of(role)[-1:]]
        for one in judged:
            sort = {"kind": one.claim.kind} if one.claim.kind else {}
            segment.add_sample(
                kind,
                one.claim.text,
                one.verdict,
                self.by_model(),
                evidence=[segment.span],
                sources=sources,
                labels={"type": "claim", "shown": one.shown, **sort},
            )


def _repeats(_: Segment, value: Any) -> str | None:
    claims = [claim.text.casefold() for claim in claims_of(value)]
    if not all(claims):
        return "a claim is blank"
    return "a claim is made twice" if len(set(claims)) < len(claims) else None


def _missing(value: Any, claims: int) -> str | None:
    numbers = sorted(item["claim"] for item in value["verdicts"])
    if numbers == list(range(1, claims + 1)):
        return None
    return f"there must be one verdict for each of the claims 1 to {claims}"
