"""Where the rays of the camera meet a head.

On a star-shaped surface the distance from the centre equals the radius in that direction. The difference of the two,
which is positive outside, tells a point on a ray how far to walk on.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from frl.synthetic.head import EXTENT
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
    low = np.clip(np.floor(view.centre - REACH * view.scale), 0, view.side - COARSE).astype(int)
    high = np.clip(np.ceil(view.centre + REACH * view.scale), low + COARSE, view.side).astype(int)
    width, height = high - low
    corner = view.rays(low)
    x, y = (corner[k] + np.arange(high[k] - low[k], dtype=np.float32) / view.scale for k in (0, 1))
    coarse = tuple(cv2.resize(line[None].astype(np.float32), (max(1, len(line) // COARSE), 1))[0] for line in (x, y))
    depth = _search(_Rays(radius, view.rotation, *coarse))
    depth = cv2.resize(depth, (int(width), int(height)), interpolation=cv2.INTER_LINEAR)
    rays = _Rays(radius, view.rotation, x, y)
    for _ in range(REFINE_STEPS):
        depth -= PACE * rays.meet(depth)[0]
    above, u, v = rays.meet(depth)
    cover = np.clip(1.25 - above * view.scale, 0, 1, dtype=np.float32)
    return Trace(window=(slice(low[1], high[1]), slice(low[0], high[0])), depth=depth, u=u, v=v, cover=cover)


def _search(rays: _Rays) -> np.ndarray:
    """Walk in from outside; where a ray misses the head, stay where it passed nearest."""
    depth = np.sqrt(np.maximum(REACH**2 - rays.flat, 0))
    nearest, least = depth, np.full_like(depth, np.inf)
    for _ in range(SEARCH_STEPS):
        above, *_ = rays.meet(depth)
        nearer = np.abs(above) < least
        least = np.where(nearer, np.abs(above), least)
        nearest = np.where(nearer, depth, nearest)
        depth = depth - PACE * above
    return nearest


class _Rays:
    """The rays of columns x (W,) and rows y (H,), in head units, against a radius."""

    def __init__(self, radius: np.ndarray, rotation: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        turn = rotation.astype(np.float32)
        x, y = x.astype(np.float32)[None], y.astype(np.float32)[:, None]
        self.radius = radius
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


def sample(grid: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Bilinear values, at points (H, W) of the design plane, of a square grid over it with any channels."""
    step, middle = (len(grid) - 1) / (2 * EXTENT), (len(grid) - 1) / 2
    return cv2.remap(grid, u * step + middle, v * step + middle, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
