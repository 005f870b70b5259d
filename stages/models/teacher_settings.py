"""What a recipe writes under `teacher:`, the same block for every stage that asks one.

Each backend has a block of its own for what only it needs. How a backend batches and where it runs
is left out of the identity, because it must not decide whether finished work is reused.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator, model_validator

from clipmill.stages.models.embedded import EMBEDDED, resolved
from clipmill.stages.models.identity import ModelIdentity, anchored, identify, local_folder
from clipmill.stages.stage import Resources, StageSettings


class Prices(StageSettings):
    """What a million tokens cost, in any one currency."""

    prompt: float = Field(default=0.0, ge=0)
    """Of tokens read: prompt and pictures."""
    completion: float = Field(default=0.0, ge=0)
    """Of tokens written."""

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


class ServerSettings(StageSettings):
    """A server that speaks the OpenAI protocol, and how hard it may be driven."""

    url: str = ""
    """Its address up to the version, as in `http://gpu7:8000/v1`."""
    key_variable: str = Field(default="OPENAI_API_KEY", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Environment variable with the key, read on the workers. The key itself stands nowhere else;
    without the variable none is sent."""
    concurrency: int = Field(default=64, ge=1, le=4096)
    """Requests in flight; of every actor, where a recipe asks for more than one (`actors`). Twice
    what the server works on at a time keeps it busy."""
    attempts: int = Field(default=6, ge=1, le=50)
    """How often a request is sent before it is given up."""
    timeout_s: float = Field(default=180.0, gt=0)
    """Seconds without an answer after which one attempt is given up."""
    deadline_s: float = Field(default=900.0, gt=0)
    """Seconds after which a request is given up, all its attempts and pauses together."""
    constrain: Literal["json_schema", "json_object", "off"] = "json_schema"
    """How the server is told the form of a reply. Replies are validated whatever it does."""
    length_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the server calls the limit on a reply's length."""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        url = url.rstrip("/")
        if not url:
            return url
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write http://host:port/v1 or https://host/v1")
        if parts.username or parts.password:
            raise ValueError("no password in an address: recipes are stored; use key_variable")
        if parts.query or parts.fragment:
            raise ValueError("an address ends with its path, e.g. /v1")
        return url

    @property
    def private(self) -> bool:
        """Whether what is sent there unencrypted stays on this machine or its own network."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_private
        except ValueError:
            return "." not in host or host.endswith((".local", ".internal", ".svc"))


class VllmSettings(StageSettings):
    """How vLLM runs a model inside the actor."""

    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs that share one model; also what an actor asks of the cluster."""
    max_length: int | None = Field(default=None, ge=16)
    """Longest prompt with its reply, in tokens; none is the model's own limit."""
    max_images: int = Field(default=32, ge=0)
    """Pictures in one request at most; a stage that sends more fails and says so."""
    gpu_memory: float = Field(default=0.9, gt=0, le=1)
    """Share of a GPU's memory that vLLM takes."""
    concurrency: int = Field(default=128, ge=1)
    """Requests generated at a time."""
    batch_tokens: int | None = Field(default=None, ge=1)
    """Tokens computed in one step, prompts and replies together; none is vLLM's own choice. More
    is faster for long prompts, and each reply waits longer for its next token."""
    eager: bool = False
    """Start in seconds, without compiling; slower afterwards."""


class TeacherSettings(StageSettings):
    """A generating model and how it is run."""

    backend: Literal["transformers", "vllm", "openai"] = "transformers"
    """What runs the model: `transformers` or `vllm` in the actor itself, or a server that speaks
    the OpenAI protocol."""
    model: str = "Qwen/Qwen2.5-VL-3B-Instruct"
    """Name on the hub, a local folder, or `embedded`: the small one that ships with Clipmill and
    knows rendered scenes only; of a server's model, the name it is served under."""
    revision: str = "main"
    """Branch, tag or commit of a hub model; of a server's model, whatever tells you which weights
    it has; without meaning for a folder."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the weights; `auto` takes the checkpoint's own. A server has its own."""
    device: str = "auto"
    """By transformers: `auto` is the first CUDA device if there is one, else the CPU."""
    batch_size: int = Field(default=8, ge=1)
    """By transformers: requests generated together. Bigger is faster until memory ends."""
    vllm: VllmSettings = VllmSettings()
    """By vllm: its engine."""
    server: ServerSettings = ServerSettings()
    """By openai: the server."""
    prices: Prices = Prices()
    """What its tokens cost, for the account and `engine.budget`."""

    @field_validator("model")
    @classmethod
    def _means_the_same_on_every_worker(cls, model: str, info: ValidationInfo) -> str:
        served = info.data.get("backend") == "openai"
        return model if served or model == EMBEDDED else anchored(model)

    @property
    def source(self) -> str:
        """The model as a backend here loads it: a hub name or a folder."""
        return resolved(self.model, "teacher")

    def pretrained(self) -> dict[str, Any]:
        """Where transformers finds the model: arguments of every `from_pretrained`."""
        folder = local_folder(self.source)
        if folder is not None:
            return {"pretrained_model_name_or_path": str(folder), "trust_remote_code": False}
        return {
            "pretrained_model_name_or_path": self.model,
            "trust_remote_code": False,
            "revision": self.revision,
        }

    @model_validator(mode="after")
    def _has_a_server(self) -> TeacherSettings:
        if self.backend == "openai" and not self.server.url:
            raise ValueError("backend openai needs server.url, e.g. http://localhost:8000/v1")
        return self

    def model_identity(self) -> ModelIdentity:
        if self.backend == "openai":
            return ModelIdentity(self.model, self.revision)
        return identify(self.source, self.revision)

    def identity(self) -> dict[str, Any]:
        """What a reply depends on: not the place of a folder or server, the device or the batch
        size.
        """
        name, revision = self.model_identity()
        return {
            "backend": self.backend,
            "model": name,
            "revision": revision,
            "dtype": self.dtype,
        }

    def requires(self) -> dict[str, str]:
        """Importable module -> extra that installs it, for `Stage.requires`."""
        if self.backend == "openai":
            return {}
        if self.backend == "vllm":
            return {"vllm": "vllm"}
        return {"torch": "models", "transformers": "models", "llguidance": "models"}

    def resources(self, own: Resources) -> Resources:
        """What an actor of a stage with this teacher occupies, `own` being the stage's.

        A teacher with slots of its own is kept busy by many parts at a time: most videos have few
        clips, so a few parts do not fill the slots, and whoever waits for a part's slowest reply
        leaves the others' slots empty. Parts that wait cost a thread and their frames. A server has
        one actor, for the load on it is what the recipe says and not what the cluster has room for.
        """
        if self.backend == "openai":
            return replace(own, cpus=min(own.cpus, 1.0), parts=self.server.concurrency, most=1)
        if self.backend == "vllm":
            gpus = own.gpus or float(self.vllm.tensor_parallel)
            return replace(own, gpus=gpus, parts=min(self.vllm.concurrency, 64))
        return own
