"""Small random faces-to-be for tests of the .beton format."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Sample:
    """What one call of ``BetonWriter.append`` gets."""

    encoded: bytes
    height: int
    width: int
    label: int
    name: str

    @property
    def arguments(self) -> tuple[bytes, int, int, int, str]:
        """In the order of the call."""
        return self.encoded, self.height, self.width, self.label, self.name


def draw_image(seed: int, height: int, width: int) -> np.ndarray:
    """A smooth random (height, width, 3) uint8 RGB image."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def draw_sample(seed: int, height: int = 24, width: int = 32, label: int = -1) -> Sample:
    """A JPEG of a random image."""
    encoded = cv2.imencode(".jpg", draw_image(seed, height, width)[..., ::-1])[1].tobytes()
    return Sample(encoded, height, width, label, f"n{label:06d}/{seed:04d}.jpg")
