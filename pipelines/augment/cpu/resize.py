"""Crop, flip and resize in one: bilinear with anti-aliasing, as PIL resizes the cropped image.

The image lies as three planes with x before y. So the sums over x run along rows of many y, one small transposition
follows, and the sums over y run along rows of many x: both in whole vectors, and the crop comes out upright.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipelines.augment.cpu.compiler import inlined, kernel
from pipelines.augment.cpu.sums import ONE, Plane, padded, quantise, sum_rows
from pipelines.augment.cpu.vectors import BLOCK, LANES, split_pixels, transpose_block


@kernel
def load_image(pixels: NDArray[np.uint8], height: int, width: int, band: Plane, image: Plane, pitch: int) -> None:
    """Packed RGB pixels to planes ``(3, width, pitch)`` with x before y, as fixed point.

    ``pitch`` is a multiple of ``BLOCK``. Eight rows at a time pass through ``band``. Up to ``LANES - 1`` pixels are
    read beyond the last, and ``BLOCK - 1`` rows.
    """
    row = padded(width)
    for y in range(0, height, BLOCK):
        for line in range(BLOCK):
            for x in range(0, width, LANES):
                split_pixels(pixels, ((y + line) * width + x) * 3, band, line * row + x, BLOCK * row)
        for channel in range(3):
            for x in range(0, width, BLOCK):
                to = (channel * width + x) * pitch + y
                transpose_block(band, channel * BLOCK * row + x, row, image, to, pitch)


@kernel
def two_weights(length: int, size: int, starts: NDArray[np.int32], weights: Plane) -> None:
    """``filter_weights`` when at least two pixels are enlarged: the same numbers without arrays between them."""
    scale = length / size
    for i in range(size):
        centre = (i + 0.5) * scale
        low, high = max(int(centre - 0.5), 0), min(int(centre + 1.5), length)
        start = min(low, length - 2)
        near = max(0.0, 1 - abs(start + 0.5 - centre)) if low <= start else 0.0
        far = max(0.0, 1 - abs(start + 1.5 - centre)) if start + 1 < high else 0.0
        first, second = int(near / (near + far) * ONE + 0.5), int(far / (near + far) * ONE + 0.5)
        rest = ONE - first - second
        weights[2 * i] = first if far > near else first + rest
        weights[2 * i + 1] = second + rest if far > near else second
        starts[i] = start


@kernel
def filter_weights(
    length: int, size: int, exact: NDArray[np.float64], starts: NDArray[np.int32], weights: Plane
) -> int:
    """The triangle filter of PIL's ``precompute_coeffs``: returns the number of taps; output i sums that many pixels
    from ``starts[i]`` on, with ``weights[i * taps ...]``.

    The triangle is as wide as one output pixel when shrinking and one input pixel when enlarging.
    """
    scale = length / size
    reach = max(scale, 1.0)
    if reach == 1 and length >= 2:
        two_weights(length, size, starts, weights)
        return 2
    taps = min(length, math.ceil(2 * reach))
    for i in range(size):
        centre = (i + 0.5) * scale
        low = max(int(centre - reach + 0.5), 0)
        high = min(int(centre + reach + 0.5), length)
        start = min(low, length - taps)
        total = 0.0
        for t in range(taps):
            x = start + t
            weight = max(0.0, 1 - abs(x + 0.5 - centre) / reach) if low <= x < high else 0.0
            exact[t] = weight
            total += weight
        for t in range(taps):
            exact[t] /= total
        quantise(exact, taps, weights, i * taps)
        starts[i] = start
    return taps


@inlined
def sum_each(
    source: Plane, at: int, stride: int, taps: int, starts: NDArray[np.int32], weights: Plane,
    target: Plane, to: int, step: int, width: int,
) -> None:  # fmt: skip
    for i in range(len(starts)):
        row = at + starts[i] * stride
        sum_rows(source, row, stride, taps, weights, i * taps, target, to + i * step, width)


@kernel
def filter_rows(
    source: Plane, at: int, stride: int, taps: int, starts: NDArray[np.int32], weights: Plane,
    target: Plane, to: int, step: int, width: int,
) -> None:  # fmt: skip
    """Row i of ``target``, ``step`` apart from ``to`` on, sums rows of ``source``, ``stride`` apart from ``at`` on."""
    if taps == 2:  # enlarging, the most frequent case: the compiler, told the number, keeps the weights in registers
        sum_each(source, at, stride, 2, starts, weights, target, to, step, width)
    else:
        sum_each(source, at, stride, taps, starts, weights, target, to, step, width)


@kernel
def resize(
    image: Plane,
    columns: int,
    pitch: int,
    box: NDArray[np.int32],
    flip: bool,
    size: int,
    exact: NDArray[np.float64],
    starts: NDArray[np.int32],
    weights: Plane,
    narrow: Plane,
    tall: Plane,
    crop: Plane,
) -> None:
    """Resize ``box`` (top, left, height, width) of the planes to ``crop``, ``(3, size, padded(size))``.

    Args:
        image: ``(3, columns, pitch)``, from ``load_image``.
        exact, starts, weights: room for the filters of both axes.
        narrow: room for one channel after the sums over x, ``(size, padded height)``, x before y.
        tall: room for the same, ``(height, padded(size))``, y before x.
    """
    top, left, height, width = box
    row, short = padded(size), padded(height)
    across, down = weights[: len(weights) // 2], weights[len(weights) // 2 :]
    taps_x = filter_weights(width, size, exact, starts[:size], across)
    taps_y = filter_weights(height, size, exact, starts[size:], down)
    begin, step = ((size - 1) * short, -short) if flip else (0, short)
    for channel in range(3):
        corner = (channel * columns + left) * pitch + top
        filter_rows(image, corner, pitch, taps_x, starts[:size], across, narrow, begin, step, height)
        for x in range(0, size, BLOCK):
            for y in range(0, height, BLOCK):
                transpose_block(narrow, x * short + y, short, tall, y * row + x, row)
        filter_rows(tall, 0, row, taps_y, starts[size:], down, crop, channel * size * row, row, size)
