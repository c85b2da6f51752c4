"""The weak-perspective camera: it scales the rotated head and drops the depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frl.synthetic.scene import Scene


@dataclass(frozen=True, kw_only=True)
class View:
    """From the head's frame to pixels; (0, 0) is the centre of the first pixel."""

    rotation: np.ndarray
    """(3, 3), from the head's frame to the camera's."""
    scale: float
    """Pixels per head unit."""
    centre: np.ndarray
    """(2,) pixels: where the head's centre is seen."""
    side: int
    """Of the picture, in pixels."""

    @classmethod
    def of(cls, scene: Scene, side: int) -> View:
        """The view of a scene in a picture of ``side`` pixels."""
        centre = np.array(scene.camera.centre) * side - 0.5
        return cls(rotation=scene.pose.matrix(), scale=scene.camera.scale * side, centre=centre, side=side)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels, and depth towards the camera in head units, (..., 3) of points (..., 3) in the head's frame."""
        turned = points @ self.rotation.T
        return np.concatenate([turned[..., :2] * self.scale + self.centre, turned[..., 2:]], axis=-1)

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Places (..., 2) in the camera's frame, in head units from the head's centre, of pixels (..., 2)."""
        return (pixels - self.centre) / self.scale
