"""Makes `import torchvision` work beside a CPU build of torch.

The registry's torchvision is compiled against CUDA. Without CUDA its compiled half does not load,
and its Python half then fails at import, because it registers fake kernels for operators nobody
has declared. Declaring those two schemas is enough for the transforms that open_clip and the
image processors of transformers use. The price: `torchvision.ops.nms` stays without a kernel and
raises when called; nothing here calls it. The plain import is tried first, so a torchvision that
fits its torch (a CUDA pair, or a CPU pair) is never touched.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_kept: list[Any] = []  # a torch Library takes its declarations with it when it is collected


def prepare() -> None:
    """Import torchvision, where it is installed. Call before any import that may lead to it."""
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is None:
        return
    import torch

    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error) or torch.version.cuda is not None or _kept:
            raise
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(name + _SCHEMA)
        _kept.append(library)
        for module in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[module]  # what the failed import left behind
        importlib.import_module("torchvision")
