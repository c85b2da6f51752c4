"""Weighted sums of shifted rows: what resizing and blurring are made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.augment.cpu.compiler import inlined, kernel
from pipelines.augment.cpu.vectors import LANES, add, load, scale, splat, store

Plane = NDArray[np.uint16]
ONE = 65535  # what the weights of a sum amount to: the largest uint16, as near to 1 as 16 bits come


@inlined
def sum_rows(
    source: Plane, at: int, stride: int, taps: int, weights: Plane, first: int, target: Plane, to: int, width: int
) -> None:
    """``target[to + x]`` becomes the sum over t of ``weights[first + t] / 65536 * source[at + t * stride + x]``.

    Whole vectors are read and written: up to ``LANES - 1`` elements beyond ``width``.
    """
    if taps == 2:
        low, high = splat(weights[first]), splat(weights[first + 1])
        for x in range(0, width, LANES):
            total = add(scale(load(source, at + x), low), scale(load(source, at + stride + x), high))
            store(total, target, to + x)
        return
    half = splat(np.uint16(taps >> 1))  # each product is rounded down, by half a unit on average
    x = 0
    while x + 2 * LANES < width:  # three vectors share every weight that is spread; a crop of 96 pixels has three a row
        one = two = three = half
        for t in range(taps):
            weight, place = splat(weights[first + t]), at + t * stride + x
            one = add(one, scale(load(source, place), weight))
            two = add(two, scale(load(source, place + LANES), weight))
            three = add(three, scale(load(source, place + 2 * LANES), weight))
        store(one, target, to + x)
        store(two, target, to + x + LANES)
        store(three, target, to + x + 2 * LANES)
        x += 3 * LANES
    while x < width:
        one = half
        for t in range(taps):
            one = add(one, scale(load(source, at + t * stride + x), splat(weights[first + t])))
        store(one, target, to + x)
        x += LANES


@kernel
def quantise(exact: NDArray[np.float64], taps: int, weights: Plane, first: int) -> None:
    """Round ``exact[:taps]``, which sum to 1, to 16-bit fractions that sum to ``ONE``; the largest takes the rest."""
    rest, largest = ONE, 0
    for t in range(taps):
        weight = int(exact[t] * ONE + 0.5)
        rest -= weight
        weights[first + t] = weight
        if exact[t] > exact[largest]:
            largest = t
    weights[first + largest] += rest


@inlined
def padded(size: int) -> int:
    """The next multiple of a vector's length."""
    return (size + LANES - 1) // LANES * LANES


def plane(values: int) -> Plane:
    """Room for so many values, and for a vector that begins at the last of them; a vector at 0 is aligned in memory."""
    room = np.zeros(values + 2 * LANES, dtype=np.uint16)
    ahead = -room.ctypes.data % (LANES * room.itemsize) // room.itemsize
    return room[ahead : ahead + values + LANES]
