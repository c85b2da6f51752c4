"""Where the rays of the camera meet a head.

On a star-shaped surface the distance from the centre equals the radius in that direction. The difference of the two,
which is positive outside, tells a point on a ray how far to walk on.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from frl.synthetic.head import sample
from frl.synthetic.view import View

REACH = 1.4
"""Head units from the centre within which the whole head with its hair lies."""
COARSE = 4
"""Pixels per sample of the first search."""
SEARCH_STEPS, REFINE_STEPS = 12, 2
PACE = 0.8
"""Share of the difference that a step walks; the relief is too steep for all of it."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What the rays of a window of the picture meet; all grids are (height, width) float32."""

    window: tuple[slice, slice]
    depth: np.ndarray
    """Towards the camera, in head units from the head's centre."""
    u: np.ndarray
    v: np.ndarray
    """The points of the design plane."""
    cover: np.ndarray
    """Share of the pixel that the head covers, in [0, 1]."""


def trace(radius: np.ndarray, view: View) -> Trace:
    """Meet the surface of a radius (RELIEF, RELIEF) float32 with a picture's rays, coarsely and then finely."""
    samples = np.arange((COARSE - 1) / 2, view.side, COARSE)
    found, near = _search(_Rays(radius, view, samples, samples))
    columns, rows = _window(near, 0, view.side), _window(near, 1, view.side)
    # Sample k lies in the middle of the pixels from COARSE * k on, as OpenCV's enlargement has it.
    enlarged = cv2.resize(found, (COARSE * len(samples), COARSE * len(samples)), interpolation=cv2.INTER_LINEAR)
    depth: np.ndarray = enlarged[rows, columns]
    rays = _Rays(radius, view, np.arange(columns.start, columns.stop), np.arange(rows.start, rows.stop))
    for _ in range(REFINE_STEPS):
        depth = depth - PACE * rays.meet(depth)[0]
    above, u, v = rays.meet(depth)
    cover = np.clip(1.25 - above * np.float32(view.scale), 0, 1)
    # Rays that graze the nose or the hair may still be on their way; the head has no holes that narrow.
    cover = cv2.morphologyEx(cover, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return Trace(window=(rows, columns), depth=depth, u=u, v=v, cover=cover)


def _window(near: np.ndarray, axis: int, side: int) -> slice:
    """The pixels of the samples that are near the head, with a margin; never empty."""
    where = np.flatnonzero(np.any(near, axis=axis))
    first, last = (int(where[0]), int(where[-1])) if len(where) else (0, 0)
    return slice(max(0, COARSE * (first - 1)), min(side, COARSE * (last + 2)))


def _search(rays: _Rays) -> tuple[np.ndarray, np.ndarray]:
    """Walk in from outside; returns the depth, where a ray misses that of its nearest place, and whether it is near."""
    depth = np.sqrt(np.maximum(REACH**2 - rays.flat, 0))
    nearest, least = depth, np.full_like(depth, np.inf)
    for _ in range(SEARCH_STEPS):
        above, *_ = rays.meet(depth)
        nearer = np.abs(above) < least
        least = np.where(nearer, np.abs(above), least)
        nearest = np.where(nearer, depth, nearest)
        depth = depth - PACE * above
    return nearest, least < 2 * COARSE / rays.scale


class _Rays:
    """The rays of the pixels in columns (W,) and rows (H,) against a radius."""

    def __init__(self, radius: np.ndarray, view: View, columns: np.ndarray, rows: np.ndarray) -> None:
        turn = view.rotation.astype(np.float32)
        x = ((columns - view.centre[0]) / view.scale).astype(np.float32)[None, :]
        y = ((rows - view.centre[1]) / view.scale).astype(np.float32)[:, None]
        self.radius = radius
        self.scale = view.scale
        self.flat = x * x + y * y
        self.across = [x * turn[0, k] + y * turn[1, k] for k in range(3)]
        self.along = turn[2]

    def meet(self, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Height above the surface, u and v, each (H, W), at a depth (H, W)."""
        distance = np.sqrt(self.flat + depth * depth)
        z = self.across[2] + depth * self.along[2]
        # Lambert's projection of the direction, as in sphere.to_plane.
        factor = np.sqrt(2 / np.maximum(distance * (distance + z), 1e-4))
        u = (self.across[0] + depth * self.along[0]) * factor
        v = (self.across[1] + depth * self.along[1]) * factor
        return distance - sample(self.radius, u, v), u, v
