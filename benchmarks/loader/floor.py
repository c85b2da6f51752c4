"""The floor: what decoding alone costs, in native code."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2

from benchmarks.loader.task import Task
from frl.beton import Beton
from pipelines.order import permutation, step_samples


def decode(task: Task) -> Iterator[int]:
    """Decode by libjpeg-turbo, through OpenCV, and throw the pixels away."""
    cv2.setNumThreads(1)
    beton, epoch = Beton(task.data), 0

    def decode_share(share: list[int]) -> None:
        for index in share:
            cv2.imdecode(beton.encoded(index), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)

    with ThreadPoolExecutor(task.workers) as pool:
        while True:
            order = permutation(len(beton), 0, epoch)
            for step in range(len(order) // task.batch_size):
                samples = step_samples(order, step, task.batch_size).tolist()
                list(pool.map(decode_share, [samples[i :: task.workers] for i in range(task.workers)]))
                yield task.batch_size
            epoch += 1
