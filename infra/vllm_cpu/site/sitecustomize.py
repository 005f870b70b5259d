"""Prepares torchvision in every interpreter that vLLM starts here, the moment it is first imported.

vLLM inspects models and serves in processes of its own, which no call of ours reaches. This folder
is on PYTHONPATH in the tests of the CPU build only; where torchvision fits torch it does nothing.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec


class BeforeTorchvision:
    """Finds nothing; it only hears what is looked for."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name == "torchvision" and self in sys.meta_path:
            sys.meta_path.remove(self)
            from clipmill.stages.models.torchvision_shim import prepare

            prepare()
        return None


sys.meta_path.insert(0, BeforeTorchvision())
