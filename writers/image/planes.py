"""Cut a square out of a JPEG's own colours: cropped and shrunk before any conversion, and encoded without one.

Most photographs store a quarter of their chroma, so this is half the work that RGB takes, and nothing is rounded twice.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from PIL import Image

from frl.images.photo import Plane


def cut(plane: Plane, left: int, top: int, extent: float, side: int) -> np.ndarray:
    """A square of one colour.

    Args:
        plane: the colour.
        left, top: the square's corner in the photograph.
        extent: its side there; what lies beyond the photograph's edge repeats the edge.
        side: pixels of the result along a line.

    Returns:
        (side, side) uint8.
    """
    x, y = plane.left + plane.across * left, plane.top + plane.down * top
    right, bottom = x + plane.across * extent, y + plane.down * extent
    height, width = plane.pixels.shape
    beyond = math.ceil(max(0, bottom - height)), math.ceil(max(0, right - width))
    pixels = np.pad(plane.pixels, [(0, beyond[0]), (0, beyond[1])], "edge") if any(beyond) else plane.pixels
    if all(edge.is_integer() for edge in (x, y, right, bottom)):
        return shrink(pixels[int(y) : int(bottom), int(x) : int(right)], side)
    # Few boxes lie between the pixels; only Pillow cuts there.
    square = Image.fromarray(pixels).resize((side, side), Image.Resampling.HAMMING, (x, y, right, bottom))
    return np.asarray(square)


def shrink(pixels: np.ndarray, side: int) -> np.ndarray:
    """Bring an (H, W) uint8 plane to (side, side), as sharp as Pillow's Hamming filter and several times as fast.

    It is enlarged, by interpolation, to the next whole multiple of the result, and each block of that is averaged.
    OpenCV has vectorised code for these two steps, but for no anti-aliased filter of other ratios.
    """
    if pixels.shape == (side, side):
        return pixels
    multiple = math.ceil(max(pixels.shape) / side)
    enlarged = cv2.resize(pixels, (multiple * side,) * 2, interpolation=cv2.INTER_LINEAR)
    return cv2.resize(enlarged, (side, side), interpolation=cv2.INTER_AREA) if multiple > 1 else enlarged
