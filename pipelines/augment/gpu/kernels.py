"""Triton kernels for what follows the resizing: jitter, grey, blur, solarise, normalise.

A program does a tile of one crop and reads the crop's row of the packed plan, so that it branches where the graph of
``pipelines.augment.gpu.multicrop`` masks: rungs of the ladder without effect, a contrast of 1 and the blur of a crop
that stays sharp cost nothing. Crops are ``(N, size, 3, size)`` grey levels, columns first, those of one image together,
as ``batch_resample`` leaves them; views are channels-last and crop-major. All arithmetic is float32 but for the
products of the blur, whose operands have the crops' dtype.
"""

# mypy: allow-untyped-defs

from __future__ import annotations

import triton
import triton.language as tl

from pipelines.augment.gpu import blur
from pipelines.augment.gpu.ladder import OPERATIONS, Operation
from pipelines.augment.gpu.packed import COLUMNS

TILE = 32  # pixels a side that a program colours: divides the paper's 224 and 96
SPAN = 64  # and that one of the blur reads, the border included

WIDTH = tl.constexpr(COLUMNS.width)
RUNGS = tl.constexpr(COLUMNS.places["rungs"].start)  # type: ignore[union-attr]
CONTRAST = tl.constexpr(OPERATIONS.index(Operation.CONTRAST))
GREY = tl.constexpr(COLUMNS.places["grey"])
SIGMA = tl.constexpr(COLUMNS.places["blur_sigma"])
SOLARISE = tl.constexpr(COLUMNS.places["solarise"])
RADIUS = tl.constexpr(blur.RADIUS)
PLAN = ["first", "count", "total"]  # small numbers, of whose values no kernel makes anything


