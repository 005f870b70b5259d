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

from clipmill.stages.models.identity import ModelIdentity
from clipmill.stages.models.teacher_settings import TeacherSettings as TeacherSettings

Finish = Literal["stop", "length", "error"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

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
    tries: int = 1  # how often it was sent


class Teacher(Protocol):
    """A loaded model. `setup` once, before the first `ask`; `close` releases it.

    A prompt may quote what strangers wrote: a backend sees to it that its own control tokens,
    spelt out in a prompt, are read as text. A backend that answers each request as soon as it can,
    whatever else was asked in the same call, says so by `one_by_one = True`; then every reply is
    checked, repaired and remembered at once instead of after the slowest. Such a backend has a
    line of its own, so it sees to the budget itself (`tab.Turns`).
    """

    @property
    def identity(self) -> ModelIdentity: ...

    @property
    def settings(self) -> TeacherSettings: ...

    def setup(self) -> None: ...

    async def ask(self, requests: Sequence[Request]) -> Sequence[Reply]: ...

    def close(self) -> None: ...


def open_teacher(settings: TeacherSettings) -> Teacher:
    """The teacher a recipe asks for, not yet set up."""
    if settings.backend == "openai":
        from clipmill.stages.models.openai_teacher import OpenAITeacher

        return OpenAITeacher(settings)
    if settings.backend == "vllm":
        from clipmill.stages.models.vllm_teacher import VllmTeacher

        return VllmTeacher(settings)
    from clipmill.stages.models.transformers_teacher import TransformersTeacher

    return TransformersTeacher(settings)
