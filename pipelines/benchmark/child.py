"""A contestant's process: ``python -m pipelines.benchmark.child MODULE:NAME TASK``; lines on stdin, JSON on stdout."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time

import cv2  # noqa: F401 - imported before the clock starts, as whatever every contestant needs
import numpy  # noqa: F401
import torch  # noqa: F401

from frl.children import end_with_parent
from pipelines.benchmark.task import Task


def main() -> None:
    """Make the first batch, then as many batches as each line on stdin gives seconds for."""
    module, name = sys.argv[1].split(":")
    task = Task.from_json(sys.argv[2])
    end_with_parent(signal.SIGKILL)  # one that is stopped would otherwise outlive a killed benchmark
    # Libraries print; the answers keep the real stdout to themselves.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(**values: float) -> None:
        print(json.dumps(values), file=answers)

    answer(ready=True)
    began = time.perf_counter()
    batches = getattr(importlib.import_module(module), name)(task)
    next(batches)
    answer(first_batch_s=time.perf_counter() - began)
    for line in sys.stdin:
        began, images = time.perf_counter(), 0
        while (seconds := time.perf_counter() - began) < float(line) or images == 0:
            images += next(batches)
        answer(images=images, seconds=seconds)


if __name__ == "__main__":
    main()
