"""What a good engineer would write by hand: simplejpeg decodes once, OpenCV does the rest, on threads.

Shrinking with ``INTER_AREA`` and enlarging with ``INTER_LINEAR``, or ``INTER_LINEAR`` alone, which aliases; the jitter
by look-up tables, its hue as a table over H of ``HSV_FULL``; the blur with 6 sigma + 1 taps. Every crop ends in its row
of a batch whose memory is used again. simplejpeg and OpenCV work without Python's lock.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from functools import partial

import cv2
import numpy as np

from frl.beton import Beton
from frl.config import AugmentConfig, ColourConfig, CropSpec
from pipelines.benchmark.ours import endless, requests
from pipelines.benchmark.task import Task, around_one
from pipelines.engines.buffers import Buffers
from pipelines.engines.decoders import simplejpeg_decoder
from pipelines.engines.engine import Request
from pipelines.engines.prefetch import overlapped
from pipelines.engines.threads import Threads

Image = cv2.typing.MatLike
CropMaker = Callable[[Image, CropSpec, Image], None]
"""Makes one crop of an image, ``(height, width, 3)``, and writes it to ``(size, size, 3)``."""
LEVELS = np.arange(256, dtype=np.float32)
IDENTITY = np.arange(256, dtype=np.uint8)


def batches(task: Task) -> Iterator[int]:
    """Batches of uint8 crops, resized without aliasing."""
    yield from threaded_crops(task, HandWritten(task.recipe, cv2.INTER_AREA))


def aliased_batches(task: Task) -> Iterator[int]:
    """Batches of uint8 crops, resized by ``INTER_LINEAR`` alone: what is shrunk by more than two aliases."""
    yield from threaded_crops(task, HandWritten(task.recipe, cv2.INTER_LINEAR))


def threaded_crops(task: Task, crop: CropMaker) -> Iterator[int]:
    """Batches of uint8 crops, each image decoded once by simplejpeg, on threads with two batches in the works.

    Args:
        task: the task.
        crop: makes a crop; called from several threads.
    """
    cv2.setNumThreads(1)
    decode, take, threads = simplejpeg_decoder(), Buffers(pin=False).take, Threads(task.workers, "by-hand")
    specs = task.recipe.crops
    with Beton(task.data) as beton:

        def make(request: Request) -> list[Image]:
            count = len(request.wanted)
            out = [take(s.count * count * s.size**2 * 3).numpy().reshape(-1, count, s.size, s.size, 3) for s in specs]

            def work(position: int) -> None:
                index = int(request.wanted[position])
                height, width = int(beton.heights[index]), int(beton.widths[index])
                image = np.empty((height, width, 3), np.uint8)
                decode(beton.encoded(index), height, width, image.reshape(-1))
                for spec, rows in zip(specs, out, strict=True):
                    for row in rows:
                        crop(image, spec, row[position])

            threads.for_each(work, range(count))
            return out

        for epoch in endless():
            for made in overlapped(make, requests(beton, task, epoch)):
                yield made[0].shape[1]


class HandWritten:
    """Makes crops by a recipe, by OpenCV.

    Args:
        recipe: the crops and what is done to them.
        shrink: interpolation where a crop is smaller than its box.
    """

    def __init__(self, recipe: AugmentConfig, shrink: int) -> None:
        self.recipe = recipe
        self.shrink = shrink
        self.random = random.Random()

    def __call__(self, image: Image, spec: CropSpec, out: Image) -> None:
        """See ``CropMaker``."""
        top, left, height, width = random_box(self.random, image.shape[0], image.shape[1], spec)
        size, colour = spec.size, self.recipe.colour_of(spec)
        interpolation = self.shrink if min(height, width) > size else cv2.INTER_LINEAR
        crop = cv2.resize(image[top : top + height, left : left + width], (size, size), interpolation=interpolation)
        if self.random.random() < colour.jitter_p:
            crop = self.jittered(crop, colour)
        if self.random.random() < colour.grey_p:
            crop = cv2.cvtColor(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        if self.random.random() < colour.blur_p:
            sigma = self.random.uniform(*colour.blur_sigma)
            taps = max(3, math.ceil(6 * sigma) | 1)
            crop = cv2.GaussianBlur(crop, (taps, taps), sigma)
        if self.random.random() < colour.solarise_p:
            crop = cv2.LUT(crop, np.where(colour.solarise_threshold <= IDENTITY, 255 - IDENTITY, IDENTITY))
        if self.random.random() < self.recipe.flip_p:
            cv2.flip(crop, 1, dst=out)
        else:
            out[...] = crop

    def jittered(self, crop: Image, colour: ColourConfig) -> Image:
        """Brightness, contrast, saturation and hue, in random order."""
        strengths = {brightness: colour.brightness, contrast: colour.contrast, saturation: colour.saturation}
        steps: list[Callable[[Image], Image]] = [
            partial(step, factor=self.random.uniform(*around_one(strength))) for step, strength in strengths.items()
        ]
        steps.append(partial(hue, turn=self.random.uniform(-colour.hue, colour.hue)))
        self.random.shuffle(steps)
        for step in steps:
            crop = step(crop)
        return crop


def random_box(chance: random.Random, height: int, width: int, spec: CropSpec) -> tuple[int, int, int, int]:
    """Top, left, height and width of torchvision's ``RandomResizedCrop``."""
    area, ratios = height * width, tuple(map(math.log, spec.ratio))
    for _ in range(10):
        target, ratio = area * chance.uniform(*spec.scale), math.exp(chance.uniform(*ratios))
        across, down = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 0 < across <= width and 0 < down <= height:
            return chance.randrange(height - down + 1), chance.randrange(width - across + 1), down, across
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side


def brightness(image: Image, factor: float) -> Image:
    """Every level times a factor."""
    return cv2.LUT(image, (LEVELS * factor).clip(0, 255).astype(np.uint8))


def contrast(image: Image, factor: float) -> Image:
    """Every level's distance from the mean grey times a factor."""
    mean = cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0]
    return cv2.LUT(image, (LEVELS * factor + (1 - factor) * mean).clip(0, 255).astype(np.uint8))


def saturation(image: Image, factor: float) -> Image:
    """Every pixel's distance from its grey times a factor."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(image, factor, grey, 1 - factor, 0)


def hue(image: Image, turn: float) -> Image:
    """The hue turned by a part of the circle."""
    table = np.stack([IDENTITY + np.uint8(round(turn * 256) % 256), IDENTITY, IDENTITY], axis=-1)[None]
    turned = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL), table)
    return cv2.cvtColor(turned, cv2.COLOR_HSV2RGB_FULL)
