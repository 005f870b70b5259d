"""A model's own chat form, for backends that load the model themselves.

What a prompt quotes was written by strangers, and a control token spelt out in it would be read as
control. So every token the tokenizer reserves is broken up in the text before the template is
applied: the model reads what was written and obeys only the template.
"""

from __future__ import annotations

import io
from typing import Any

from PIL import Image, UnidentifiedImageError

from clipmill.schemas.errors import ModelError
from clipmill.stages.models.teacher import Request


class Chat:
    """The processor of a model that sees, or the tokenizer of one that reads text only."""

    def __init__(self, processor: Any, sees: bool) -> None:
        self.processor = processor
        self.sees = sees
        self.tokenizer = processor.tokenizer if sees else processor
        self._reserved = sorted(
            {token.content for token in self.tokenizer.added_tokens_decoder.values()}
            | set(self.tokenizer.all_special_tokens),
            key=lambda token: (-len(token), token),
        )

    @classmethod
    def load(cls, source: dict[str, Any]) -> Chat:
        """The chat form of the model at `source` (see `TeacherSettings.pretrained`); what
        transformers raises where there is none.
        """
        from transformers import AutoConfig, AutoProcessor, AutoTokenizer
        from transformers.models.auto.modeling_auto import (
            MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        )

        config = AutoConfig.from_pretrained(**source)
        sees = config.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
        return cls((AutoProcessor if sees else AutoTokenizer).from_pretrained(**source), sees)

    @property
    def templated(self) -> bool:
        """Whether `render` writes the special tokens itself."""
        return self.tokenizer.chat_template is not None

    def pictures(self, request: Request) -> list[Image.Image]:
        """A request's pictures, decoded. Raises OSError, ValueError or DecompressionBombError for
        what is no picture, and ModelError where the model can see none.
        """
        if request.images and not self.sees:
            raise ModelError(
                "the model reads text only, and pictures were sent",
                cure="name a vision-language model, or ask for no frames",
            )
        return [picture(data) for data in request.images]

    def render(self, request: Request) -> str:
        """The request in the model's chat form, pictures first."""
        text = request.prompt
        for token in self._reserved:
            if token.strip() and len(token) > 1:
                text = text.replace(token, f"{token[0]} {token[1:]}")
        if not self.templated and not self.sees:
            return text
        content: Any = text
        if self.sees:
            content = [{"type": "image"} for _ in request.images] + [{"type": "text", "text": text}]
        chat: str = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        return chat


def end_tokens(*named: int | list[int] | None) -> set[int]:
    """The tokens that end a reply, as configurations name them. Raises ModelError for none."""
    ends: set[int] = set()
    for value in named:
        ends.update([value] if isinstance(value, int) else value or [])
    if not ends:
        raise ModelError(
            "the model names no end token, so no reply could ever be complete",
            cure="set eos_token_id in its generation_config.json",
        )
    return ends


def picture(data: bytes) -> Image.Image:
    """A decoded picture; raises as `Chat.pictures`."""
    try:
        return Image.open(io.BytesIO(data)).convert("RGB")
    except UnidentifiedImageError as error:
        raise ValueError("not a picture") from error
