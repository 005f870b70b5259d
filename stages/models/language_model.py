"""The one door to language models as judges: how surprising a text is, in nats per token.

Speech that a model of text finds far too easy is a loop or an advertisement read for the hundredth
time, and what it finds far too hard is noise taken for words; published sets keep the band
between. A loss belongs to its model: a band for one says nothing about another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from pydantic import Field, field_validator

from clipmill.schemas.errors import MissingExtra, ModelError
from clipmill.stages.models.embedded import EMBEDDED, resolved
from clipmill.stages.models.identity import ModelIdentity, anchored, identify, local_folder
from clipmill.stages.models.torchvision_shim import prepare
from clipmill.stages.stage import StageSettings


class LanguageModel(Protocol):
    """A loaded model. `setup` once; a text's loss depends on that text and its context alone."""

    @property
    def identity(self) -> ModelIdentity: ...

    def setup(self) -> None: ...

    def losses(self, texts: Sequence[tuple[str, str]]) -> list[float | None]:
        """Mean loss of each (context, text) over the text's tokens; None where it has none."""
        ...

    def close(self) -> None: ...


class LanguageModelSettings(StageSettings):
    """A causal language model and how it is run."""

    model: str = "Qwen/Qwen2-1.5B-Instruct"
    """Name on the hub, a local folder, or `embedded`, which knows sentences about the rendered
    world and ranks them before noise and behind loops."""
    revision: str = "main"
    """Branch, tag or commit of a hub model; without meaning for a folder."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the weights; `auto` takes the checkpoint's own."""
    device: str = "auto"
    """`auto` is the first CUDA device if there is one, else the CPU."""
    max_tokens: int = Field(default=2048, ge=2)
    """Of longer texts the first so many tokens are judged; context is cut at its front."""

    @field_validator("model")
    @classmethod
    def _means_the_same_on_every_worker(cls, model: str) -> str:
        return model if model == EMBEDDED else anchored(model)

    def identity(self) -> dict[str, Any]:
        """What a loss depends on: not the place of a folder nor the device."""
        name, revision = identify(resolved(self.model, "teacher"), self.revision)
        return {
            "model": name,
            "revision": revision,
            "dtype": self.dtype,
            "max_tokens": self.max_tokens,
        }


def open_language_model(settings: LanguageModelSettings) -> LanguageModel:
    """The model a recipe asks for, not yet set up."""
    return TransformersLanguageModel(settings)


class TransformersLanguageModel:
    """A causal model of the transformers library, one text at a time.

    Texts differ in length by a factor of ten, so padding would cost more than batching saves.
    """

    def __init__(self, settings: LanguageModelSettings) -> None:
        self.settings = settings
        self.identity = identify(resolved(settings.model, "teacher"), settings.revision)

    def setup(self) -> None:
        """Load the weights. Raises MissingExtra or ModelError where something is not there."""
        try:
            prepare()
            import torch
            from transformers import (
                MODEL_FOR_CAUSAL_LM_MAPPING,
                AutoConfig,
                AutoModelForCausalLM,
                AutoModelForImageTextToText,
                AutoTokenizer,
            )
        except ImportError as missing:
            raise MissingExtra(
                f"the package {missing.name!r} is not installed",
                cure="pip install 'clipmill[models]'",
            ) from missing
        settings = self.settings
        self._device = settings.device
        if settings.device == "auto":
            self._device = "cuda" if torch.cuda.is_available() else "cpu"
        source: dict[str, Any] = {"trust_remote_code": False}
        name = resolved(settings.model, "teacher")
        if local_folder(name) is None:
            source["revision"] = settings.revision
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(name, **source)
            config = AutoConfig.from_pretrained(name, **source)
            # A model that also sees is one of text where it is shown no picture.
            reads = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
            kind = AutoModelForCausalLM if reads else AutoModelForImageTextToText
            model = kind.from_pretrained(name, dtype=settings.dtype, **source)
        except (OSError, ValueError) as error:
            raise ModelError(
                f"language model {settings.model!r} cannot be loaded: {error}"[:300],
                cure="give a causal model of the hub, or a local folder that holds one",
            ) from error
        self._model = model.to(self._device).eval()

    def losses(self, texts: Sequence[tuple[str, str]]) -> list[float | None]:
        return [self._loss(context, text) for context, text in texts]

    def close(self) -> None:
        del self._model

    def _loss(self, context: str, text: str) -> float | None:
        import torch

        def tokens(words: str) -> list[int]:
            return list(self._tokenizer(words, add_special_tokens=False)["input_ids"])

        most = self.settings.max_tokens
        own = tokens(text)[: most - 1]
        if not own:
            return None
        front = tokens(context) if context else []
        front = front[max(0, len(front) - (most - len(own))) :]
        if not front:
            start = self._tokenizer.bos_token_id
            # Without a token in front the first one cannot be judged and is left out.
            front = [] if start is None else [start]
        if len(front) + len(own) < 2:
            return None
        ids = torch.tensor([[*front, *own]], device=self._device)
        with torch.inference_mode():
            logits = self._model(input_ids=ids).logits[0].float()
        first = max(len(front), 1)
        loss = torch.nn.functional.cross_entropy(logits[first - 1 : -1], ids[0, first:])
        return float(loss)
