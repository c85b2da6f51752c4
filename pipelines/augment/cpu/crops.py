"""All crops of one decoded image, as the plan says, straight into their rows of a batch."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from frl.config import CropSpec
from pipelines.augment.cpu.blur import blur, gaussian
from pipelines.augment.cpu.colour import jitter_and_grey, solarise
from pipelines.augment.cpu.compiler import entry_point, kernel
from pipelines.augment.cpu.resize import load_image, resize
from pipelines.augment.cpu.sums import Plane, padded, plane
from pipelines.augment.cpu.vectors import BLOCK, LANES, join_pixels, load
from pipelines.augment.gpu.blur import RADIUS, TAPS
from pipelines.augment.plan import LEVELS, Plan


class Scratch(NamedTuple):
    """What a thread needs beside its input and output; see the kernels that take each part."""

    band: Plane
    image: Plane
    exact: NDArray[np.float64]
    starts: NDArray[np.int32]
    weights: Plane
    narrow: Plane
    tall: Plane
    crop: Plane
    steps: Plane
    mirrored: Plane
    smooth: Plane
    tail: NDArray[np.uint8]


def scratch_for(side: int, size: int) -> Scratch:
    """Room to make crops of up to ``size`` pixels from images of up to ``side`` pixels."""
    wide = padded.py_func  # called here from Python, it would be compiled at every start
    row, tall = wide(size), wide(side) + LANES
    taps = 2 * (side + size)  # over all pixels of a crop of any size, along one axis
    return Scratch(
        band=plane(3 * BLOCK * wide(side)),
        image=plane(3 * (side + BLOCK) * tall),
        exact=np.zeros(taps + TAPS),
        starts=np.zeros(2 * size, dtype=np.int32),
        weights=np.zeros(2 * taps + TAPS, dtype=np.uint16),
        narrow=plane((size + BLOCK) * tall),
        tall=plane((side + BLOCK) * (row + BLOCK)),
        crop=plane(3 * size * row),
        steps=np.zeros((4, 4), dtype=np.uint16),
        mirrored=plane(2 * (wide(size) + 2 * LANES)),
        smooth=plane((size + 2 * RADIUS) * row),
        tail=np.zeros(LANES * 3, dtype=np.uint8),
    )


@kernel
def store_crop(
    crop: Plane, size: int, row: int, grey: bool, tail: NDArray[np.uint8], out: NDArray[np.uint8], to: int
) -> None:
    """Round the planes ``(3, size, row)`` to interleaved pixels from byte ``to`` of ``out`` on."""
    green, blue = (0, 0) if grey else (size * row, 2 * size * row)
    for y in range(size):
        for x in range(0, size, LANES):
            at, byte = y * row + x, to + (y * size + x) * 3
            pixels = (load(crop, at), load(crop, green + at), load(crop, blue + at))
            if x + LANES <= size:
                join_pixels(pixels[0], pixels[1], pixels[2], out, byte)
            else:
                join_pixels(pixels[0], pixels[1], pixels[2], tail, 0)
                for b in range((size - x) * 3):
                    out[byte + b] = tail[b]


def sides_of(specs: Sequence[CropSpec]) -> NDArray[np.int64]:
    """``(V,)``, the side of each crop of an image, in pixels."""
    return np.array([spec.size for spec in specs for _ in range(spec.count)])


@entry_point
def make_crops(
    pixels: NDArray[np.uint8],
    height: int,
    width: int,
    plan: Plan,
    i: int,
    sizes: NDArray[np.int64],
    scratch: Scratch,
    out: NDArray[np.uint8],
    batch: int,
    position: int,
) -> None:
    """Make all crops of one decoded image.

    Args:
        pixels: a thread's room (``ThreadScratch``), with ``height`` rows of ``width`` packed RGB pixels in front.
        height, width: of the image.
        plan: parameters of crops; row ``i`` holds the image's.
        i: see there.
        sizes: as ``sides_of`` gives them.
        scratch: the thread's own.
        out: flat; crop 0 of all images of the batch, then crop 1 of all, and so on.
        batch: images in the batch.
        position: the image's place among them.
    """
    pitch = (height + BLOCK - 1) // BLOCK * BLOCK
    load_image(pixels, height, width, scratch.band, scratch.image, pitch)
    of_crop = 0
    for v in range(len(sizes)):
        size = sizes[v]
        row, to = padded(size), of_crop + position * size * size * 3
        make_crop(width, pitch, plan, i, v, size, row, scratch, out, to)
        of_crop += batch * size * size * 3


@kernel
def make_crop(
    width: int,
    pitch: int,
    plan: Plan,
    i: int,
    v: int,
    size: int,
    row: int,
    scratch: Scratch,
    out: NDArray[np.uint8],
    to: int,
) -> None:
    """Crop ``v`` of the image in ``scratch``, from byte ``to`` of ``out`` on."""
    crop = scratch.crop
    resize(
        scratch.image, width, pitch, plan.boxes[i, v], plan.flip[i, v], size,
        scratch.exact, scratch.starts, scratch.weights, scratch.narrow, scratch.tall, crop,
    )  # fmt: skip
    grey = plan.grey[i, v]
    jitter_and_grey(crop, size, row, plan.jitter[i, v], plan.order[i, v], plan.factors[i, v], grey, scratch.steps)
    sigma = plan.blur_sigma[i, v]
    if sigma > 0:
        radius = gaussian(sigma, scratch.exact, scratch.weights)
        for channel in range((1 if grey else 3) if radius > 0 else 0):
            blur(crop, channel, size, row, radius, scratch.weights, scratch.mirrored, scratch.smooth)
    if plan.solarise[i, v] < LEVELS:
        solarise(crop, size * row * (1 if grey else 3), plan.solarise[i, v])
    store_crop(crop, size, row, grey, scratch.tail, out, to)


class ThreadScratch(threading.local):
    """Each thread's room: for the packed pixels of one image of up to ``side`` pixels, and for the making of crops.

    Attributes:
        pixels: flat uint8; what lies beyond the image is read, and means nothing.
    """

    def __init__(self, side: int) -> None:  # called again in every thread
        self.side = side
        self.size = 0
        self.pixels = np.zeros(((side + BLOCK) * side + LANES) * 3, dtype=np.uint8)

    def for_crops(self, size: int) -> Scratch:
        """Room for crops of up to ``size`` pixels."""
        if size > self.size:
            self.size, self.scratch = size, scratch_for(self.side, size)
        return self.scratch
