"""Jitter, grey and solarisation on the planes of one crop, as ``torchvision.transforms.functional`` defines them.

A vector of pixels goes through all its operations in registers, in fixed point: grey level times 256, for the hue times
16. Only the contrast has to see the whole crop first, so a crop is passed over at most twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.augment.cpu.compiler import inlined, kernel
from pipelines.augment.cpu.sums import Plane
from pipelines.augment.cpu.vectors import (
    LANES,
    add,
    add_clamped,
    both,
    choose,
    distance,
    equal,
    greatest,
    least,
    less,
    load,
    scale,
    shift_left,
    shift_right,
    splat,
    store,
    subtract,
    subtract_clamped,
    total,
    unsigned_least,
)

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
WHITE = np.uint16(255 * 256)
WHOLE = np.uint16(0xFF00)  # the bits of a value that hold its grey level
RED_SHARE, GREEN_SHARE, BLUE_SHARE = 19595, 38470, 7471  # of ITU-R 601's luma, in 65536ths
Factors = NDArray[np.float32]
Vector = Any


@inlined
def fraction(value: float) -> np.uint16:
    """A number of [0, 1] as ``scale`` takes it."""
    return np.uint16(min(max(value, 0.0) * 65536 + 0.5, 65535.0))


@inlined
def luma(red: Vector, green: Vector, blue: Vector) -> Vector:
    greens = scale(green, splat(np.uint16(GREEN_SHARE)))
    return add(add(scale(red, splat(np.uint16(RED_SHARE))), greens), scale(blue, splat(np.uint16(BLUE_SHARE))))


@inlined
def blend(value: Vector, gain: Vector, other: Vector, lighter: bool) -> Vector:
    """``value * gain +- other``, clamped to 16 bits."""
    scaled = scale(value, gain)
    return add_clamped(scaled, other) if lighter else subtract_clamped(scaled, other)


@inlined
def turn(red: Vector, green: Vector, blue: Vector, shift: Vector, forward: bool) -> tuple[Vector, Vector, Vector]:
    """Turn the colour wheel of HSV by ``shift`` sixths in 4096ths: value and chroma stay, the hue moves.

    The hue of a pixel times its chroma is an integer, so nothing is divided: chroma times hue, in sixths of the wheel,
    stays within 15 bits when levels keep four binary places.
    """
    four, half = splat(np.uint16(4)), splat(np.uint16(8))
    red, green, blue = (
        shift_right(add(red, half), four),
        shift_right(add(green, half), four),
        shift_right(add(blue, half), four),
    )
    value, low = greatest(greatest(red, green), blue), least(least(red, green), blue)
    chroma, zero = subtract(value, low), splat(np.uint16(0))
    two = add(chroma, chroma)
    three, all_four = add(two, chroma), add(two, two)
    six = add(all_four, two)
    if_green = add(subtract(blue, red), two)
    if_blue = add(subtract(red, green), all_four)
    hue = choose(equal(value, green), if_green, if_blue)
    hue = choose(equal(value, red), subtract(green, blue), hue)
    step = scale(shift_left(chroma, four), shift)
    if forward:
        hue = add(hue, step)
        hue = subtract(hue, both(six, less(six, hue)))
    else:
        hue = subtract(hue, step)
    hue = add(hue, both(six, less(hue, zero)))
    reds = subtract(distance(hue, three), chroma)
    greens = subtract(two, distance(hue, two))
    blues = subtract(two, distance(hue, all_four))
    return (
        shift_left(add(low, least(greatest(reds, zero), chroma)), four),
        shift_left(add(low, least(greatest(greens, zero), chroma)), four),
        shift_left(add(low, least(greatest(blues, zero), chroma)), four),
    )


@kernel
def mean_grey(crop: Plane, size: int, row: int) -> float:
    """The mean grey of a crop, from exact sums: the same whatever the order of summation."""
    grey = 0.0
    for channel, share in ((0, RED_SHARE), (1, GREEN_SHARE), (2, BLUE_SHARE)):
        of_channel = 0
        for y in range(size):
            first = (channel * size + y) * row
            for x in range(0, size - LANES + 1, LANES):
                of_channel += total(load(crop, first + x))
            for x in range(size // LANES * LANES, size):
                of_channel += crop[first + x]
        grey += share * of_channel
    return grey / (size * size * 65536)


@kernel
def prepare(order: NDArray[np.uint8], factors: Factors, mean: float, steps: Plane) -> None:
    """What each operation of ``order`` needs, once for a whole pass: see ``pass_over`` for the columns of ``steps``."""
    for place, operation in enumerate(order):
        factor = float(factors[operation])
        if operation == HUE:
            steps[place, 0], steps[place, 3] = np.uint16(abs(factor) * 6 * 4096 + 0.5), factor > 0
            continue
        doublings, power = 0, 1.0
        while factor > power:
            doublings, power = doublings + 1, power * 2
        rest = abs(1 - factor) / power
        if operation == CONTRAST:
            other = np.uint16(mean * rest)
        else:
            other = fraction(rest) if operation == SATURATION else np.uint16(0)
        steps[place, 0], steps[place, 1] = fraction(factor / power), other
        steps[place, 2], steps[place, 3] = doublings, factor < 1


@kernel
def pass_over(crop: Plane, pixels: int, order: NDArray[np.uint8], steps: Plane, grey: bool) -> None:
    """Apply the operations of ``order``, then grey, to planes of ``pixels`` pixels, whole vectors, in place.

    A grey crop is left in the first plane only.

    Args:
        steps: ``(4, 4)``; for each place of ``order`` the gain, what is blended in, the doublings (a factor above 1 is
            halved as often beforehand), and whether to add rather than to subtract; for the hue its shift and whether
            it goes forward.
    """
    white = splat(WHITE)
    for i in range(0, pixels, LANES):
        red, green, blue = load(crop, i), load(crop, pixels + i), load(crop, 2 * pixels + i)
        for place, operation in enumerate(order):
            gain, other = splat(steps[place, 0]), splat(steps[place, 1])
            doublings, forward = steps[place, 2], steps[place, 3] != 0
            if operation == HUE:
                red, green, blue = turn(red, green, blue, gain, forward)
                continue
            if operation == BRIGHTNESS:  # nothing is blended in
                red, green, blue = scale(red, gain), scale(green, gain), scale(blue, gain)
            else:
                if operation == SATURATION:
                    other = scale(luma(red, green, blue), other)
                red = blend(red, gain, other, forward)
                green = blend(green, gain, other, forward)
                blue = blend(blue, gain, other, forward)
            for _ in range(doublings):
                red, green, blue = add_clamped(red, red), add_clamped(green, green), add_clamped(blue, blue)
            red, green, blue = unsigned_least(red, white), unsigned_least(green, white), unsigned_least(blue, white)
        if grey:
            store(luma(red, green, blue), crop, i)
        else:
            store(red, crop, i)
            store(green, crop, pixels + i)
            store(blue, crop, 2 * pixels + i)


@kernel
def jitter_and_grey(
    crop: Plane, size: int, row: int, jitter: bool, order: NDArray[np.uint8], factors: Factors, grey: bool, steps: Plane
) -> None:
    """What the plan says, on planes ``(3, size, row)``; ``steps``: room for ``(4, 4)``."""
    pixels = size * row
    if not jitter:
        if grey:
            pass_over(crop, pixels, order[:0], steps, True)
        return
    before = 0
    while order[before] != CONTRAST:
        before += 1
    if before > 0:
        prepare(order[:before], factors, 0.0, steps)
        pass_over(crop, pixels, order[:before], steps, False)
    prepare(order[before:], factors, mean_grey(crop, size, row), steps)
    pass_over(crop, pixels, order[before:], steps, grey)


@kernel
def solarise(crop: Plane, values: int, threshold: int) -> None:
    """Round ``values`` of the planes to whole levels and invert those from ``threshold`` (0 to 255) on, in place."""
    half, whole, limit = splat(np.uint16(128)), splat(WHOLE), splat(np.uint16(threshold * 256))
    for i in range(0, values, LANES):
        level = both(add(load(crop, i), half), whole)
        bright = equal(unsigned_least(level, limit), limit)
        store(choose(bright, subtract(splat(WHITE), level), level), crop, i)
