"""The Gaussian blur of the paper: OpenCV's, mirrored at the border, with as many of its 23 taps as sigma needs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipelines.augment.cpu.compiler import kernel
from pipelines.augment.cpu.sums import Plane, quantise, sum_rows
from pipelines.augment.cpu.vectors import LANES, load, reverse, store
from pipelines.augment.gpu.blur import RADIUS, TAPS

NEGLIGIBLE = 1 / 1024  # weight that may be left out: less than a quarter of a grey level between black and white


@kernel
def gaussian(sigma: float, exact: NDArray[np.float64], weights: Plane) -> int:
    """OpenCV's Gaussian of 23 taps without its tails, in ``weights[:2 * radius + 1]``; returns the radius."""
    for t in range(TAPS):
        exact[t] = math.exp(-0.5 * ((t - RADIUS) / sigma) ** 2)
    whole = exact[:TAPS].sum()
    radius, kept = 0, exact[RADIUS]
    while whole - kept > NEGLIGIBLE * whole and radius < RADIUS:
        radius += 1
        kept += 2 * exact[RADIUS + radius]
    for t in range(2 * radius + 1):
        exact[t] = exact[RADIUS - radius + t] / kept
    quantise(exact, 2 * radius + 1, weights, 0)
    return radius


@kernel
def mirror(crop: Plane, first: int, size: int, line: Plane, at: int) -> None:
    """Copy ``size`` values to ``line[at:]``, and before and after them their mirror images, of at most ``LANES``."""
    for x in range(0, size, LANES):
        store(load(crop, first + x), line, at + x)
    store(reverse(load(crop, first + 1)), line, at - LANES)
    store(reverse(load(line, at + size - 1 - LANES)), line, at + size)


@kernel
def blur(
    crop: Plane, channel: int, size: int, row: int, radius: int, weights: Plane, mirrored: Plane, smooth: Plane
) -> None:
    """Blur one of the planes ``(3, size, row)``, in place; ``size`` exceeds ``radius``.

    Args:
        mirrored: room for two lines with mirrored ends: the next is laid out while one is summed, because a processor
            waits where it reads what it has just written in other pieces.
        smooth: room for ``(RADIUS + size + RADIUS, row)``, the plane blurred along x.
    """
    taps, pitch = 2 * radius + 1, row + 2 * LANES
    mirror(crop, channel * size * row, size, mirrored, LANES)
    for y in range(size):
        if y + 1 < size:
            mirror(crop, (channel * size + y + 1) * row, size, mirrored, (y + 1) % 2 * pitch + LANES)
        at = y % 2 * pitch + LANES - radius
        sum_rows(mirrored, at, 1, taps, weights, 0, smooth, (radius + y) * row, size)
    for y in range(1, radius + 1):
        above, below = (radius - y) * row, (radius + size - 1 + y) * row
        for x in range(0, size, LANES):
            store(load(smooth, (radius + y) * row + x), smooth, above + x)
            store(load(smooth, (radius + size - 1 - y) * row + x), smooth, below + x)
    for y in range(size):
        sum_rows(smooth, y * row, row, taps, weights, 0, crop, (channel * size + y) * row, size)