@triton.jit
def row_of(packed, crop, first, count, total):
    """Where the parameters of a crop begin: an image has ``total`` rows, a resolution ``count`` from ``first`` on."""
    return packed + (crop // count * total + first + crop % count) * WIDTH


@triton.jit
def clamped(plane):
    """Within [0, 1]."""
    return tl.minimum(tl.maximum(plane, 0.0), 1.0)


@triton.jit
def luma(red, green, blue):
    """Grey of ITU-R 601."""
    return 0.299 * red + 0.587 * green + 0.114 * blue


@triton.jit
def brightened(red, green, blue, factor):
    """Blend with black."""
    if factor != 1.0:
        red, green, blue = clamped(red * factor), clamped(green * factor), clamped(blue * factor)
    return red, green, blue


@triton.jit
def blended(red, green, blue, other, factor):
    """Blend with a plane or one grey."""
    other = other * (1.0 - factor)
    return clamped(red * factor + other), clamped(green * factor + other), clamped(blue * factor + other)


@triton.jit
def saturated(red, green, blue, factor):
    """Blend with the grey of each pixel."""
    if factor != 1.0:
        red, green, blue = blended(red, green, blue, luma(red, green, blue), factor)
    return red, green, blue


@triton.jit
def turned(red, green, blue, turns):
    """Turn the colour wheel; see ``pipelines.augment.gpu.colour.adjust_hue``."""
    if turns != 0.0:
        value = tl.maximum(tl.maximum(red, green), blue)
        least = tl.minimum(tl.minimum(red, green), blue)
        chroma = value - least
        divisor = tl.where(chroma == 0.0, 1.0, chroma)
        sextant = tl.where(value == green, (blue - red) / divisor + 2.0, (red - green) / divisor + 4.0)
        sextant = tl.where(value == red, (green - blue) / divisor, sextant)
        hue = sextant / 6.0 + turns
        hue = (hue - tl.floor(hue)) * 6.0
        red = least + chroma * clamped(tl.abs(hue - 3.0) - 1.0)
        green = least + chroma * clamped(2.0 - tl.abs(hue - 2.0))
        blue = least + chroma * clamped(2.0 - tl.abs(hue - 4.0))
    return red, green, blue


@triton.jit
def half_climbed(red, green, blue, rungs):
    """One half of the ladder: brightness, saturation and hue in any order."""
    red, green, blue = brightened(red, green, blue, tl.load(rungs))
    red, green, blue = saturated(red, green, blue, tl.load(rungs + 1))
    red, green, blue = brightened(red, green, blue, tl.load(rungs + 2))
    red, green, blue = turned(red, green, blue, tl.load(rungs + 3))
    red, green, blue = brightened(red, green, blue, tl.load(rungs + 4))
    red, green, blue = saturated(red, green, blue, tl.load(rungs + 5))
    return brightened(red, green, blue, tl.load(rungs + 6))


@triton.jit
def colours_at(places, size, inside):
    """Three planes of a tile in [0, 1], whose red values lie at ``places``."""
    red = tl.load(places, inside, 0.0).to(tl.float32)
    green = tl.load(places + size, inside, 0.0).to(tl.float32)
    blue = tl.load(places + 2 * size, inside, 0.0).to(tl.float32)
    # A rounded division, as the graph's: a quotient that is off by its last bit may lie on the other side of the
    # threshold of solarisation, which is midway between two levels.
    return clamped(tl.div_rn(red, 255.0)), clamped(tl.div_rn(green, 255.0)), clamped(tl.div_rn(blue, 255.0))


@triton.jit
def tile_of(tile, size, SIDE: tl.constexpr):
    """Columns and rows of a tile, and which of them lie inside of the crop."""
    across = tl.cdiv(size, SIDE)
    x = tile // across * SIDE + tl.arange(0, SIDE)
    y = tile % across * SIDE + tl.arange(0, SIDE)
    return x, y, (x < size)[:, None] & (y < size)[None, :]


@triton.jit
def finished(plane, row, mean, std, channel):
    """Solarise and normalise; see ``pipelines.augment.gpu.colour.batch_solarise`` and ``Normalise``."""
    limit = tl.div_rn(tl.load(row + SOLARISE) - 0.5, 255.0)
    plane = tl.where(plane < limit, plane, 1.0 - plane)
    return (plane - tl.load(mean + channel)) / tl.load(std + channel)


@triton.jit
def place_of_view(views, crop, count, crops_in_all, size):
    """Where the view of a crop begins: crops are image-major, views crop-major."""
    view = crop % count * (crops_in_all // count) + crop // count
    return views + view * (3 * size * size)


@triton.jit(do_not_specialize=PLAN)
def sum_luma(crops, packed, sums, first, count, total, size, SIDE: tl.constexpr):
    """The grey of each tile before the contrast, summed: ``sums`` ``(N, tiles)``; of crops without contrast nothing."""
    tiles = tl.cdiv(size, SIDE) * tl.cdiv(size, SIDE)
    crop, tile = (tl.program_id(0) // tiles).to(tl.int64), tl.program_id(0) % tiles
    row = row_of(packed, crop, first, count, total)
    if tl.load(row + RUNGS + CONTRAST) != 1.0:
        x, y, inside = tile_of(tile, size, SIDE)
        places = crops + crop * (3 * size * size) + (x[:, None] * (3 * size) + y[None, :])
        red, green, blue = colours_at(places, size, inside)
        red, green, blue = half_climbed(red, green, blue, row + RUNGS)
        tl.store(sums + crop * tiles + tile, tl.sum(tl.where(inside, luma(red, green, blue), 0.0)))


@triton.jit(do_not_specialize=[*PLAN, "crops_in_all"])
def colour(
    crops, packed, sums, views, mean, std, first, count, total, crops_in_all, size,
    SIDE: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """Jitter and grey of a tile; then it is finished, or left in its place for ``blur_tile``.

    ``PARTS``: at least as many as there are tiles, a power of two.
    """
    tiles = tl.cdiv(size, SIDE) * tl.cdiv(size, SIDE)
    crop, tile = (tl.program_id(0) // tiles).to(tl.int64), tl.program_id(0) % tiles
    row = row_of(packed, crop, first, count, total)
    x, y, inside = tile_of(tile, size, SIDE)
    places = crops + crop * (3 * size * size) + (x[:, None] * (3 * size) + y[None, :])
    red, green, blue = colours_at(places, size, inside)
    red, green, blue = half_climbed(red, green, blue, row + RUNGS)
    contrast = tl.load(row + RUNGS + CONTRAST)
    if contrast != 1.0:
        part = tl.arange(0, PARTS)
        pivot = tl.sum(tl.load(sums + crop * tiles + part, part < tiles, 0.0)) / (size * size)
        red, green, blue = blended(red, green, blue, pivot, contrast)
    red, green, blue = half_climbed(red, green, blue, row + RUNGS + CONTRAST + 1)
    if tl.load(row + GREY) > 0.5:
        red = luma(red, green, blue)
        green, blue = red, red
    if tl.load(row + SIGMA) > 0.0:
        tl.store(places, red, inside)
        tl.store(places + size, green, inside)
        tl.store(places + 2 * size, blue, inside)
    else:
        upright = place_of_view(views, crop, count, crops_in_all, size) + (y[None, :] * size + x[:, None]) * 3
        tl.store(upright, finished(red, row, mean, std, 0), inside)
        tl.store(upright + 1, finished(green, row, mean, std, 1), inside)
        tl.store(upright + 2, finished(blue, row, mean, std, 2), inside)


@triton.jit
def mirrored(place, size):
    """Places beyond the border mirrored back without repeating the edge; below 0 where one mirroring is not enough."""
    return size - 1 - tl.abs(size - 1 - tl.abs(place))


@triton.jit
def gaussian(distance, sigma):
    """See ``pipelines.augment.gpu.blur.blur_matrix``."""
    scaled = distance / tl.maximum(sigma, 0.05)
    return tl.where(tl.abs(distance) <= RADIUS, tl.exp(-0.5 * scaled * scaled), 0.0)


@triton.jit(do_not_specialize=[*PLAN, "crops_in_all"])
def blur_tile(
    crops, packed, views, mean, std, first, count, total, crops_in_all, size, AROUND: tl.constexpr
):  # fmt: skip
    """Blur a tile along both axes and finish it; with the border that it needs it has ``AROUND`` pixels a side.

    Two products a plane with one matrix of taps: the border that a tile lacks is read mirrored, so that all of its rows
    and columns have the same ones.
    """
    INSIDE: tl.constexpr = AROUND - 2 * RADIUS
    tiles = tl.cdiv(size, INSIDE) * tl.cdiv(size, INSIDE)
    crop, tile = (tl.program_id(0) // tiles).to(tl.int64), tl.program_id(0) % tiles
    row = row_of(packed, crop, first, count, total)
    sigma = tl.load(row + SIGMA)
    if sigma > 0.0:
        place = tl.arange(0, AROUND)
        total_of_taps = tl.sum(gaussian(place - RADIUS, sigma))  # of a row that sees them all, as those inside do
        taps = gaussian(place[None, :] - RADIUS - place[:, None], sigma) / total_of_taps
        taps = taps.to(crops.dtype.element_ty)

        left, top = tile // tl.cdiv(size, INSIDE) * INSIDE, tile % tl.cdiv(size, INSIDE) * INSIDE
        x, y = mirrored(left + place - RADIUS, size), mirrored(top + place - RADIUS, size)
        places = crops + crop * (3 * size * size) + (x[:, None] * (3 * size) + y[None, :])
        readable = (x >= 0)[:, None] & (y >= 0)[None, :]

        x, y = left + place, top + place
        upright = place_of_view(views, crop, count, crops_in_all, size) + (y[None, :] * size + x[:, None]) * 3
        inside = ((place < INSIDE) & (x < size))[:, None] & ((place < INSIDE) & (y < size))[None, :]
        for channel in range(3):
            plane = tl.load(places + channel * size, readable, 0.0)
            plane = tl.dot(taps, plane, input_precision="ieee").to(crops.dtype.element_ty)
            plane = tl.dot(plane, tl.trans(taps), input_precision="ieee")
            tl.store(upright + channel, finished(plane, row, mean, std, channel), inside)
