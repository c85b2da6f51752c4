"""The floor: decoding, and decoding with anti-aliased resizing to every crop, in native code and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from frl.beton import Beton
from pipelines.augment.cpu.crops import ThreadScratch, make_crops, sides_of
from pipelines.augment.plan import draw
from pipelines.benchmark.ours import endless, requests
from pipelines.benchmark.task import Task
from pipelines.engines.decoders import simplejpeg_decoder
from pipelines.engines.prefetch import overlapped
from pipelines.engines.threads import Threads


def decode(task: Task) -> Iterator[int]:
    """Decode by libjpeg-turbo's fast DCT, and throw the pixels away."""
    decode_jpeg = simplejpeg_decoder()
    with Beton(task.data) as beton:
        scratch = ThreadScratch(beton.max_side)

        def work(index: int) -> None:
            decode_jpeg(beton.encoded(index), int(beton.heights[index]), int(beton.widths[index]), scratch.pixels)

        yield from threaded(task, beton, work)


def decode_and_resize(task: Task) -> Iterator[int]:
    """Decode, then our resize kernel for every crop, straight into the cache: no batch, no flip, no colour."""
    bare = dataclasses.replace(task.recipe.uncoloured, flip_p=0)
    sides = sides_of(bare.crops)
    out = np.empty(int((sides**2).sum()) * 3, dtype=np.uint8)
    decode_jpeg = simplejpeg_decoder()
    with Beton(task.data) as beton:
        sizes = np.stack([beton.heights, beton.widths], axis=1)
        plan = draw(bare, 0, 0, np.arange(len(beton)), sizes)
        scratch = ThreadScratch(beton.max_side)

        def work(index: int) -> None:
            pixels, room = scratch.pixels, scratch.for_crops(int(sides.max()))
            height, width = int(beton.heights[index]), int(beton.widths[index])
            decode_jpeg(beton.encoded(index), height, width, pixels)
            make_crops(pixels, height, width, plan, index, sides, room, out, 1, 0)

        yield from threaded(task, beton, work)


def threaded(task: Task, beton: Beton, work: Callable[[int], object]) -> Iterator[int]:
    """Share the images of each batch among threads."""
    threads = Threads(task.workers, "floor")
    for epoch in endless():
        for _ in overlapped(
            lambda request: threads.for_each(work, request.wanted.tolist()), requests(beton, task, epoch)
        ):
            yield task.batch_size
