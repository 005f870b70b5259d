"""Take a text apart into claims and hold each against the clip: what share of it is true.

One number for a long text hides what is wrong with it. A language model splits the text without
seeing the clip, so that it cannot leave out what does not fit; then the claims alone are held
against the pictures, so that a fluent whole does not lend credit to its parts (as DREAM-1K does for
Tarsier's descriptions). Every claim is kept with its verdict; `unseen` counts neither way. One
teacher does both; the pictures are shown for the second question only.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from clipmill.schemas.records import Part, Segment
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


class Settings(AskSettings):
    layer: str = "shots"
    """Layer whose texts are checked."""
    role: str = "caption"
    """Role of the text; of several, the last written."""
    prompt: PromptName = "claims_check.v1"
    """How claims are held against pictures: a prompt by id, or the path of a .txt file with the
    same variables."""
    split_prompt: PromptName = "claims_split.v1"
    """How a text is taken apart: a prompt by id, or the path of a .txt file."""
    most: int = Field(default=20, ge=1, le=100)
    """Most claims of a text."""
    frames: int = Field(default=8, ge=1)
    """At most so many frames a clip, spread over it."""
    name: str = Field(default="claims", pattern=r"^[a-z0-9_]+$")
    """Score NAME_true: share of the decided claims that are true. NAME_seen: share of all that are
    decided. Every claim is a sample of the kind NAME, its verdict the answer."""
    max_tokens: int = Field(default=1536, ge=1)
    """Longer replies are cut off, and rejected for it."""


class CheckClaims(TeacherStage[Settings]):
    """Check a text claim by claim against its clip."""

    settings: Settings
    needs: ClassVar = {"frames", "segments:{layer}", "texts:{role}"}
    provides: ClassVar = {
        "samples:{name}", "scores:{name}_true", "scores:{name}_seen", "labels:rejected_{name}",
    }  # fmt: skip

    def identity(self) -> dict[str, Any]:
        own = super().identity()
        own["settings"]["split_prompt"] = load_prompt(self.settings.split_prompt).identity()
        return own

    def setup(self) -> None:
        super().setup()
        self.split = load_prompt(self.settings.split_prompt)

    async def process(self, part: Part) -> Part:
        settings = self.settings
        questions: list[Question] = []
        for segment in part.video.layer(settings.layer):
            if not segment.texts_of(settings.role):
                continue
            if part.frames.get(segment.id):
                questions.append((segment, self.splitting(part, segment)))
            else:
                mark_rejected(segment, settings.name, "no_frames")
        found = await self.answers(part, questions, settings.name, _repeats)
        claims = {s.id: [one_line(c) for c in value["claims"]] for s, value in found}
        asked = [(s, self.checking(part, s, claims[s.id])) for s, _ in found if claims[s.id]]
        verdicts = await self.answers(
            part, asked, settings.name, lambda s, value: _missing(value, len(claims[s.id]))
        )
        for segment, value in verdicts:
            self._write(segment, claims[segment.id], value["verdicts"])
        return part

    def splitting(self, part: Part, segment: Segment) -> Request:
        """The question that takes a segment's text apart."""
        settings = self.settings
        text = one_line(segment.texts_of(settings.role)[-1].text)
        claim = {"type": "string", "minLength": 1, "maxLength": 300}
        return self.request(
            f"{part.video.id}/{segment.id}/{self.label}/split",
            self.split.render(language=settings.language, most=settings.most, text=text),
            object_schema({"claims": {"type": "array", "items": claim, "maxItems": settings.most}}),
        )

    def checking(self, part: Part, segment: Segment, claims: list[str]) -> Request:
        """The question that holds claims against a segment's pictures."""
        frames = spread(part.frames[segment.id], self.settings.frames)
        verdict = object_schema(
            {
                "claim": {"type": "integer", "minimum": 1, "maximum": len(claims)},
                "shown": {"type": "string", "maxLength": 300},
                "verdict": {"enum": ["true", "false", "unseen"]},
            }
        )
        listed = {"type": "array", "items": verdict, "maxItems": len(claims)}
        return self.request(
            f"{part.video.id}/{segment.id}/{self.label}/check",
            self.prompt.render(
                count=len(frames),
                times=", ".join(f"{frame.clock.seconds(frame.tick):.2f}" for frame in frames),
                language=self.settings.language,
                claims="\n".join(f"{number}. {claim}" for number, claim in enumerate(claims, 1)),
            ),
            object_schema({"verdicts": listed}),
            [frame.jpeg for frame in frames],
        )

    def _write(self, segment: Segment, claims: list[str], verdicts: list[dict[str, Any]]) -> None:
        name = self.settings.name
        source = segment.texts_of(self.settings.role)[-1].id
        for item in sorted(verdicts, key=lambda item: int(item["claim"])):
            segment.add_sample(
                name,
                claims[item["claim"] - 1],
                item["verdict"],
                self.by_model(),
                evidence=[segment.span],
                sources=[source],
                labels={"type": "claim", "shown": one_line(item["shown"])},
            )
        decided = [item["verdict"] for item in verdicts if item["verdict"] != "unseen"]
        segment.scores[f"{name}_seen"] = len(decided) / len(verdicts)
        if decided:
            segment.scores[f"{name}_true"] = decided.count("true") / len(decided)


def _repeats(_: Segment, value: Any) -> str | None:
    claims = [one_line(claim).casefold() for claim in value["claims"]]
    if not all(claims):
        return "a claim is blank"
    return "a claim is made twice" if len(set(claims)) < len(claims) else None


def _missing(value: Any, claims: int) -> str | None:
    numbers = sorted(item["claim"] for item in value["verdicts"])
    if numbers == list(range(1, claims + 1)):
        return None
    return f"there must be one verdict for each of the claims 1 to {claims}"
