"""The plane on which heads are designed: Lambert's azimuthal equal-area projection of directions.

A head is star-shaped around its centre, so a direction names a point of its surface. The frame of a head has x to the
right of the picture, y down and z out of the face; directions map to a plane (u, v) whose origin is straight ahead,
where distance 2 sin(angle / 2) keeps the face undistorted and the back of the head within a disc of radius 2.
"""

import numpy as np

RIM = 1.999
"""Radius, in the plane, beyond which there are no directions (2 is the point behind the head)."""


def to_directions(plane: np.ndarray) -> np.ndarray:
    """Unit directions (..., 3) of points (..., 2) of the plane; points beyond the rim are drawn back to it."""
    radius = np.linalg.norm(plane, axis=-1, keepdims=True)
    plane = plane * np.minimum(1, RIM / np.maximum(radius, 1e-6))
    square = np.sum(plane * plane, axis=-1, keepdims=True)
    return np.concatenate([plane * np.sqrt(1 - square / 4), 1 - square / 2], axis=-1)


def to_plane(points: np.ndarray) -> np.ndarray:
    """Points (..., 2) of the plane for positions or directions (..., 3) of any length but 0."""
    length = np.linalg.norm(points, axis=-1, keepdims=True)
    return points[..., :2] * np.sqrt(2 / np.maximum(length * (length + points[..., 2:]), 1e-6))
