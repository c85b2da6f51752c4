"""Our own pipeline, whole and cut short after each stage, with the loader that training uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch as pytorch

from benchmarks.loader.task import Task
from frl.beton import Beton
from frl.config import DataConfig
from pipelines.loader import make_loader
from pipelines.order import permutation, step_samples


def ffcv(task: Task) -> Iterator[int]:
    """The ffcv engine."""
    yield from loader_batches(task, "ffcv")


def torch(task: Task) -> Iterator[int]:
    """The torch engine."""
    yield from loader_batches(task, "torch")


def loader_batches(task: Task, engine: Literal["ffcv", "torch"]) -> Iterator[int]:
    """Training batches, epoch after epoch."""
    pytorch.set_num_threads(task.workers)
    loader = make_loader(
        DataConfig(data=(task.data,), engine=engine, workers=task.workers, order="random"),
        task.recipe,
        batch_size=task.batch_size,
        seed=0,
        device=pytorch.device("cpu"),
    )
    epoch = 0
    while True:
        for batch in loader.epoch(epoch):
            yield len(batch.samples)
        epoch += 1


def read(task: Task) -> Iterator[int]:
    """Copy the encoded images out of the mapped file, in random order."""
    beton, epoch = Beton(task.data), 0
    room = np.empty(int(beton.nbytes.max()), dtype=np.uint8)
    while True:
        order = permutation(len(beton), 0, epoch)
        for step in range(len(order) // task.batch_size):
            for index in step_samples(order, step, task.batch_size).tolist():
                encoded = beton.encoded(index)
                room[: len(encoded)] = encoded
            yield task.batch_size
        epoch += 1
