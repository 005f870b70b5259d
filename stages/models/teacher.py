"""The one door to generating models: requests in, replies out, paired by id and nothing else.

A teacher answers in any order, and may lose, double or mangle replies; whoever asks goes through
`contract.ask`, which pairs and validates. Backends hold no state between calls besides the loaded
model, so that a reply depends on its request alone. `TeacherSettings` is what a recipe writes
under `teacher:`; how a backend batches and where it runs is left out of its identity, because it
must not decide whether finished work is reused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic import Field, field_validator

from clipmill.stages.models.identity import ModelIdentity, anchored, identify
from clipmill.stages.stage import StageSettings

Finish = Literal["stop", "length", "error"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a teacher: a text with the pictures it is about, in time order.

    `id` must be unique among everything in flight at the teacher. With a `schema` the reply is
    to be JSON, and a backend that can constrain its decoding to it does.
    """

    id: str
    prompt: str
    images: tuple[bytes, ...] = ()  # JPEG
    schema: dict[str, Any] | None = field(default=None, hash=False)
    max_tokens: int = 256
    temperature: float = 0.0  # 0 is greedy
    seed: int = 0  # of no effect while greedy


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back under a request's id. Nothing in it has been validated."""

    id: str
    text: str = ""
    finish_reason: Finish = "stop"
    usage: Usage = Usage()
    error: str | None = None  # set where the backend could not answer this one request


class Teacher(Protocol):
    """A loaded model. `setup` once, before the first `ask`; `close` releases it.

    A prompt may quote what strangers wrote: a backend sees to it that its own control tokens,
    spelt out in a prompt, are read as text.
    """

    @property
    def identity(self) -> ModelIdentity: ...

    def setup(self) -> None: ...

    async def ask(self, requests: Sequence[Request]) -> Sequence[Reply]: ...

    def close(self) -> None: ...


class TeacherSettings(StageSettings):
    """A generating model and how it is run."""

    backend: Literal["transformers"] = "transformers"
    """What runs the model. `transformers` loads it into the actor itself."""
    model: str = "Qwen/Qwen2.5-VL-3B-Instruct"
    """Name on the hub, or a local folder."""
    revision: str = "main"
    """Branch, tag or commit of a hub model; without meaning for a folder."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the weights; `auto` takes the checkpoint's own."""
    device: str = "auto"
    """`auto` is the first CUDA device if there is one, else the CPU."""
    batch_size: int = Field(default=8, ge=1)
    """Requests generated together. Bigger is faster until memory ends."""

    @field_validator("model")
    @classmethod
    def _means_the_same_on_every_worker(cls, model: str) -> str:
        return anchored(model)

    def model_identity(self) -> ModelIdentity:
        return identify(self.model, self.revision)

    def identity(self) -> dict[str, Any]:
        """What a reply depends on: not the place of a folder, the device or the batch size."""
        name, revision = self.model_identity()
        return {
            "backend": self.backend,
            "model": name,
            "revision": revision,
            "dtype": self.dtype,
        }


def open_teacher(settings: TeacherSettings) -> Teacher:
    """The teacher a recipe asks for, not yet set up."""
    from clipmill.stages.models.transformers_teacher import TransformersTeacher

    return TransformersTeacher(settings)
