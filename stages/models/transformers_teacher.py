"""A teacher that runs in the actor itself, through Hugging Face transformers.

Serves any image-text-to-text model (Qwen2.5-VL, Qwen3-VL, ...) and, for requests without pictures,
any causal language model. Slower than a serving engine, and the backend with the fewest parts: no
server, no port, the same on a CPU. Greedy replies are batched; in reduced precision a batch-mate
can move a near-tie, which is the price of batching everywhere. Sampled requests run alone, because
torch has one random stream per batch and a request's seed must decide its reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PIL import Image

from clipmill.schemas.errors import ModelError
from clipmill.stages.models.chat import Chat, end_tokens
from clipmill.stages.models.identity import ModelIdentity
from clipmill.stages.models.teacher import Reply, Request, TeacherSettings, Usage
from clipmill.stages.models.torchvision_shim import prepare

_Item = tuple[int, Request, list[Image.Image]]  # place in the call, request, its pictures


class TransformersTeacher:
    """See the module's docstring; `setup` loads the model, `ask` may be called concurrently."""

    def __init__(self, settings: TeacherSettings) -> None:
        self.settings = settings
        self.identity: ModelIdentity = settings.model_identity()
        # One thread: calls queue up behind the one model while the actor's loop stays free.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="teacher")
        self._model: Any = None
        self._chat: Any = None
        self._grammars: Any = None
        self._ends: set[int] = set()

    def setup(self) -> None:
        """Load the weights. Raises ModelError where there are none to load."""
        prepare()
        import torch
        from transformers import (
            AutoModelForCausalLM,
            AutoModelForImageTextToText,
            GenerationConfig,
        )
        from transformers.utils.logging import disable_progress_bar

        from clipmill.stages.models.constrained import Grammars

        disable_progress_bar()  # an actor has no terminal of its own
        device = self.settings.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            source = self.settings.pretrained()
            self._chat = Chat.load(source)
            kind = AutoModelForImageTextToText if self._chat.sees else AutoModelForCausalLM
            model = kind.from_pretrained(**source, dtype=self.settings.dtype)
        except (OSError, ValueError) as error:
            raise ModelError(
                f"model {self.settings.model!r} cannot be loaded: {error}",
                cure="check its name and revision; without a hub, give a local folder",
            ) from error
        self._model = model.to(device).eval()
        tokenizer = self._chat.tokenizer
        tokenizer.padding_side = "left"  # generation continues at the right end of a row
        self._ends = end_tokens(model.generation_config.eos_token_id, tokenizer.eos_token_id)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.convert_ids_to_tokens(min(self._ends))
        # A checkpoint's own defaults (sampling, repetition penalty) would fill every gap in ours.
        model.generation_config = GenerationConfig(
            eos_token_id=sorted(self._ends), pad_token_id=tokenizer.pad_token_id
        )
        width = model.get_output_embeddings().weight.shape[0]
        self._grammars = Grammars(tokenizer, width, self._end())

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """One reply per request, in the order of the requests."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._answer, list(requests))

    def close(self) -> None:
        self._thread.shutdown(wait=True)
        self._model = self._chat = self._grammars = None

    def _answer(self, requests: list[Request]) -> list[Reply]:
        replies: dict[int, Reply] = {}
        ready: list[_Item] = []
        for place, request in enumerate(requests):
            try:
                pictures = self._chat.pictures(request)
            except (OSError, ValueError, Image.DecompressionBombError) as error:
                replies[place] = Reply(request.id, finish_reason="error", error=f"image: {error}")
                continue
            ready.append((place, request, pictures))
        for batch in self._batches(ready):
            found = self._generate_in_memory(batch)
            replies.update(zip((item[0] for item in batch), found, strict=True))
        return [replies[place] for place in range(len(requests))]

    def _batches(self, ready: list[_Item]) -> Iterator[list[_Item]]:
        """Greedy requests of one kind together, sampled ones alone."""
        kinds: dict[tuple[int, bool], list[_Item]] = {}
        for item in ready:
            if item[1].temperature > 0:
                yield [item]
            else:
                kinds.setdefault((item[1].max_tokens, bool(item[2])), []).append(item)
        size = self.settings.batch_size
        for items in kinds.values():
            yield from (items[start : start + size] for start in range(0, len(items), size))

    def _generate_in_memory(self, batch: list[_Item]) -> list[Reply]:
        """Generate, in halves where the whole does not fit: clips differ in size by far."""
        import torch

        try:
            return self._generate([item[1] for item in batch], [item[2] for item in batch])
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise
        # Out of the handler, since the error's traceback keeps the failed batch's tensors alive.
        torch.cuda.empty_cache()
        middle = len(batch) // 2
        first = self._generate_in_memory(batch[:middle])
        return [*first, *self._generate_in_memory(batch[middle:])]

    def _generate(self, requests: list[Request], pictures: list[list[Image.Image]]) -> list[Reply]:
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        texts = [self._chat.render(request) for request in requests]
        flat = [images for images in pictures if images]
        inputs = self._chat.processor(
            text=texts,
            padding=True,
            return_tensors="pt",
            # A chat template writes the special tokens itself.
            add_special_tokens=not self._chat.templated,
            **({"images": flat} if flat else {}),
        ).to(self._model.device)
        first = requests[0]
        config = GenerationConfig(
            max_new_tokens=first.max_tokens,
            do_sample=first.temperature > 0,
            eos_token_id=sorted(self._ends),
            pad_token_id=self._chat.tokenizer.pad_token_id,
            **({"temperature": first.temperature, "top_k": 0} if first.temperature > 0 else {}),
        )
        processors = LogitsProcessorList()
        if any(request.schema is not None for request in requests):
            processors.append(self._grammars.processor([r.schema for r in requests]))
        devices = [self._model.device] if self._model.device.type == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices=devices):
            torch.manual_seed(first.seed)
            output = self._model.generate(
                **inputs, generation_config=config, logits_processor=processors
            )
        prompt_tokens = inputs["attention_mask"].sum(dim=1).tolist()
        rows = output[:, inputs["input_ids"].shape[1] :].tolist()
        return [
            self._reply(request, row, count)
            for request, row, count in zip(requests, rows, prompt_tokens, strict=True)
        ]

    def _reply(self, request: Request, row: list[int], prompt_tokens: int) -> Reply:
        stop = next((place for place, token in enumerate(row) if token in self._ends), None)
        kept = row if stop is None else row[:stop]
        return Reply(
            request.id,
            self._chat.tokenizer.decode(
                kept, skip_special_tokens=True, clean_up_tokenization_spaces=False
            ),
            finish_reason="length" if stop is None else "stop",
            usage=Usage(int(prompt_tokens), len(kept) + (stop is not None)),
        )

    def _end(self) -> int:
        """The end token that closes a constrained reply: the tokenizer's own, if it is one."""
        own = self._chat.tokenizer.eos_token_id
        return int(own) if own in self._ends else min(self._ends)
