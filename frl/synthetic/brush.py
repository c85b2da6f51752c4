"""Soft-edged shapes on the design plane: curves, ribbons, stencils."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from frl.synthetic.head import EXTENT, grid_position

SUBPIXEL = 4
"""Binary digits behind the point in the coordinates handed to OpenCV."""


TURN = np.linspace(0, 2 * np.pi, 24, endpoint=False)
CIRCLE = np.stack([np.cos(TURN), np.sin(TURN)], axis=1)
STEPS = np.arange(6)[:, None] / 6
CATMULL_ROM = (STEPS ** [0, 1, 2, 3]) @ (0.5 * np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]))
"""Weights (6, 4) of four points for the steps from the second to the third."""


@dataclass(frozen=True, kw_only=True)
class Stencil:
    """Coverage in [0, 1] within a window of a canvas."""

    window: tuple[slice, slice]
    coverage: np.ndarray

    def both(self, other: Stencil) -> Stencil:
        """The overlap of two stencils."""
        window, mine, theirs = [], [], []
        for a, b in zip(self.window, other.window, strict=True):
            start = max(a.start, b.start)
            stop = max(start, min(a.stop, b.stop))
            window.append(slice(start, stop))
            mine.append(slice(start - a.start, stop - a.start))
            theirs.append(slice(start - b.start, stop - b.start))
        overlap = self.coverage[tuple(mine)] * other.coverage[tuple(theirs)]
        return Stencil(window=(window[0], window[1]), coverage=overlap)


def curve(points: np.ndarray, *, closed: bool) -> np.ndarray:
    """A Catmull-Rom spline (M, 2) through points (N, 2), with six points for each piece."""
    count = len(points) if closed else len(points) - 1
    if closed:
        padded = np.concatenate([points[-1:], points, points[:2]])
    else:
        padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    windows = np.stack([padded[k : k + count] for k in range(4)], axis=1)
    spline = (CATMULL_ROM @ windows).reshape(-1, 2)
    return spline if closed else np.concatenate([spline, points[-1:]])


def ribbon(points: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """The outline (2N, 2) of a stroke along points (N, 2) with a width at each."""
    along = np.concatenate([points[1:2] - points[:1], points[2:] - points[:-2], points[-1:] - points[-2:-1]])
    offset = along[:, ::-1] * [-0.5, 0.5] * (widths / np.maximum(np.hypot(*along.T), 1e-9))[:, None]
    return np.concatenate([points + offset, (points - offset)[::-1]])


def disc(centre: np.ndarray, radius: float, stretch: float = 1.0) -> np.ndarray:
    """The outline (24, 2) of an ellipse; ``stretch`` is height over width."""
    return centre + CIRCLE * [radius, radius * stretch]


def stencil(outline: np.ndarray, side: int, softness: float = 0.0) -> Stencil:
    """The inside of an outline (N, 2) of the plane on a canvas of ``side``, blurred by ``softness`` (of the plane)."""
    where = grid_position(outline, side)
    sigma = softness / EXTENT * (side - 1) / 2
    margin = 2 + math.ceil(2.5 * sigma)
    (left, top), (right, bottom) = where.min(axis=0).tolist(), where.max(axis=0).tolist()
    columns, rows = _span(left, right, margin, side), _span(top, bottom, margin, side)
    mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
    corners = (where - [columns.start, rows.start]) * (1 << SUBPIXEL) + 0.5
    cv2.fillPoly(mask, [corners.astype(np.int32)], 255, cv2.LINE_AA, SUBPIXEL)
    if sigma > 0.3:
        mask = cv2.GaussianBlur(mask, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    return Stencil(window=(rows, columns), coverage=mask * np.float32(1 / 255))


def _span(low: float, high: float, margin: int, side: int) -> slice:
    start = min(max(math.floor(low) - margin, 0), side - 1)
    return slice(start, min(max(math.ceil(high) + margin + 1, start + 1), side))


def fill(canvas: np.ndarray, shape: Stencil, colour: np.ndarray, opacity: float = 1.0) -> None:
    """Blend a colour (3,) into a canvas (side, side, 3) in place."""
    if not shape.coverage.size:
        return
    part = canvas[shape.window]
    part += spread(opacity * shape.coverage) * (np.asarray(colour, np.float32) - part)


def tint(canvas: np.ndarray, shape: Stencil, factor: np.ndarray | float, opacity: float = 1.0) -> None:
    """Multiply a canvas (side, side, 3) by a factor (3,) or scalar in place."""
    if not shape.coverage.size:
        return
    change = np.asarray(factor, np.float32) - 1
    canvas[shape.window] *= 1 + spread(opacity * shape.coverage) * change


def spread(mask: np.ndarray) -> np.ndarray:
    """A mask (H, W) repeated for three channels, which NumPy multiplies much faster than a broadcast last axis."""
    return cv2.merge((mask, mask, mask))
