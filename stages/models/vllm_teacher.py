"""A teacher that runs in the actor itself, through vLLM's asynchronous engine.

Requests are handed over as they come and the engine batches them continuously, so one actor serves
many parts at a time and no request waits for another's end. Prompts that begin alike share their
computation (prefix caching). Replies are constrained with the same grammar library as those of the
transformers backend, so that both say the same at temperature 0, up to near-ties of arithmetic.
The price: vLLM pins its own torch, so on most machines it lives in an environment of its own
(`env:` in the recipe), and it takes a whole GPU.
"""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from collections.abc import Sequence
from typing import Any

from PIL import Image

from clipmill.schemas.errors import ModelError
from clipmill.stages.models.chat import Chat, end_tokens
from clipmill.stages.models.identity import ModelIdentity
from clipmill.stages.models.own_loop import OwnLoop
from clipmill.stages.models.tab import Turns
from clipmill.stages.models.teacher import Reply, Request, TeacherSettings, Usage
from clipmill.stages.models.torchvision_shim import prepare

log = logging.getLogger(__name__)


def engine_arguments(settings: TeacherSettings, sees: bool) -> dict[str, Any]:
    """A recipe's settings under vLLM's names, for a model that sees pictures or reads text only."""
    own = settings.vllm
    return {
        "dtype": settings.dtype,
        "tensor_parallel_size": own.tensor_parallel,
        # An actor's GPUs are on one node. Inside a placement group vLLM would choose Ray and wait
        # for GPUs that this very actor holds.
        "distributed_executor_backend": "mp" if own.tensor_parallel > 1 else None,
        "max_model_len": own.max_length,
        "max_num_seqs": own.concurrency,
        "max_num_batched_tokens": own.batch_tokens,
        "gpu_memory_utilization": own.gpu_memory,
        "enforce_eager": own.eager,
        "enable_prefix_caching": True,
        "limit_mm_per_prompt": {"image": own.max_images, "video": 0} if sees else {},
        # A checkpoint's own sampling defaults would fill every gap in ours.
        "generation_config": "vllm",
        # White space between JSON tokens is free for the grammar, and a model that likes it would
        # spend its whole reply there. A flag on single requests does nothing.
        "structured_outputs_config": {"backend": "guidance", "disable_any_whitespace": True},
        "disable_log_stats": True,
    }


class VllmTeacher:
    """See the module's docstring; `ask` may be called from any thread's loop."""

    one_by_one = True

    def __init__(self, settings: TeacherSettings) -> None:
        self.settings = settings
        self.identity: ModelIdentity = settings.model_identity()
        self._engine: Any = None
        self._ends: set[int] = set()

    def setup(self) -> None:
        """Load the model. Raises ModelError where there is none to load."""
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # whoever wants to be counted may say so
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        prepare()
        from transformers import GenerationConfig

        self._loop = OwnLoop("teacher")
        try:
            source = self.settings.pretrained()
            model, revision = source["pretrained_model_name_or_path"], source.get("revision")
            self._chat = Chat.load(source)
            try:
                named = GenerationConfig.from_pretrained(
                    model, revision=revision or "main"
                ).eos_token_id
            except OSError:  # the file is optional
                named = None
            self._ends = end_tokens(named, self._chat.tokenizer.eos_token_id)
            arguments = engine_arguments(self.settings, self._chat.sees)
            self._loop.wait(self._start({"model": model, "revision": revision, **arguments}))
        except (OSError, ValueError, RuntimeError) as error:
            self._loop.close()
            raise ModelError(
                f"model {self.settings.model!r} cannot be loaded: {error}",
                cure="check its name, revision and the memory it needs (teacher.vllm)",
            ) from error

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """One reply per request, in the order of the requests."""
        return await self._loop.run(self._answer(requests))

    def close(self) -> None:
        if self._engine is not None:
            self._engine.shutdown()
            self._engine = None
            self._loop.close()

    async def _start(self, arguments: dict[str, Any]) -> None:
        self._arguments = arguments
        self._turns = Turns(2 * self.settings.vllm.concurrency, self.settings)
        self._starting = asyncio.Lock()
        self._engine = self._made()

    def _made(self) -> Any:
        """An engine; on the loop that it will run on, for it begins its own tasks there."""
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        return AsyncLLM.from_engine_args(AsyncEngineArgs(**self._arguments))

    async def _revive(self, dead: Any) -> None:
        """Another engine in place of one that died, once for all who were asking it.

        A night's run would else fail part after part at an actor whose engine is gone.
        """
        async with self._starting:
            if self._engine is dead:
                log.warning("vLLM's engine died and is started again")
                dead.shutdown()
                self._engine = self._made()

    async def _answer(self, requests: Sequence[Request]) -> list[Reply]:
        turns = [self._turns.take(self._one, request) for request in requests]
        return list(await asyncio.gather(*turns))

    async def _one(self, request: Request) -> Reply:
        from vllm.exceptions import VLLMError
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            self._fits(request)
            pictures = await asyncio.to_thread(self._chat.pictures, request)
            engine = self._engine
            try:
                return await self._generate(engine, request, pictures)
            except EngineDeadError:
                await self._revive(engine)
            return await self._generate(self._engine, request, pictures)
        except (EngineDeadError, RuntimeError) as error:
            raise ModelError(
                f"vLLM's engine died and its second one too: {error}"[:300],
                cure="see the actor's log; lower vllm.gpu_memory; then `clipmill retry OUT`",
            ) from error
        except (OSError, ValueError, Image.DecompressionBombError, VLLMError) as error:
            # A broken picture, or a request longer than the model: the fault is this request's.
            return Reply(request.id, finish_reason="error", error=str(error)[:300])

    def _fits(self, request: Request) -> None:
        """A stage that sends too much sends it for every clip: no fault of the one asked about."""
        most = self.settings.vllm.max_images
        if len(request.images) > most:
            raise ModelError(
                f"a request has {len(request.images)} pictures, the engine takes {most}",
                cure="raise teacher.vllm.max_images, or ask for fewer frames",
            )

    async def _generate(self, engine: Any, request: Request, pictures: list[Image.Image]) -> Reply:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        form = None
        if request.schema is not None:
            form = StructuredOutputsParams(json=request.schema)
        sampled = request.temperature > 0
        parameters = SamplingParams(
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            seed=request.seed if sampled else None,
            stop_token_ids=sorted(self._ends),
            structured_outputs=form,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        prompt: dict[str, Any] = {"prompt": self._chat.render(request)}
        if pictures:
            prompt["multi_modal_data"] = {"image": pictures}
        # The engine's name for a request is never ours: an id may come again in another call.
        stream = engine.generate(
            prompt,
            parameters,
            uuid.uuid4().hex,
            tokenization_kwargs={"add_special_tokens": not self._chat.templated},
        )
        async for output in stream:
            if output.finished:
                (best,) = output.outputs
                usage = Usage(len(output.prompt_token_ids or ()), len(best.token_ids))
                if best.finish_reason in ("stop", "length"):
                    return Reply(request.id, best.text, best.finish_reason, usage)
                return Reply(
                    request.id, finish_reason="error", usage=usage, error=str(best.finish_reason)
                )
        return Reply(request.id, finish_reason="error", error="the engine ended without a reply")
