"""Choose one of several candidate texts per clip; the losers stay where they are.

`score` takes the text that an encoder finds nearest to the clip, `agreement` the one nearest to the
other candidates, `selector` weighs both with what votes have taught about each source
(`selector.py`), and `columns` compares scores that earlier stages wrote, such as a judge's. The
encoder is blind to what it does not encode and agreement to an error that most share, so a learnt
selector beats both as soon as there are votes. Equal candidates go to the role named first: the
order of `roles` is their authority.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from clipmill.schemas.errors import ModelError
from clipmill.schemas.records import Part, Segment, Text
from clipmill.stages.caption.selector import (
    Array,
    Candidates,
    agreements,
    fits,
    load_selector,
    selector_identity,
)
from clipmill.stages.models.encoder import encoder_name, pool
from clipmill.stages.models.encoder_stage import EncoderStage, EncodeSettings
from clipmill.stages.models.frame_choice import spread
from clipmill.stages.models.identity import anchored


class Settings(EncodeSettings):
    layer: str = "shots"
    """Layer whose segments have candidates."""
    roles: tuple[str, ...] = Field(min_length=1)
    """Roles of the candidates, the most trusted first. Every text of a role is a candidate."""
    role: str = Field(default="caption", pattern=r"^[a-z0-9_:]+$")
    """Role of the chosen text, which names the candidate as its source."""
    by: Literal["score", "agreement", "selector", "columns"] = "score"
    """What decides: likeness to the clip, likeness to one another, a learnt selector, or scores
    of earlier stages."""
    selector: str = ""
    """File of a selector made from votes, for `by: selector`."""
    columns: dict[str, str] = Field(default_factory=dict)
    """`by: columns`: the score of each role, e.g. `{candidate:frames: judged_frames}`."""
    embedding: str | None = None
    """Stored embedding that is the clip; none encodes frames."""
    frames: int = Field(default=8, ge=1)
    """At most so many frames a clip, spread over it."""
    name: str = Field(default="selected", pattern=r"^[a-z0-9_]+$")
    """Label with the role that was chosen; score NAME_margin is how far the next one was behind,
    lowest where a person should look."""

    @field_validator("selector")
    @classmethod
    def _the_same_on_every_worker(cls, path: str) -> str:
        return anchored(path) if path else path

    @model_validator(mode="after")
    def _has_what_decides(self) -> Self:
        if (self.by == "selector") != bool(self.selector):
            raise ValueError("`selector` names a file exactly where `by` is selector")
        if (self.by == "columns") != bool(self.columns):
            raise ValueError("`columns` names scores exactly where `by` is columns")
        if self.columns and set(self.columns) != set(self.roles):
            raise ValueError("`columns` must name a score for each of `roles`")
        if len(set(self.roles)) < len(self.roles):
            raise ValueError("`roles` names a role twice")
        return self


class SelectCandidate(EncoderStage[Settings]):
    """Choose the best of several candidate texts of a clip; losers are kept."""

    settings: Settings
    needs: ClassVar = {"segments:{layer}"}
    provides: ClassVar = {"texts:{role}", "labels:{name}", "scores:{name}_margin"}

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        if settings.by == "columns":  # compares numbers: there is nothing to load
            vars(self).update(own_actor=False)

    def reads(self) -> frozenset[str]:
        settings = self.settings
        own = {f"texts:{role}" for role in settings.roles}
        if settings.by == "columns":
            own |= {f"scores:{name}" for name in settings.columns.values()}
        elif settings.by != "agreement":
            own |= {f"embeddings:{settings.embedding}" if settings.embedding else "frames"}
        return super().reads() | own

    def requires(self) -> dict[str, str]:
        return {} if self.settings.by == "columns" else super().requires()

    def identity(self) -> dict[str, Any]:
        own = super().identity()
        if self.settings.by == "columns":
            del own["settings"]["encoder"]
        if self.settings.selector:
            own["settings"]["selector"] = selector_identity(self.settings.selector)
        return own

    def setup(self) -> None:
        if self.settings.by == "columns":
            return
        super().setup()
        if self.settings.by == "selector":
            self.selector = load_selector(self.settings.selector)
            self._same_encoder(self.selector.encoder, "the selector", "")

    def close(self) -> None:
        if self.settings.by != "columns":
            super().close()

    def process(self, part: Part) -> Part:
        settings = self.settings
        for segment in part.video.layer(settings.layer):
            held = [text for role in settings.roles for text in segment.texts_of(role)]
            values = self._values(part, segment, held) if held else None
            if values is None or np.isnan(values).all():
                continue  # nothing decides: not chosen, which is no choice of the first
            best = int(np.nanargmax(values))  # the first of equals
            chosen = held[best]
            by = chosen.author
            segment.add_text(
                settings.role,
                chosen.text,
                self.author(by.model, by.revision, by.prompt),
                language=chosen.language,
                sources=[chosen.id],
            )
            segment.labels[settings.name] = chosen.role
            others = np.delete(values, best)
            others = others[~np.isnan(others)]
            if len(others):
                margin = float(values[best] - others.max())
                segment.scores[f"{settings.name}_margin"] = margin
        return part

    def _values(self, part: Part, segment: Segment, held: list[Text]) -> Array | None:
        """What speaks for each candidate, [k], NaN where unknown; None where nothing is known."""
        settings = self.settings
        if settings.by == "columns":
            names = [settings.columns[text.role] for text in held]
            return np.array([segment.scores.get(name, np.nan) for name in names], np.float64)
        said = tuple(text.text for text in held)
        words = self.encoder.texts(said)
        roles = tuple(text.role for text in held)
        if settings.by == "agreement":
            return agreements(Candidates(words[0], said, words, roles))
        clip = self._clip(part, segment)
        if clip is None:
            return None
        own = Candidates(clip, said, words, roles)
        return fits(own) if settings.by == "score" else self.selector.utilities(own)

    def _clip(self, part: Part, segment: Segment) -> Any:
        """The clip's vector [d], stored or from its frames; None where there is none."""
        settings = self.settings
        if settings.embedding is None:
            frames = spread(part.frames.get(segment.id, []), settings.frames)
            return pool(self.encoder.images([frame.jpeg for frame in frames])) if frames else None
        stored = [own for own in segment.embeddings if own.name == settings.embedding]
        if not stored:
            return None
        self._same_encoder(stored[-1].model, f"embedding {settings.embedding!r}", part.name)
        return np.asarray(stored[-1].vector, np.float32)

    def _same_encoder(self, model: str, what: str, name: str) -> None:
        own = encoder_name(self.encoder.identity)
        if model != own:
            raise ModelError(
                f"{what} was made by {model}, the texts' vectors by {own}",
                cure="give both the same encoder",
                input=name,
                stage=self.label,
            )
