"""Our engines, making the crops while loading, and the default engine cut short after each of its stages."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from torch import device

from frl.beton import Beton
from frl.config import AugmentConfig, DataConfig, EngineName
from pipelines.augment.plan import draw
from pipelines.benchmark.task import Task
from pipelines.engines.decoders import simplejpeg_decoder
from pipelines.engines.engine import CroppedBatch, Engine, Request
from pipelines.engines.threaded import ThreadedImages
from pipelines.loader import open_engine
from pipelines.sampling.order import permutation, step_samples


def threads(task: Task) -> Iterator[int]:
    """The default engine."""
    yield from counted(task, "threads", task.recipe)


def ffcv(task: Task) -> Iterator[int]:
    """The ffcv engine."""
    yield from counted(task, "ffcv", task.recipe)


def torch(task: Task) -> Iterator[int]:
    """The torch engine."""
    yield from counted(task, "torch", task.recipe)


def dali(task: Task) -> Iterator[int]:
    """The DALI engine."""
    yield from counted(task, "dali", task.recipe)


def read(task: Task) -> Iterator[int]:
    """Stage 1: copy the encoded images out of the mapped file."""
    with Beton(task.data) as beton:
        room = np.empty(int(beton.nbytes.max()), dtype=np.uint8)
        for epoch in endless():
            for request in requests(beton, task, epoch):
                for index in request.wanted.tolist():
                    encoded = beton.encoded(index)
                    room[: len(encoded)] = encoded
                yield task.batch_size


def decode(task: Task) -> Iterator[int]:
    """Stages 1 and 2: whole images, each into its thread's own memory, as crops are made of them."""
    with Beton(task.data) as beton:
        engine = ThreadedImages(beton, simplejpeg_decoder(), workers=task.workers)

        def work(index: int) -> None:
            engine.decode_sample(index, engine.assembler.scratch.pixels)

        for epoch in endless():
            for request in requests(beton, task, epoch):
                engine.threads.for_each(work, request.wanted.tolist())
                yield task.batch_size


def crop(task: Task) -> Iterator[int]:
    """Stages 1 to 3: crops and flips."""
    yield from counted(task, "threads", task.recipe.uncoloured)


def colour(task: Task) -> Iterator[int]:
    """Stages 1 to 4: with the jitter and the grey."""
    yield from counted(task, "threads", task.recipe.with_colour(blur_p=0, solarise_p=0))


def blur(task: Task) -> Iterator[int]:
    """Stages 1 to 5: everything."""
    yield from counted(task, "threads", task.recipe)


def counted(task: Task, name: EngineName, recipe: AugmentConfig) -> Iterator[int]:
    """Batches of uint8 crops by an engine, with the whole of the task's recipe or a part of it."""
    with Beton(task.data) as beton:
        for batch in crops(beton, open(beton, task, name), task, recipe):
            yield len(batch.samples)


def open(beton: Beton, task: Task, name: EngineName) -> Engine:
    """An engine without a GPU."""
    return open_engine(beton, DataConfig(data=(task.data,), engine=name, workers=task.workers), device("cpu"))


def crops(beton: Beton, engine: Engine, task: Task, recipe: AugmentConfig) -> Iterator[CroppedBatch]:
    """Batches of crops, epoch after epoch."""
    for epoch in endless():
        yield from engine.crops(requests(beton, task, epoch), recipe.crops, partial(draw, recipe, 0, epoch))


def requests(beton: Beton, task: Task, epoch: int) -> Iterator[Request]:
    """The steps of an epoch in random order."""
    order = permutation(len(beton), 0, epoch)
    for step in range(len(order) // task.batch_size):
        yield Request(samples=step_samples(order, step, task.batch_size), share=slice(0, task.batch_size))


def endless() -> Iterator[int]:
    """0, 1, 2 ..."""
    epoch = 0
    while True:
        yield epoch
        epoch += 1
