"""Turning heads: angles to matrices and back, and the turn between two sets of points.

The frame is that of ``frl.synthetic``: x to the right, y down, depth towards the camera; first yaw, then pitch, then
roll. Positive yaw moves the nose to the image's right, positive pitch lifts it, positive roll turns clockwise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def matrices(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations ``(N, 3, 3)`` of yaw, pitch and roll ``(N, 3)``."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(np.radians(degrees)).T, np.sin(np.radians(degrees)).T
    one, zero = np.ones_like(cy), np.zeros_like(cy)
    yaw = np.array([[cy, zero, sy], [zero, one, zero], [-sy, zero, cy]])
    pitch = np.array([[one, zero, zero], [zero, cp, -sp], [zero, sp, cp]])
    roll = np.array([[cr, -sr, zero], [sr, cr, zero], [zero, zero, one]])
    return np.einsum("ijn,jkn,kln->nil", roll, pitch, yaw)


def angles(rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Yaw, pitch and roll ``(N, 3)`` in degrees; the inverse of `matrices` for pitches between -90 and 90."""
    yaw = np.arctan2(-rotations[:, 2, 0], rotations[:, 2, 2])
    pitch = np.arcsin(rotations[:, 2, 1].clip(-1, 1))
    roll = np.arctan2(-rotations[:, 0, 1], rotations[:, 1, 1])
    return np.degrees(np.stack([yaw, pitch, roll], axis=1))


def between(reference: NDArray[np.float64], shapes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotations ``(N, 3, 3)`` that, with a scale and a shift, bring a shape nearest to others (Procrustes; Kabsch).

    Args:
        reference: ``(n, 3)``.
        shapes: ``(N, n, 3)``.
    """
    centred = shapes - shapes.mean(axis=1, keepdims=True)
    left, _, right = np.linalg.svd(np.einsum("nki,kj->nij", centred, reference - reference.mean(axis=0)))
    # A mirror image would fit some shapes better, but no head turns into one.
    signs = np.ones((len(shapes), 3))
    signs[:, 2] = np.sign(np.linalg.det(left @ right))
    return (left * signs[:, None]) @ right


def frontal_mean(shapes: NDArray[np.float64], degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean ``(n, 3)`` of shapes ``(N, n, 3)`` of the same size that were turned back by their poses ``(N, 3)``."""
    centred = shapes - shapes.mean(axis=1, keepdims=True)
    centred /= np.sqrt(np.square(centred).sum(axis=(1, 2), keepdims=True))
    return np.einsum("nji,nkj->nki", matrices(degrees), centred).mean(axis=0)


def angular_distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of two angles in degrees, the shorter way round."""
    return np.abs((first - second + 180) % 360 - 180)
