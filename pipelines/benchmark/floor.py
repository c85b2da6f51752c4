"""The floor: decoding, and decoding with anti-aliased resizing to every crop, in native code and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial

import cv2
import numpy as np

from frl.beton import Beton
from pipelines.augment.cpu.crops import ThreadScratch, make_crops, sides_of
from pipelines.augment.plan import draw
from pipelines.benchmark.ours import endless, requests
from pipelines.benchmark.task import Task
from pipelines.engines.prefetch import overlapped
from pipelines.engines.threads import Threads


def decode(task: Task) -> Iterator[int]:
    """Decode by libjpeg-turbo, through OpenCV, and throw the pixels away."""
    with Beton(task.data) as beton:
        yield from threaded(task, beton, partial(decode_one, beton))


def decode_and_resize(task: Task) -> Iterator[int]:
    """Decode, then our resize kernel for every crop, straight into the cache: no batch, no flip, no colour."""
    bare = dataclasses.replace(task.recipe.uncoloured, flip_p=0)
    sides = sides_of(bare.crops)
    out = np.empty(int((sides**2).sum()) * 3, dtype=np.uint8)
    with Beton(task.data) as beton:
        sizes = np.stack([beton.heights, beton.widths], axis=1)
        plan = draw(bare, 0, 0, np.arange(len(beton)), sizes)
        scratch = ThreadScratch(beton.max_side)

        def work(index: int) -> None:
            pixels, room = scratch.pixels, scratch.for_crops(int(sides.max()))
            decoded = decode_one(beton, index)
            pixels[: decoded.size] = decoded.reshape(-1)
            make_crops(pixels, *decoded.shape[:2], plan, index, sides, room, out, 1, 0)

        yield from threaded(task, beton, work)


def decode_one(beton: Beton, index: int) -> np.ndarray:
    """``(height, width, 3)`` uint8."""
    image = cv2.imdecode(beton.encoded(index), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    assert image is not None, beton.name(index)
    return image


def threaded(task: Task, beton: Beton, work: Callable[[int], object]) -> Iterator[int]:
    """Share the images of each batch among threads."""
    cv2.setNumThreads(1)
    threads = Threads(task.workers, "floor")
    for epoch in endless():
        for _ in overlapped(
            lambda request: threads.for_each(work, request.wanted.tolist()), requests(beton, task, epoch)
        ):
            yield task.batch_size
