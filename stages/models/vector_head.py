"""A small head over an encoder's vectors: a chain of linear layers to one number.

LAION's aesthetic predictors are such files, as are those of other scores that were learnt on CLIP
vectors. What matters is the layers' order, which their names give; the published one has no
activation between them (`relu: false`), one of its sisters has. A file says nothing about whose
vectors it is for, only how long they are, so the length is all that can be checked.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clipmill.schemas.errors import ModelError
from clipmill.stages.models.encoder import Vectors

Array = npt.NDArray[np.float32]


class VectorHead:
    """Weights of a head, loaded; `scores` maps unit vectors [n, d] to [n] numbers."""

    def __init__(self, layers: list[tuple[Array, Array]], relu: bool) -> None:
        self.layers, self.relu = layers, relu

    @property
    def width(self) -> int:
        return int(self.layers[0][0].shape[1])

    def scores(self, vectors: Vectors) -> Array:
        rows = vectors
        for number, (weight, bias) in enumerate(self.layers):
            rows = rows @ weight.T + bias
            if self.relu and number + 1 < len(self.layers):
                rows = np.maximum(rows, 0)
        return rows[:, 0]


def head_identity(path: str) -> str:
    """Digest of a head's file. Raises ModelError where there is none."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise _none(path, str(error)) from error


def load_head(path: str, relu: bool = False) -> VectorHead:
    """The head in a file of weights, `.safetensors` or PyTorch's. Raises ModelError where the file
    holds something else.
    """
    try:
        held = _tensors(path)
        layers = []
        for name in sorted((n for n in held if n.endswith("weight")), key=_place):
            layers.append((held[name], held[name.removesuffix("weight") + "bias"]))
        sides = [(weight.shape, bias.shape) for weight, bias in layers]
        if not sides or any(len(weight) != 2 for weight, _ in sides):
            raise ValueError("no linear layers in it")
        widths = [weight[1] for weight, _ in sides] + [1]
        if any((w[0], b) != (n, (n,)) for (w, b), n in zip(sides, widths[1:], strict=True)):
            raise ValueError("its layers do not lead to one number")
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        raise _none(path, str(error)) from error
    return VectorHead(layers, relu)


def _tensors(path: str) -> dict[str, Array]:
    if path.endswith(".safetensors"):
        from safetensors.numpy import load_file

        return {name: np.asarray(t, np.float32) for name, t in load_file(path).items()}
    import pickle

    import torch

    try:  # weights only: a file of weights must not run code
        held: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"no plain weights: {str(error).splitlines()[0]}") from error
    return {name: tensor.float().numpy() for name, tensor in held.items()}


def _place(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)]


def _none(path: str, why: str) -> ModelError:
    return ModelError(
        f"{path} is no head: {why}",
        cure="give the file of a predictor for this encoder's vectors, e.g. LAION's"
        " sac+logos+ava1-l14-linearMSE.pth for ViT-L-14 of openai, or leave `head` out",
    )
