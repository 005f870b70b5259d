"""torchvision imports beside this machine's torch, whichever build that is."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.models

CODE = """
from clipmill.stages.models.torchvision_shim import prepare
prepare(); prepare()
from torchvision.transforms import v2
import torch
print(v2.functional.resize(torch.zeros(3, 8, 8), [4, 4]).shape)
"""


def test_a_fresh_process_can_use_transforms() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "torch.Size([3, 4, 4])", done.stderr
