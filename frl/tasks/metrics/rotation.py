"""Turning heads: angles to matrices and back, and the turn between two sets of points.

The frame is that of ``frl.synthetic``: x to the right, y down, depth towards the camera; first yaw, then pitch, then
roll. Positive yaw moves the nose to the image's right, positive pitch lifts it, positive roll turns clockwise.

300W-LP, and AFLW2000 with it, turn about the same axes in another order, first roll, then yaw, then pitch: the angles
of a head that is turned about several of them differ by many degrees. Only in the order of this module does a turn of
the image add to the roll alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def matrices(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations ``(N, 3, 3)`` of yaw, pitch and roll ``(N, 3)``."""
    yaw, pitch, roll = _turns(degrees)
    return np.einsum("ijn,jkn,kln->nil", roll, pitch, yaw)


def matrices_300wlp(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations ``(N, 3, 3)`` of yaw, pitch and roll ``(N, 3)`` in the order of 300W-LP."""
    yaw, pitch, roll = _turns(degrees)
    return np.einsum("ijn,jkn,kln->nil", pitch, yaw, roll)


def _turns(degrees: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The turns ``(3, 3, N)`` about each axis by yaw, pitch and roll ``(N, 3)``."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(np.radians(degrees)).T, np.sin(np.radians(degrees)).T
    one, zero = np.ones_like(cy), np.zeros_like(cy)
    yaw = np.array([[cy, zero, sy], [zero, one, zero], [-sy, zero, cy]])
    pitch = np.array([[one, zero, zero], [zero, cp, -sp], [zero, sp, cp]])
    roll = np.array([[cr, -sr, zero], [sr, cr, zero], [zero, zero, one]])
    return yaw, pitch, roll


def angles(rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Yaw, pitch and roll ``(N, 3)`` in degrees; the inverse of `matrices` for pitches between -90 and 90."""
    yaw = np.arctan2(-rotations[:, 2, 0], rotations[:, 2, 2])
    pitch = np.arcsin(rotations[:, 2, 1].clip(-1, 1))
    roll = np.arctan2(-rotations[:, 0, 1], rotations[:, 1, 1])
    return np.degrees(np.stack([yaw, pitch, roll], axis=1))


def angles_300wlp(rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Yaw, pitch and roll ``(N, 3)`` in degrees in the order of 300W-LP; the inverse of `matrices_300wlp` for pitches
    between -90 and 90. Near a yaw of 90 degrees the other two hang on the least difference."""
    front = np.where(rotations[:, 2, 2] < 0, -1.0, 1.0)  # of a nose that points away, yaw is beyond 90 degrees
    across = front * np.hypot(rotations[:, 1, 2], rotations[:, 2, 2])
    yaw = np.arctan2(rotations[:, 0, 2], across)
    pitch = np.arctan2(-front * rotations[:, 1, 2], front * rotations[:, 2, 2])
    roll = np.arctan2(-front * rotations[:, 0, 1], front * rotations[:, 0, 0])
    return np.degrees(np.stack([yaw, pitch, roll], axis=1))


def to_300wlp(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """The angles ``(N, 3)`` of the same heads in the order of 300W-LP, as papers compare them; NaN of a head of which
    one is unknown."""
    return angles_300wlp(matrices(degrees))


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
