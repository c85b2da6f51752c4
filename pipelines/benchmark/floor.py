"""The floor: decoding, and decoding with anti-aliased resizing to every crop, in native code and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from frl.beton import Beton
from pipelines.augment_cpu.crops import Parameters, ThreadScratch, load_pixels, make_crops
from pipelines.benchmark.ours import endless, requests
from pipelines.benchmark.task import Task
from pipelines.plan import draw


def decode(task: Task) -> Iterator[int]:
    """Decode by libjpeg-turbo, through OpenCV, and throw the pixels away."""
    with Beton(task.data) as beton:
        yield from threaded(task, beton, lambda index, epoch: decode_one(beton, index))


def decode_and_resize(task: Task) -> Iterator[int]:
    """Decode, then our resize kernel for every crop, straight into the cache: no batch, no flip, no colour."""
    bare = dataclasses.replace(task.recipe, jitter_p=0, grey_p=0, blur_p=0, flip_p=0)
    with Beton(task.data) as beton:
        scratch = ThreadScratch(beton.max_side)
        out = [np.empty((spec.count, spec.size, spec.size, 3), dtype=np.uint8) for spec in bare.crops]

        def work(index: int, epoch: int) -> None:
            height, width = int(beton.heights[index]), int(beton.widths[index])
            pixels = decode_one(beton, index).reshape(-1)
            scratch.pixels[: pixels.size] = pixels
            room = scratch.for_crops(max(spec.size for spec in bare.crops))
            load_pixels(scratch.pixels, height, width, room)
            plan, first = Parameters.of(draw(bare, 0, epoch, np.array([index]), np.array([[height, width]]))), 0
            for spec, rows in zip(bare.crops, out, strict=True):
                make_crops(height, width, plan, 0, first, spec.count, room, rows, 0)
                first += spec.count

        yield from threaded(task, beton, work)


def decode_one(beton: Beton, index: int) -> np.ndarray:
    """``(height, width, 3)`` uint8."""
    image = cv2.imdecode(beton.encoded(index), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    assert image is not None, beton.name(index)
    return image


def threaded(task: Task, beton: Beton, work: Callable[[int, int], object]) -> Iterator[int]:
    """Share the images of each batch among threads."""
    cv2.setNumThreads(1)

    def run(samples: list[int], epoch: int) -> None:
        for index in samples:
            work(index, epoch)

    with ThreadPoolExecutor(task.workers) as pool:
        for epoch in endless():
            for request in requests(beton, task, epoch):
                shares = [request.wanted[i :: task.workers].tolist() for i in range(task.workers)]
                list(pool.map(run, shares, [epoch] * task.workers))
                yield task.batch_size
