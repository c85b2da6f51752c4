"""Images with the smoothness of photographs, from nothing: for benchmarks, which need no faces."""

from __future__ import annotations

import cv2
import numpy as np


def smooth_image(random: np.random.Generator, side: int) -> np.ndarray:
    """``(side, side, 3)`` uint8: colours that vary over 16 pixels, and a grain."""
    coarse = random.integers(0, 256, (side // 16, side // 16, 3), np.uint8)
    grain = random.normal(0, 4, (side, side, 1))
    smooth = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return (smooth + grain).clip(0, 255).astype(np.uint8)
