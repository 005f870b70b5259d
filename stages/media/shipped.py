"""Read sound that ships inside Clipmill: trusted, small, whole.

Users' media goes through the sandbox; our own data need not, and a renderer that asks for its
voice should not have to start a child process.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read_shipped_sound(path: Path, rate: int) -> NDArray[np.int16]:
    """All samples of the first sound track, mixed to mono at `rate`."""
    import av

    resampler = av.AudioResampler("s16", "mono", rate)
    blocks: list[NDArray[np.int16]] = []
    with av.open(str(path)) as container:
        for frame in (*container.decode(audio=0), None):
            blocks += [block.to_ndarray()[0] for block in resampler.resample(frame)]
    return np.concatenate(blocks)
