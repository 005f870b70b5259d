"""An encoder of the CLIP family through open_clip: CLIP, SigLIP, EVA and their like.

A local folder is open_clip's own layout, `open_clip_config.json` beside the weights, so a model
trained here is loaded by the very code that loads a published one. Texts longer than the model's
context (77 tokens for most) are cut by its tokenizer, as everywhere in the field.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from clipmill.schemas.errors import ModelError
from clipmill.stages.models.encoder import EncoderSettings, Vectors
from clipmill.stages.models.identity import ModelIdentity, local_folder
from clipmill.stages.models.torchvision_shim import prepare


class OpenClipEncoder:
    """See the module's docstring; `setup` loads the model."""

    def __init__(self, settings: EncoderSettings) -> None:
        self.settings = settings
        self.identity: ModelIdentity = settings.model_identity()
        self._model: Any = None
        self._preprocess: Any = None
        self._tokenizer: Any = None
        self._device = "cpu"
        self._width = 0

    def setup(self) -> None:
        """Load the weights. Raises ModelError where there are none to load."""
        prepare()
        import open_clip
        import torch

        settings = self.settings
        folder = local_folder(settings.source)
        name = f"local-dir:{folder}" if folder else settings.model
        self._device = settings.device
        if self._device == "auto":
            self._device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            model, _, self._preprocess = open_clip.create_model_and_transforms(
                name,
                pretrained=None if ":" in name else settings.pretrained,
                precision=settings.precision,
                device=self._device,
                # Random weights give vectors too, and nobody would notice.
                require_pretrained=True,
            )
            self._tokenizer = open_clip.get_tokenizer(name)
        except (OSError, RuntimeError, ValueError) as error:
            raise ModelError(
                f"encoder {settings.model!r} cannot be loaded: {error}",
                cure="check the names of model and weights; without a hub, give a local folder",
            ) from error
        self._model = model.eval()
        self._width = self.texts([""]).shape[1]

    def images(self, pictures: Sequence[bytes]) -> Vectors:
        """JPEGs to unit vectors [n, d]. Raises ModelError on bytes that are no picture."""
        return self._encode(pictures, self._pixels, self._model.encode_image)

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Texts to unit vectors [m, d], cut at the model's context length."""
        return self._encode(texts, lambda batch: self._tokenizer(list(batch)), self._words)

    def close(self) -> None:
        self._model = self._preprocess = self._tokenizer = None

    def _words(self, tokens: Any) -> Any:
        return self._model.encode_text(tokens)

    def _pixels(self, pictures: Sequence[bytes]) -> Any:
        import torch

        opened = []
        for data in pictures:
            try:
                opened.append(self._preprocess(Image.open(io.BytesIO(data)).convert("RGB")))
            except (OSError, ValueError, Image.DecompressionBombError) as error:
                raise ModelError(
                    f"a sampled frame is no picture: {error}",
                    cure="look at the stage that provides `frames`",
                ) from error
        pixels = torch.stack(opened)
        half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.settings.precision)
        return pixels if half is None else pixels.to(half)

    def _encode(
        self, items: Sequence[Any], load: Callable[[Any], Any], model: Callable[[Any], Any]
    ) -> Vectors:
        import torch

        found = [np.zeros((0, self._width), np.float32)]
        size = self.settings.batch_size
        with torch.inference_mode():
            for start in range(0, len(items), size):
                rows = model(load(items[start : start + size]).to(self._device)).float()
                found.append(torch.nn.functional.normalize(rows, dim=-1).cpu().numpy())
        vectors: Vectors = np.concatenate(found if len(items) == 0 else found[1:])
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"encoder {self.settings.model!r} gives vectors that are not finite",
                cure="use precision fp32; the weights may not survive half precision",
            )
        return vectors
