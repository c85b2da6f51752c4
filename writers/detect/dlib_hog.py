"""dlib's frontal face detector: a HOG pyramid and five linear filters (King, "Max-Margin Object Detection", 2015)."""

from __future__ import annotations

import numpy as np

from frl.errors import ConfigError
from writers.detect.detector import Detection
from writers.sources.source import Box


class DlibDetector:
    """Finds upright faces, frontal to half profile. The detector is part of the library: there is no model file.

    Its boxes are squares from above the brows to the chin, so much like those of the 68 points; it gives no landmarks.

    Raises:
        ConfigError: if dlib is not installed.
    """

    smallest = 80
    min_score = -0.4
    """Below dlib's own 0: see docs/writer_benchmark.md for what it finds more, and what of that is no face."""

    def __init__(self) -> None:
        try:
            import dlib
        except ImportError as error:
            raise ConfigError("--detect dlib", f"needs dlib ({error})", "Install it: pip install dlib-bin.") from error
        self._detect = dlib.get_frontal_face_detector()

    def __call__(self, pixels: np.ndarray, min_score: float) -> list[Detection]:
        """See ``Detector``."""
        upsample = 0
        rectangles, scores, _ = self._detect.run(pixels, upsample, min_score)
        return [
            Detection(Box(r.left(), r.top(), r.width(), r.height()), score)
            for r, score in zip(rectangles, scores, strict=True)
        ]
