"""What `import clipmill` offers, and what it does not load."""

from __future__ import annotations

import subprocess
import sys

import clipmill


def test_every_public_name_is_there() -> None:
    for name in clipmill.__all__:
        assert getattr(clipmill, name) is not None


def test_importing_the_package_loads_neither_ray_nor_a_decoder() -> None:
    program = (
        "import sys, clipmill\n"
        "loaded = {'ray', 'torch', 'av', 'cv2'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
