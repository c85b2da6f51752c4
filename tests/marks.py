"""Discs of known colours in pictures, and where they are found again: points proven by pixels."""

from __future__ import annotations

import numpy as np

COLOURS = np.array([[230, 30, 30], [30, 200, 30], [40, 60, 240], [230, 220, 30], [220, 40, 220]], np.uint8)
"""Of the marks: far from each other and from grey."""

GREY = 128


def marked(width: int, height: int, points: np.ndarray, radius: float = 9) -> np.ndarray:
    """A grey (height, width, 3) picture with a disc of a colour of its own at each point (n, 2)."""
    image = np.full((height, width, 3), GREY, np.uint8)
    y, x = np.mgrid[:height, :width]
    for (px, py), colour in zip(points, COLOURS, strict=False):
        image[(x - px) ** 2 + (y - py) ** 2 <= radius**2] = colour
    return image


def find_marks(image: np.ndarray) -> np.ndarray:
    """Centre (5, 2) of each disc in an (H, W, 3) picture: the mean of pixels near its colour, weighted by how near."""
    offsets = image.astype(float) - GREY
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    found = []
    for colour in COLOURS.astype(float) - GREY:
        near = np.linalg.norm(offsets - colour, axis=2) < 0.55 * np.linalg.norm(colour)
        weight = np.where(near, (offsets @ colour / (colour @ colour)).clip(0, 1), 0)
        found.append((np.sum(weight * x) / weight.sum(), np.sum(weight * y) / weight.sum()))
    return np.array(found)
