"""How good a picture of a face is, in numbers that do not depend on its size."""

from __future__ import annotations

import cv2
import numpy as np

from writers.curate.config import CurateConfig
from writers.reject import Reason, Reject

SIDE = 112
"""Pixels a side at which sharpness is measured, whatever the sample's own: the usual input of face recognition."""

CLIPPED = 4
"""Grey values this close to black or white tell nothing."""


class QualityFilter:
    """Refuses poor samples."""

    def __init__(self, config: CurateConfig) -> None:
        self._config = config
        self.needs_pixels = config.min_sharpness > 0 or config.max_clipped < 1

    def __call__(self, grey: np.ndarray | None, side: int) -> None:
        """Look at a sample.

        Args:
            grey: (H, W) uint8, its luminance, or None where only the size counts.
            side: its longer side, in pixels.

        Raises:
            Reject: if it is too small, too blurred, or too dark or bright.
        """
        config = self._config
        if side < config.min_side:
            raise Reject(f"{side} pixels a side, fewer than {config.min_side}", Reason.SMALL)
        if grey is None:
            return
        if config.max_clipped < 1 and (share := clipped(grey)) > config.max_clipped:
            raise Reject(f"{share:.0%} of it black or white, more than {config.max_clipped:.0%}", Reason.EXPOSURE)
        if config.min_sharpness > 0 and (found := sharpness(grey)) < config.min_sharpness:
            raise Reject(f"sharpness {found:.3g}, less than {config.min_sharpness:g}", Reason.BLURRED)


def sharpness(grey: np.ndarray) -> float:
    """Variance of the Laplacian of an (H, W) uint8 picture at 112 x 112 pixels, over the variance of the picture.

    The fixed size makes faces of different sizes comparable: a small one that would have to be enlarged is blurred. The
    quotient makes the measure independent of contrast (Pech-Pacheco et al., "Diatom autofocusing in brightfield
    microscopy", 2000, without the quotient).
    """
    interpolation = cv2.INTER_AREA if min(grey.shape) > SIDE else cv2.INTER_CUBIC
    picture = cv2.resize(grey, (SIDE, SIDE), interpolation=interpolation).astype(np.float32)
    return float(cv2.Laplacian(picture, cv2.CV_32F).var() / max(float(picture.var()), 1.0))


def clipped(grey: np.ndarray) -> float:
    """The share of pixels that are black or white."""
    return float(np.mean((grey <= CLIPPED) | (grey >= 255 - CLIPPED)))
