"""vLLM as far as the backend sees it, for machines where it is not installed.

The engine answers what it was given (the pictures' pixels and the prompt), in slots and after
random times, so that replies come in any order; and it misbehaves as it is told. The names and
arguments are those of vLLM 0.32, and the real one is held to them by `infra/vllm_cpu`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image


class VLLMError(Exception):
    """What all errors of vLLM derive from."""


class VLLMClientError(VLLMError):
    """The request is at fault."""


class EngineGenerateError(VLLMError):
    """Something went wrong with one request."""


class EngineDeadError(VLLMError):
    """Nothing can be asked any more."""


Fate = Callable[[str, int], str]
"""(what was seen, how often so far) -> right, or how to fail."""


def seen(pictures: Sequence[Image.Image], prompt: str) -> str:
    """What the engine says it saw; the prompt from its first digit on, since chat forms differ."""
    digest = hashlib.sha256(b"".join(p.tobytes() for p in pictures)).hexdigest()[:12]
    number = "".join(letter for letter in prompt.partition(":")[0] if letter.isdigit())
    return f"{number} {digest}"


@dataclass
class FakeVllm:
    """What the test may set, and what it may look at afterwards."""

    fate: Fate = lambda what, number: "right"
    slots: int = 64
    slowest_s: float = 0.004
    arguments: dict[str, Any] = field(default_factory=dict)  # of the engine
    sampling: list[Any] = field(default_factory=list)
    order: list[str] = field(default_factory=list)  # what was answered, as it was
    fates: Counter[str] = field(default_factory=Counter)
    started: int = 0
    dead: bool = False

    def __post_init__(self) -> None:
        self._names: set[str] = set()
        self._sent: Counter[str] = Counter()
        self._rng = random.Random(5)

    async def generate(
        self, prompt: dict[str, Any], parameters: Any, name: str, **more: Any
    ) -> AsyncIterator[Any]:
        if self.dead:
            raise EngineDeadError("the engine core has died")
        assert name not in self._names, "the engine takes no name twice"
        self._names.add(name)
        self.sampling.append(parameters)
        pictures = prompt.get("multi_modal_data", {}).get("image", [])
        what = seen(pictures, prompt["prompt"])
        self._sent[what] += 1
        async with self._free:
            await asyncio.sleep(self._rng.uniform(0, self.slowest_s))
        if self.dead:
            raise EngineDeadError("the engine core has died")
        self.order.append(what)
        fate = self.fate(prompt["prompt"], self._sent[what])
        self.fates[fate] += 1
        text = json.dumps({"caption": f"seen {what}"})
        match fate:
            case "right":
                yield _output(text[:9], None)
                yield _output(text, "stop")
            case "truncated":
                yield _output(text[:-3], "length")
            case "off_schema":
                yield _output('{"caption": 7}', "stop")
            case "aborted":
                yield _output(text, "abort")
            case "refused":
                raise VLLMClientError("the prompt is longer than the model")
            case "broken":
                raise EngineGenerateError("an assertion somewhere")
            case "ended":
                yield _output(text[:9], None)
            case "dead":  # and with it everything it was asked
                self.dead = True
                raise EngineDeadError("the engine core has died")
            case _:
                raise AssertionError(f"no such fate: {fate}")

    def shutdown(self) -> None:
        self.dead = True

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FakeVllm:
        """Put it where `import vllm` finds it."""

        def from_engine_args(arguments: SimpleNamespace) -> FakeVllm:
            self.arguments, self.dead = vars(arguments), False
            self.started += 1
            self._free = asyncio.Semaphore(self.slots)
            return self

        members: dict[str, dict[str, Any]] = {
            "vllm": {"AsyncEngineArgs": SimpleNamespace, "SamplingParams": SimpleNamespace},
            "vllm.sampling_params": {
                "RequestOutputKind": SimpleNamespace(FINAL_ONLY="final"),
                "StructuredOutputsParams": SimpleNamespace,
            },
            "vllm.exceptions": {"VLLMError": VLLMError},
            "vllm.v1": {},
            "vllm.v1.engine": {},
            "vllm.v1.engine.exceptions": {"EngineDeadError": EngineDeadError},
            "vllm.v1.engine.async_llm": {
                "AsyncLLM": SimpleNamespace(from_engine_args=from_engine_args)
            },
        }
        for name, inside in members.items():
            module = ModuleType(name)
            vars(module).update(inside)
            monkeypatch.setitem(sys.modules, name, module)
        return self


def _output(text: str, finish: str | None) -> Any:
    best = SimpleNamespace(text=text, finish_reason=finish, token_ids=[1] * 20)
    return SimpleNamespace(finished=finish is not None, outputs=[best], prompt_token_ids=[1] * 100)
