"""Faces brought to one place, size and turn by five points, as networks for recognition are trained and tested."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from frl.images.places import exchanged

TEMPLATE_SIDE = 112

TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""Where eyes, nose tip and corners of the mouth lie in insightface's faces of 112 x 112 pixels, those on the image's
left first; the centre of the first pixel is (0, 0)."""


def similarity(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """The turn, scale and shift ``(2, 3)`` that bring points nearest to others in the mean of squares; no reflection.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991, equations 40
    to 42.

    Args:
        source: ``(n, 2)``; those that are NaN take no part, and two that differ must be left.
        target: ``(n, 2)``.

    Raises:
        ValueError: if fewer are known, or all lie on one spot.
    """
    known = np.isfinite(source).all(axis=1)
    source, target = source[known], target[known]
    if len(source) < 2 or not np.ptp(source, axis=0).any():
        raise ValueError(f"{len(source)} of its points are known, or all are one: no similarity follows")
    from_mean, to_mean = source.mean(axis=0), target.mean(axis=0)
    centred = source - from_mean
    left, spread, right = np.linalg.svd((target - to_mean).T @ centred / len(source))
    signs = np.array([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    turn = (left * signs) @ right
    scaled = turn * (spread @ signs) / centred.var(axis=0).sum()
    return np.column_stack([scaled, to_mean - scaled @ from_mean])


def five_points(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Eyes, nose tip and corners of the mouth ``(5, 2)`` of 5 points or of 300-W's 68.

    Of the 68, an eye is the middle of its two corners, as in insightface's evaluation.

    Raises:
        ValueError: if there is another number of them.
    """
    if len(points) == 68:
        corners = points[[36, 39, 42, 45]]
        return np.stack([corners[:2].mean(axis=0), corners[2:].mean(axis=0), *points[[30, 48, 54]]])
    if len(points) != 5:
        raise ValueError(f"{len(points)} points, where 5 or 68 are known")
    return points


def align(image: Image.Image, points: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """The face of an image on the template: ``(size, size, 3)`` uint8, black beyond the image's border.

    Bilinear. An image that is shrunk by more than half is first shrunk by a whole number, each pixel the mean of a
    block, so that no pixel is skipped.

    Args:
        image: RGB.
        points: ``(5, 2)``, see `similarity`; the centre of the first pixel is (0, 0).
        size: side of the result; at 112 the points come to lie on the `TEMPLATE`.

    Raises:
        ValueError: if no similarity follows, or the eyes are `exchanged`: the face would be upside down, or small.
    """
    if fault := exchanged(points):
        raise ValueError(fault)
    target = (TEMPLATE + 0.5) * size / TEMPLATE_SIDE - 0.5
    matrix = similarity(points, target)
    scale = float(np.sqrt(max(np.linalg.det(matrix[:, :2]), 1e-12)))
    if (factor := min(int(1 / scale), *image.size)) > 1:
        image = image.reduce(factor)
        matrix = similarity((points + 0.5) / factor - 0.5, target)
    return np.asarray(cv2.warpAffine(np.asarray(image), matrix, (size, size), flags=cv2.INTER_LINEAR), np.uint8)
