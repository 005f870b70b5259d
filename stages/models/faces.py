"""Frontal faces in a picture, by a cascade of boosted local binary patterns; no download.

scikit-image carries the classifier that OpenCV trained (after Viola and Jones 2001, with the
patterns of Liao et al. 2007). It finds upright faces that look into the camera and nothing else:
for `somebody talks to the camera` that is what is wanted, for `is there a person` it is not.
"""

from __future__ import annotations

import importlib.metadata
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from clipmill.schemas.errors import MissingExtra

SIDE = 320  # pixels of a picture's longer side; larger ones cost more and hold more false faces
LEAST = 0.12  # of the shorter side: a face in a crowd is no talking head
NEIGHBOURS = 4  # windows that must agree


class FrontalFaces:
    """The detector, loaded."""

    model = "skimage/lbpcascade_frontalface"

    def __init__(self) -> None:
        try:
            from skimage.data import lbp_frontal_face_cascade_filename
            from skimage.feature import Cascade
        except ImportError as missing:
            raise MissingExtra(
                "faces need scikit-image",
                cure="pip install 'clipmill[faces]'",
                stage="score_faces",
            ) from missing
        self.revision = importlib.metadata.version("scikit-image")
        self._cascade: Any = Cascade(lbp_frontal_face_cascade_filename())

    def largest(self, jpeg: bytes) -> float:
        """Share of the picture that its largest face covers, 0 where there is none."""
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
        if picture is None:
            return 0.0  # no picture, no face
        scale = SIDE / max(picture.shape[:2])
        small: npt.NDArray[np.uint8] = np.ascontiguousarray(
            cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        )
        shorter = min(small.shape[:2])
        least = max(round(LEAST * shorter), 1)
        found = self._cascade.detect_multi_scale(
            small,
            scale_factor=1.2,
            step_ratio=1,
            min_size=(least, least),
            max_size=(shorter, shorter),
            min_neighbor_number=NEIGHBOURS,
        )
        areas = [face["width"] * face["height"] for face in found]
        return float(max(areas, default=0) / (small.shape[0] * small.shape[1]))
